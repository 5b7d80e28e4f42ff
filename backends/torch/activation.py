"""Activations, gated linear units and dropout."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream

from .block import Block
from .kernels import packed

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
}


class Activation(Block, kind="activation"):
    """A pointwise activation, or a softmax over channels."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Apply it."""
        return FUNCTIONS[self.spec.name](x, self.spec)


def activate_sum(activation: Block, total: Tensor) -> Tensor:
    """Apply an activation to a fresh sum that nobody else holds: a ReLU then works in place."""
    if activation.spec.name == "relu" and not packed.hooked(activation):
        return F.relu_(total)
    y: Tensor = activation(total)
    return y


class Glu(Block, kind="glu"):
    """First half of the channels * sigmoid(second half)."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, 2 C, ...) -> (batch, C, ...)."""
        return F.glu(x, dim=1)


class Dropout(Block, kind="dropout"):
    """Dropout of single values in training."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Drop, or return x in evaluation."""
        return F.dropout(x, self.spec.rate) if self.training else x
