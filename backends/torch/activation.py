"""Pointwise blocks, and dropout."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.pointwise import POINTWISE, Formula
from tcnzoo.models.streaming import Stream
from tcnzoo.specs.activation import ActivationSpec, DropoutSpec

from .block import BLOCKS, Block
from .kernels import masks
from .types import watched, wide

FUNCTIONS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "linear": lambda x, spec: x,
    "relu": lambda x, spec: F.relu(x),
    "leaky_relu": lambda x, spec: F.leaky_relu(x, spec.slope),
    "elu": lambda x, spec: F.elu(x, spec.alpha),
    "selu": lambda x, spec: F.selu(x),
    "gelu": lambda x, spec: F.gelu(x),
    "silu": lambda x, spec: F.silu(x),
    "tanh": lambda x, spec: x.tanh(),
    "sigmoid": lambda x, spec: x.sigmoid(),
    "softplus": lambda x, spec: F.softplus(x),
    "softmax": lambda x, spec: F.softmax(x, dim=1),
    "log_softmax": lambda x, spec: F.log_softmax(x, dim=1),
    "gelu_tanh": lambda x, spec: F.gelu(x, approximate="tanh"),
    "relu6": lambda x, spec: F.relu6(x),
    "hard_sigmoid": lambda x, spec: F.hardsigmoid(x),
    "hard_swish": lambda x, spec: F.hardswish(x),
    "square": lambda x, spec: x * x,
    # Of 16-bit types in float32: a floor of 1e-6 has no digits in float16.
    "safe_log": lambda x, spec: wide(x).clamp(min=spec.floor).log().to(x.dtype),
}


class TorchFunctions:
    """What pointwise blocks are made of; see `tcnzoo.models.pointwise.Functions`."""

    channels = 1

    def activate(self, x: Tensor, spec: ActivationSpec) -> Tensor:
        """Apply the activation that `spec` names."""
        return FUNCTIONS[spec.name](x, spec)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the second half of the channels."""
        first, second = x.chunk(2, dim=1)
        return first, second

    def per_channel(self, vector: Tensor, x: Tensor) -> Tensor:
        """A vector (channels,) shaped so that it meets the channels of x, of any rank."""
        return vector.reshape(-1, *[1] * (x.ndim - 2))


# Torch's own operation keeps less for the backward pass than the formula written out.
NATIVE: dict[str, Formula] = {"glu": lambda xp, x, spec, weights: F.glu(x, dim=1)}
FORMULAS = POINTWISE | NATIVE
ARRAY_FUNCTIONS = TorchFunctions()


class Pointwise(Block[Any]):
    """A block of `tcnzoo.models.pointwise`; every kind of them is of this class."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, ...) -> the same, or half the channels with `glu`."""
        y: Tensor = FORMULAS[self.spec.kind](ARRAY_FUNCTIONS, x, self.spec, self._parameters)
        return y


BLOCKS.update(dict.fromkeys(POINTWISE, Pointwise))


class Dropout(Block[DropoutSpec], kind="dropout"):
    """Dropout of single values in training."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Drop, or return x in evaluation."""
        if not self.training or self.spec.rate == 0.0:
            return x
        if watched() or not masks.serves(x, self.spec.rate):
            return F.dropout(x, self.spec.rate)
        y: Tensor = masks.Dropped.apply(x, self.spec.rate)  # type: ignore[no-untyped-call]
        return y
