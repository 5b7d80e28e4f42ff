"""Activations, and the steps that some exporters make of them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .signal import Const, Signal, Unfit
from .walk import Step, handles

# Constants of SELU and of hard sigmoid; ONNX's defaults for the latter are Keras 2's.
SELU = (1.6732632423543772, 1.0507009873554805)
CLOSE = 1e-5

_PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus",
    "HardSwish": "hard_swish",
}  # fmt: skip
_PARTS = {"Erf": "erf", "Erfc": "erfc", "Sqrt": "sqrt", "Reciprocal": "reciprocal"}


def activation(step: Step, name: str, **fields: Any) -> Signal:
    """Append an activation."""
    return step.then("activation", step.signal(), name=name, **fields)


@handles(*_PLAIN)
def plain(step: Step) -> Signal:
    """Those without constants."""
    return activation(step, _PLAIN[step.node.op])


@handles("LeakyRelu")
def leaky_relu(step: Step) -> Signal:
    """Slope `alpha` below zero."""
    return activation(step, "leaky_relu", slope=step.node.get("alpha", 0.01))


@handles("PRelu")
def prelu(step: Step) -> Signal:
    """A slope that is a constant, the same for all channels."""
    slopes = np.unique(step.needed(1).array)
    if slopes.size != 1:
        raise Unfit("it has a slope for each channel; one slope for all is read")
    return activation(step, "leaky_relu", slope=float(str(slopes[0])))


@handles("Elu", "Celu")
def elu(step: Step) -> Signal:
    """ELU; CELU is the same where its alpha is 1."""
    alpha = step.node.get("alpha", 1.0)
    if step.node.op == "Celu" and alpha != 1.0:
        raise Unfit(f"its alpha is {alpha}, where 1 is expected")
    return activation(step, "elu", alpha=alpha)


@handles("Selu")
def selu(step: Step) -> Signal:
    """SELU with its own constants."""
    given = (step.node.get("alpha", SELU[0]), step.node.get("gamma", SELU[1]))
    _expect(given, SELU, "its alpha and gamma")
    return activation(step, "selu")


@handles("HardSigmoid")
def hard_sigmoid(step: Step) -> Signal:
    """The form relu6(x + 3) / 6."""
    given = (step.node.get("alpha", 0.2), step.node.get("beta", 0.5))
    _expect(given, (1 / 6, 0.5), "its alpha and beta")
    return activation(step, "hard_sigmoid")


def _expect(given: tuple[float, ...], wanted: tuple[float, ...], what: str) -> None:
    """Refuse constants that differ."""
    if not np.allclose(given, wanted, rtol=CLOSE, atol=0.0):
        raise Unfit(f"{what} are {given}, where {wanted} are expected")


@handles("Gelu")
def gelu(step: Step) -> Signal:
    """Exact, or its approximation with tanh."""
    form = step.node.get("approximate", "none")
    if form not in ("none", "tanh"):
        raise Unfit(f"its approximate is {form!r}, where none or tanh is expected")
    return activation(step, "gelu_tanh" if form == "tanh" else "gelu")


@handles("Softmax", "LogSoftmax")
def softmax(step: Step) -> Signal:
    """Over the channels."""
    x, old = step.signal(), step.walk.graph.opset < 13
    axis = x.axis(step.node.get("axis", 1 if old else -1))
    behind = [size for size in x.sizes[axis + 1 :] if size > 1]
    if not x.is_channels(axis) or (old and behind):
        raise Unfit(f"it acts over axis {axis}, {x.roles[axis]!r}; over the channels it is read")
    return activation(step, "softmax" if step.node.op == "Softmax" else "log_softmax")


@handles("Clip")
def clip(step: Step) -> Signal:
    """Limits, which newer operator sets give as inputs."""
    low = step.number(1, step.node.get("min", -math.inf))
    high = step.number(2, step.node.get("max", math.inf))
    return step.then("clip", step.signal(), low=low, high=high)


@handles("Max", "Min")
def limit(step: Step) -> Signal:
    """A limit that is a constant."""
    if step.count != 2:
        raise Unfit("it takes more than a signal and a constant")
    first = isinstance(step.value(0), Const)
    number = step.number(0 if first else 1, 0.0)
    low, high = (number, math.inf) if step.node.op == "Max" else (-math.inf, number)
    return step.then("clip", step.signal(1 if first else 0), low=low, high=high)


@handles(*_PARTS)
def part(step: Step) -> Signal:
    """What makes sense only as a part of something larger."""
    return step.then(_PARTS[step.node.op], step.signal())


@handles("Greater")
def greater(step: Step) -> Signal:
    """A comparison with a constant."""
    return step.then("greater", step.signal(), value=step.number(1, None))


@handles("Where")
def where(step: Step) -> Signal:
    """A choice between two signals."""
    read = [step.signal(place) for place in range(3)]
    return replace(read[1], layer=step.add("where", read))
