"""Activations, gated linear units and dropout."""

import math
from collections.abc import Callable
from dataclasses import replace

from .builder import Value
from .emit import Place, emits

# Klambauer et al. 2017, arXiv:1706.02515, equation 14.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _gelu(place: Place, x: Value) -> str:
    """0.5 x (1 + erf(x / sqrt(2)))."""
    inner = place.op("Erf", place.op("Mul", x, place.graph.constant(math.sqrt(0.5))))
    return _half_of(place, x, inner)


def _gelu_tanh(place: Place, x: Value) -> str:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    constant = place.graph.constant
    cube = place.op("Mul", place.op("Mul", x, x), x)
    inner = place.op("Add", x, place.op("Mul", cube, constant(0.044715)))
    tanh = place.op("Tanh", place.op("Mul", inner, constant(math.sqrt(2.0 / math.pi))))
    return _half_of(place, x, tanh)


def _half_of(place: Place, x: Value, inner: str) -> str:
    """0.5 x (1 + inner)."""
    shifted = place.op("Add", inner, place.graph.constant(1.0))
    half = place.op("Mul", x, place.graph.constant(0.5))
    return place.op("Mul", half, shifted)


OPERATORS: dict[str, Callable[[Place, Value], str]] = {
    "linear": lambda place, x: x.name,
    "relu": lambda place, x: place.op("Relu", x),
    "leaky_relu": lambda place, x: place.op("LeakyRelu", x, alpha=place.spec.slope),
    "elu": lambda place, x: place.op("Elu", x, alpha=place.spec.alpha),
    "selu": lambda place, x: place.op("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda place, x: place.op("Mul", x, place.op("Sigmoid", x)),
    "tanh": lambda place, x: place.op("Tanh", x),
    "sigmoid": lambda place, x: place.op("Sigmoid", x),
    "softplus": lambda place, x: place.op("Softplus", x),
    "softmax": lambda place, x: place.op("Softmax", x, axis=1),
    "log_softmax": lambda place, x: place.op("LogSoftmax", x, axis=1),
    "relu6": lambda place, x: place.op(
        "Clip", x, place.graph.constant(0.0), place.graph.constant(6.0)
    ),
    "hard_sigmoid": lambda place, x: place.op("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5),
    "hard_swish": lambda place, x: place.op("HardSwish", x),
}


@emits("activation")
def activation(place: Place, x: Value) -> Value:
    """A pointwise activation, or a softmax over channels."""
    return replace(x, name=OPERATORS[place.spec.name](place, x))


@emits("glu")
def glu(place: Place, x: Value) -> Value:
    """First half of the channels * sigmoid(second half)."""
    half = x.channels // 2
    sizes = place.graph.integers(half, half)
    value, gate = place.graph.add("Split", [x.name, sizes], place.path, outputs=2, axis=1)
    name = place.op("Mul", value, place.op("Sigmoid", gate))
    return replace(x, name=name, shape=(half, *x.shape[1:]))


@emits("dropout")
def dropout(place: Place, x: Value) -> Value:
    """The identity: a graph only evaluates."""
    return x
