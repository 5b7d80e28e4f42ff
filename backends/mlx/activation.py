"""Activations, gated linear units and dropout: what acts on single values or channels."""

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from tcnzoo.models.pointwise import POINTWISE, Formula
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ActivationSpec, DropoutSpec, Spec

from .block import Block
from .kernels.functions import erf, logsumexp, sigmoid, silu, softmax, softplus
from .types import reduced

# Klambauer et al. 2017, arXiv:1706.02515, equation 14.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
# Hendrycks & Gimpel 2016, arXiv:1606.08415, the form with tanh.
GELU_TANH = math.sqrt(2.0 / math.pi)


def elu(x: mx.array, alpha: float) -> mx.array:
    """Identity above zero, alpha * (exp(x) - 1) below."""
    above = x > 0
    return mx.where(above, x, alpha * mx.expm1(mx.where(above, 0.0, x)))


# Each takes x and the spec; softmax acts on the last axis, the channels.
FUNCTIONS: dict[str, Callable[[mx.array, ActivationSpec], mx.array]] = {
    "linear": lambda x, spec: x,
    "relu": lambda x, spec: mx.maximum(x, 0.0),
    "leaky_relu": lambda x, spec: mx.where(x > 0, x, spec.slope * x),
    "elu": lambda x, spec: elu(x, spec.alpha),
    "selu": lambda x, spec: SELU_SCALE * elu(x, SELU_ALPHA),
    "gelu": lambda x, spec: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))),
    "silu": lambda x, spec: silu(x),
    "tanh": lambda x, spec: mx.tanh(x),
    "sigmoid": lambda x, spec: sigmoid(x),
    "softplus": lambda x, spec: softplus(x),
    "softmax": lambda x, spec: softmax(x),
    "log_softmax": lambda x, spec: x - logsumexp(x),
    "gelu_tanh": lambda x, spec: 0.5 * x * (1.0 + mx.tanh(GELU_TANH * (x + 0.044715 * x * x * x))),
    "relu6": lambda x, spec: mx.clip(x, 0.0, 6.0),
    "hard_sigmoid": lambda x, spec: mx.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hard_swish": lambda x, spec: x * mx.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "square": lambda x, spec: x * x,
    "safe_log": lambda x, spec: mx.log(mx.maximum(x, spec.floor)),
}
# What MLX itself rounds only once in 16 bits.
SINGLE = ("linear", "relu", "leaky_relu", "tanh", "softmax", "relu6", "square")


class LastAxis:
    """The functions of pointwise blocks on MLX arrays, (batch, ..., channels)."""

    channels = -1

    def activate(self, x: mx.array, spec: ActivationSpec) -> mx.array:
        """Apply the activation that `spec` names."""
        function = FUNCTIONS[spec.name]
        return function(x, spec) if spec.name in SINGLE else reduced(lambda x: function(x, spec), x)

    def halves(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """The first and the second half of the channels."""
        first, second = mx.split(x, 2, axis=-1)
        return first, second

    def per_channel(self, vector: mx.array, x: mx.array) -> mx.array:
        """A vector (channels,), which meets the channels of x as it is."""
        return vector


LAST_AXIS = LastAxis()


def pointwise(kind: str, formula: Formula) -> type[Block[Any]]:
    """The block of a formula; it is computed in float32 at least, and rounded once."""

    class Pointwise(Block[Spec], kind=kind):
        __doc__ = formula.__doc__

        def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
            if isinstance(self.spec, ActivationSpec):  # which knows what need not be widened
                return LAST_AXIS.activate(x, self.spec)
            return reduced(lambda x: formula(LAST_AXIS, x, self.spec, self), x)

    Pointwise.__name__ = Pointwise.__qualname__ = kind.title().replace("_", "")
    return Pointwise


for kind, formula in POINTWISE.items():
    pointwise(kind, formula)


class Dropout(Block[DropoutSpec], kind="dropout"):
    """In training, set values to zero at random and let the others grow."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Any shape -> the same shape."""
        if not self.training:
            return x
        kept = 1.0 - self.spec.rate
        return mx.random.bernoulli(kept, x.shape) * x * (1.0 / kept)
