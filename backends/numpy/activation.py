"""Pointwise blocks, made from the formulas of `tcnzoo.models.pointwise`, and dropout."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tcnzoo.models.pointwise import POINTWISE
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ActivationSpec, DropoutSpec

from .block import BLOCKS, Array, Block, per_channel

_ERF: Any = np.frompyfunc(math.erf, 1, 1)

# Klambauer et al. 2017, arXiv:1706.02515, equation 14.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, decay) / (1.0 + decay)


def elu(x: Array, alpha: float) -> Array:
    """Identity above zero, alpha * (exp(x) - 1) below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def gelu_tanh(x: Array) -> Array:
    """Hendrycks & Gimpel 2016, arXiv:1606.08415, the form with tanh."""
    inner: Array = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1.0 + np.tanh(inner))


def log_softmax(x: Array) -> Array:
    """Logarithm of the softmax over channels (axis 1)."""
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Callable[[Array, ActivationSpec], Array]] = {
    "linear": lambda x, spec: x,
    "relu": lambda x, spec: np.maximum(x, 0.0),
    "leaky_relu": lambda x, spec: np.where(x > 0, x, spec.slope * x),
    "elu": lambda x, spec: elu(x, spec.alpha),
    "selu": lambda x, spec: SELU_SCALE * elu(x, SELU_ALPHA),
    "gelu": lambda x, spec: 0.5 * x * (1.0 + _ERF(x / math.sqrt(2.0)).astype(np.float64)),
    "silu": lambda x, spec: x * sigmoid(x),
    "tanh": lambda x, spec: np.tanh(x),
    "sigmoid": lambda x, spec: sigmoid(x),
    "softplus": lambda x, spec: np.logaddexp(x, 0.0),
    "softmax": lambda x, spec: np.exp(log_softmax(x)),
    "log_softmax": lambda x, spec: log_softmax(x),
    "gelu_tanh": lambda x, spec: gelu_tanh(x),
    "relu6": lambda x, spec: np.clip(x, 0.0, 6.0),
    "hard_sigmoid": lambda x, spec: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hard_swish": lambda x, spec: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "square": lambda x, spec: x * x,
    "safe_log": lambda x, spec: np.log(np.maximum(x, spec.floor)),
}


class ArrayFunctions:
    """What pointwise blocks need of numpy; see `tcnzoo.models.pointwise.Functions`."""

    channels = 1
    per_channel = staticmethod(per_channel)

    def activate(self, x: Array, spec: ActivationSpec) -> Array:
        """Apply the activation that `spec` names; the result keeps the type of x."""
        return np.asarray(ACTIVATIONS[spec.name](x, spec), dtype=x.dtype)

    def halves(self, x: Array) -> tuple[Array, Array]:
        """The first and the second half of the channels."""
        first, second = np.split(x, 2, axis=1)
        return first, second


FUNCTIONS = ArrayFunctions()


class Pointwise(Block[Any]):
    """Any kind of `tcnzoo.models.pointwise`."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Apply the formula of the kind."""
        y: Array = POINTWISE[self.spec.kind](FUNCTIONS, x, self.spec, self.arrays)
        return y


BLOCKS.update(dict.fromkeys(POINTWISE, Pointwise))


class Dropout(Block[DropoutSpec], kind="dropout"):
    """The identity: this backend only evaluates."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Return x."""
        return x
