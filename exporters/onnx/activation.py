"""Activations as operators, and dropout; gated linear units are pointwise blocks."""

import math
from collections.abc import Callable
from typing import Any

from tcnzoo.specs.activation import ActivationSpec

from .block import BlockWriter, writes
from .builder import Value

# Klambauer et al. 2017, arXiv:1706.02515, equation 14.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _gelu(block: BlockWriter[Any], x: Value, spec: ActivationSpec) -> str:
    """0.5 x (1 + erf(x / sqrt(2)))."""
    inner = block.op("Erf", block.op("Mul", x, block.graph.constant(math.sqrt(0.5))))
    return _half_of(block, x, inner)


def _gelu_tanh(block: BlockWriter[Any], x: Value, spec: ActivationSpec) -> str:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    constant = block.graph.constant
    cube = block.op("Mul", block.op("Mul", x, x), x)
    inner = block.op("Add", x, block.op("Mul", cube, constant(0.044715)))
    tanh = block.op("Tanh", block.op("Mul", inner, constant(math.sqrt(2.0 / math.pi))))
    return _half_of(block, x, tanh)


def _half_of(block: BlockWriter[Any], x: Value, inner: str) -> str:
    """0.5 x (1 + inner)."""
    shifted = block.op("Add", inner, block.graph.constant(1.0))
    half = block.op("Mul", x, block.graph.constant(0.5))
    return block.op("Mul", half, shifted)


def _relu6(block: BlockWriter[Any], x: Value, spec: ActivationSpec) -> str:
    return block.op("Clip", x, block.graph.constant(0.0), block.graph.constant(6.0))


def _silu(block: BlockWriter[Any], x: Value, spec: ActivationSpec) -> str:
    return block.op("Mul", x, block.op("Sigmoid", x))


def _safe_log(block: BlockWriter[Any], x: Value, spec: ActivationSpec) -> str:
    return block.op("Log", block.op("Max", x, block.graph.constant(spec.floor)))


OPERATORS: dict[str, Callable[[BlockWriter[Any], Value, ActivationSpec], str]] = {
    "linear": lambda block, x, spec: x.name,
    "relu": lambda block, x, spec: block.op("Relu", x),
    "leaky_relu": lambda block, x, spec: block.op("LeakyRelu", x, alpha=spec.slope),
    "elu": lambda block, x, spec: block.op("Elu", x, alpha=spec.alpha),
    "selu": lambda block, x, spec: block.op("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "tanh": lambda block, x, spec: block.op("Tanh", x),
    "sigmoid": lambda block, x, spec: block.op("Sigmoid", x),
    "softplus": lambda block, x, spec: block.op("Softplus", x),
    "softmax": lambda block, x, spec: block.op("Softmax", x, axis=1),
    "log_softmax": lambda block, x, spec: block.op("LogSoftmax", x, axis=1),
    "relu6": _relu6,
    "hard_sigmoid": lambda block, x, spec: block.op("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5),
    "hard_swish": lambda block, x, spec: block.op("HardSwish", x),
    "square": lambda block, x, spec: block.op("Mul", x, x),
    "safe_log": _safe_log,
}


@writes("dropout")
def dropout(block: BlockWriter[Any], x: Value) -> Value:
    """The identity: a graph only evaluates."""
    return x
