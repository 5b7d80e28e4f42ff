"""Activations, and the steps that some exporters make of them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..program.signal import Const, Signal, Unfit
from .reader import NodeReader, handles

# Constants of SELU and of hard sigmoid; ONNX's defaults for the latter are Keras 2's.
SELU = (1.6732632423543772, 1.0507009873554805)
CLOSE = 1e-5

_PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus",
    "HardSwish": "hard_swish",
}  # fmt: skip
_PARTS = {"Erf": "erf", "Erfc": "erfc", "Sqrt": "sqrt", "Reciprocal": "reciprocal"}


def activation(reader: NodeReader, name: str, **fields: Any) -> Signal:
    """Append an activation."""
    return reader.then("activation", reader.signal(), name=name, **fields)


@handles(*_PLAIN)
def plain(reader: NodeReader) -> Signal:
    """Those without constants."""
    return activation(reader, _PLAIN[reader.node.op])


@handles("LeakyRelu")
def leaky_relu(reader: NodeReader) -> Signal:
    """Slope `alpha` below zero."""
    return activation(reader, "leaky_relu", slope=reader.node.get("alpha", 0.01))


@handles("PRelu")
def prelu(reader: NodeReader) -> Signal:
    """A slope that is a constant, the same for all channels."""
    slopes = np.unique(reader.needed(1).array)
    if slopes.size != 1:
        raise Unfit("it has a slope for each channel; one slope for all is read")
    return activation(reader, "leaky_relu", slope=float(str(slopes[0])))


@handles("Elu", "Celu")
def elu(reader: NodeReader) -> Signal:
    """ELU; CELU is the same where its alpha is 1."""
    alpha = reader.node.get("alpha", 1.0)
    if reader.node.op == "Celu" and alpha != 1.0:
        raise Unfit(f"its alpha is {alpha}, where 1 is expected")
    return activation(reader, "elu", alpha=alpha)


@handles("Selu")
def selu(reader: NodeReader) -> Signal:
    """SELU with its own constants."""
    given = (reader.node.get("alpha", SELU[0]), reader.node.get("gamma", SELU[1]))
    _expect(given, SELU, "its alpha and gamma")
    return activation(reader, "selu")


@handles("HardSigmoid")
def hard_sigmoid(reader: NodeReader) -> Signal:
    """The form relu6(x + 3) / 6."""
    given = (reader.node.get("alpha", 0.2), reader.node.get("beta", 0.5))
    _expect(given, (1 / 6, 0.5), "its alpha and beta")
    return activation(reader, "hard_sigmoid")


def _expect(given: tuple[float, ...], wanted: tuple[float, ...], what: str) -> None:
    """Refuse constants that differ."""
    if not np.allclose(given, wanted, rtol=CLOSE, atol=0.0):
        raise Unfit(f"{what} are {given}, where {wanted} are expected")


@handles("Gelu")
def gelu(reader: NodeReader) -> Signal:
    """Exact, or its approximation with tanh."""
    form = reader.node.get("approximate", "none")
    if form not in ("none", "tanh"):
        raise Unfit(f"its approximate is {form!r}, where none or tanh is expected")
    return activation(reader, "gelu_tanh" if form == "tanh" else "gelu")


@handles("Softmax", "LogSoftmax")
def softmax(reader: NodeReader) -> Signal:
    """Over the channels."""
    x, old = reader.signal(), reader.walk.graph.opset < 13
    axis = x.axis(reader.node.get("axis", 1 if old else -1))
    behind = [size for size in x.sizes[axis + 1 :] if size > 1]
    if not x.is_channels(axis) or (old and behind):
        raise Unfit(f"it acts over axis {axis}, {x.roles[axis]!r}; over the channels it is read")
    return activation(reader, "softmax" if reader.node.op == "Softmax" else "log_softmax")


@handles("Clip")
def clip(reader: NodeReader) -> Signal:
    """Limits, which newer operator sets give as inputs."""
    low = reader.number(1, reader.node.get("min", -math.inf))
    high = reader.number(2, reader.node.get("max", math.inf))
    return reader.then("clip", reader.signal(), low=low, high=high)


@handles("Max", "Min")
def limit(reader: NodeReader) -> Signal:
    """A limit that is a constant."""
    if reader.count != 2:
        raise Unfit("it takes more than a signal and a constant")
    first = isinstance(reader.value(0), Const)
    number = reader.number(0 if first else 1, 0.0)
    low, high = (number, math.inf) if reader.node.op == "Max" else (-math.inf, number)
    return reader.then("clip", reader.signal(1 if first else 0), low=low, high=high)


@handles(*_PARTS)
def part(reader: NodeReader) -> Signal:
    """What makes sense only as a part of something larger."""
    return reader.then(_PARTS[reader.node.op], reader.signal())


@handles("Greater")
def greater(reader: NodeReader) -> Signal:
    """A comparison with a constant."""
    return reader.then("greater", reader.signal(), value=reader.number(1, None))


@handles("Where")
def where(reader: NodeReader) -> Signal:
    """A choice between two signals."""
    signals = [reader.signal(index) for index in range(3)]
    return replace(signals[1], layer=reader.add("where", signals))
