"""Activations, gated linear units and dropout."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block

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


def activate(spec: Any, x: Array) -> Array:
    """Apply the activation that `spec` names; the result keeps the type of x."""
    functions: dict[str, Callable[[], Any]] = {
        "linear": lambda: x,
        "relu": lambda: np.maximum(x, 0.0),
        "leaky_relu": lambda: np.where(x > 0, x, spec.slope * x),
        "elu": lambda: elu(x, spec.alpha),
        "selu": lambda: SELU_SCALE * elu(x, SELU_ALPHA),
        "gelu": lambda: 0.5 * x * (1.0 + _ERF(x / math.sqrt(2.0)).astype(np.float64)),
        "silu": lambda: x * sigmoid(x),
        "tanh": lambda: np.tanh(x),
        "sigmoid": lambda: sigmoid(x),
        "softplus": lambda: np.logaddexp(x, 0.0),
        "softmax": lambda: np.exp(log_softmax(x)),
        "log_softmax": lambda: log_softmax(x),
        "gelu_tanh": lambda: gelu_tanh(x),
        "relu6": lambda: np.clip(x, 0.0, 6.0),
        "hard_sigmoid": lambda: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        "hard_swish": lambda: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    }
    return np.asarray(functions[spec.name](), dtype=x.dtype)


class Activation(Block, kind="activation"):
    """A pointwise activation, or a softmax over channels."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Apply it."""
        return activate(self.spec, x)


class Glu(Block, kind="glu"):
    """First half of the channels * sigmoid(second half)."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, 2 C, ...) -> (batch, C, ...)."""
        value, gate = np.split(x, 2, axis=1)
        return value * sigmoid(gate)


class Dropout(Block, kind="dropout"):
    """The identity: this backend only evaluates."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Return x."""
        return x
