"""Activations and norms that exporters write out in small steps, put together again.

They are looked for once the axes are known, so transposes between the steps do not matter.
"""

import math
from collections.abc import Callable

from ..layers import Layer
from .match import Matcher, Product, close

# From here on softplus is its argument to the last bit of float32.
LINEAR = 15.0


def _activation(name: str, x: int, layer: Layer) -> Layer:
    """An activation in place of a layer."""
    return Layer("activation", [x], layer.node, {"name": name})


def _relu6(look: Matcher, number: int) -> int | None:
    """What is clipped to 0..6, in any of its forms."""
    for kind, fields in (("clip", {"low": 0.0, "high": 6.0}), ("activation", {"name": "relu6"})):
        inner = look.before(number, kind, **fields)
        if inner is not None:
            return inner
    outer = look.before(number, "clip", low=-math.inf, high=6.0)
    return None if outer is None else _relu(look, outer)


def _relu(look: Matcher, number: int) -> int | None:
    """What is clipped below 0."""
    inner = look.before(number, "activation", name="relu")
    return inner if inner is not None else look.before(number, "clip", low=0.0, high=math.inf)


def clipped(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """Relu and relu6 by limits."""
    if layer.kind != "clip":
        return None
    inner = _relu(look, number)
    bounded = None if inner is None else look.before(inner, "clip", low=-math.inf, high=6.0)
    if bounded is not None:
        return _activation("relu6", bounded, layer)
    for name, form in (("relu6", _relu6), ("relu", _relu)):
        x = form(look, number)
        if x is not None:
            return _activation(name, x, layer)
    return None


def hard_sigmoid(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """relu6(x + 3) / 6, or x / 6 + 1 / 2 clipped to 0..1."""
    factor, base = look.scaled(number)
    inner = _relu6(look, base) if close(factor, 1 / 6) else None
    x = None if inner is None else look.shifted(inner, 3.0)
    if x is not None:
        return _activation("hard_sigmoid", x, layer)
    inner = look.before(number, "clip", low=0.0, high=1.0)
    shifted = None if inner is None else look.shifted(inner, 0.5)
    factor, base = (0.0, number) if shifted is None else look.scaled(shifted)
    return _activation("hard_sigmoid", base, layer) if close(factor, 1 / 6) else None


def gated(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """x times a gate of x: silu, hard swish, and GELU in both forms."""
    for factor, x, gate in look.pairs(number):
        for name, wanted, form in _GATES:
            if close(factor, wanted) and form(look, gate, x):
                return _activation(name, x, layer)
    return None


def _is_sigmoid(look: Matcher, gate: int, x: int) -> bool:
    return look.before(gate, "activation", name="sigmoid") == x


def _is_hard_sigmoid(look: Matcher, gate: int, x: int) -> bool:
    return look.before(gate, "activation", name="hard_sigmoid") == x


def _is_shifted_relu6(look: Matcher, gate: int, x: int) -> bool:
    inner = _relu6(look, gate)
    return inner is not None and look.shifted(inner, 3.0) == x


def _is_erf(look: Matcher, gate: int, x: int) -> bool:
    """Whether a gate is 1 + erf(x / sqrt(2)), or erfc(-x / sqrt(2))."""
    root = math.sqrt(0.5)
    shifted = look.shifted(gate, 1.0)
    inner = None if shifted is None else look.before(shifted, "erf")
    if inner is not None:
        return look.is_product(inner, root, x)
    turned = look.before(gate, "erfc")
    return turned is not None and look.is_product(turned, -root, x)


def _is_tanh(look: Matcher, gate: int, x: int) -> bool:
    """Whether a gate is 1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))."""
    shifted = look.shifted(gate, 1.0)
    inner = None if shifted is None else look.before(shifted, "activation", name="tanh")
    if inner is None:
        return False
    outer, cubic = math.sqrt(2.0 / math.pi), 0.044715
    factor, base = look.scaled(inner)
    if close(factor, outer) and _is_sum(look, base, (1.0, (x,)), (cubic, (x, x, x))):
        return True
    for scale, signal, rest in look.pairs(inner):
        bare = look.shifted(rest, 1.0) if close(scale, outer) and signal == x else None
        if bare is not None and look.is_product(bare, cubic, x, x):
            return True
    return _is_sum(look, inner, (outer, (x,)), (outer * cubic, (x, x, x)))


def _is_sum(look: Matcher, number: int, first: Product, second: Product) -> bool:
    """Whether a layer adds two products, in any order."""
    layer = look.is_a(number, "merge", mode="add")
    if layer is None or len(layer.inputs) != 2:
        return False
    return any(
        look.is_product(left, first[0], *first[1]) and look.is_product(right, second[0], *second[1])
        for left, right in (layer.inputs, layer.inputs[::-1])
    )


_GATES: tuple[tuple[str, float, Callable[[Matcher, int, int], bool]], ...] = (
    ("silu", 1.0, _is_sigmoid),
    ("hard_swish", 1.0, _is_hard_sigmoid),
    ("hard_swish", 1 / 6, _is_shifted_relu6),
    ("gelu", 0.5, _is_erf),
    ("gelu_tanh", 0.5, _is_tanh),
)


def glu(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """The first half of the channels times the sigmoid of the second."""
    if look.is_a(number, "merge", mode="multiply") is None or len(layer.inputs) != 2:
        return None
    for value, gate in (layer.inputs, layer.inputs[::-1]):
        inner = look.before(gate, "activation", name="sigmoid")
        if inner is None:
            continue
        values, gates = look.is_a(value, "channels"), look.is_a(inner, "channels")
        if values is None or gates is None or values.inputs != gates.inputs:
            continue
        half = values.fields["stop"]
        if (values.fields["start"], gates.fields["start"], gates.fields["stop"]) == (
            0, half, 2 * half,
        ) and values.fields["of"] == 2 * half:  # fmt: skip
            return Layer("glu", values.inputs, layer.node)
    return None


def softplus(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """Softplus, but its argument itself where that is large."""
    if layer.kind != "where":
        return None
    condition, x, other = layer.inputs
    large = look.is_a(condition, "greater")
    if large is None or large.inputs != [x] or (large.fields["value"] or 0.0) < LINEAR:
        return None
    same = look.before(other, "activation", name="softplus") == x
    return _activation("softplus", x, layer) if same else None
