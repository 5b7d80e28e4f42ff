"""Layer norms that exporters write out in small steps."""

import numpy as np

from ..layers import Layer
from .match import Matcher, close


def centred(look: Matcher, number: int) -> int | None:
    """What a layer subtracts its mean over the channels from."""
    layer = look.is_a(number, "subtract")
    if layer is None or look.before(layer.inputs[1], "channel_mean") != layer.inputs[0]:
        return None
    return layer.inputs[0]


def deviation(look: Matcher, number: int) -> tuple[int, float] | None:
    """x and eps, where a layer is sqrt(variance of x over the channels + eps)."""
    inner = look.before(number, "sqrt")
    eps = None if inner is None else look.constant(inner, "shift")
    variance = None if eps is None or inner is None else look.before(inner, "affine")
    square = None if variance is None else look.before(variance, "channel_mean")
    product = None if square is None else look.is_a(square, "merge", mode="multiply")
    if product is None or len(product.inputs) != 2 or eps is None:
        return None
    centres = {centred(look, source) for source in product.inputs}
    x = centres.pop()
    return None if centres or x is None else (x, eps)


def layer_norm(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """(x - mean) / deviation; what scales and shifts it comes to it later."""
    pairs = [tuple(layer.inputs)] if layer.kind == "divide" else []
    if look.is_a(number, "merge", mode="multiply") is not None and len(layer.inputs) == 2:
        for above, turned in (layer.inputs, layer.inputs[::-1]):
            inner = look.before(turned, "reciprocal")
            pairs += [] if inner is None else [(above, inner)]
    for above, below in pairs:
        x_and_eps = deviation(look, below)
        if x_and_eps is not None and centred(look, above) == x_and_eps[0]:
            mean = look.program.layers[look.program.layers[above].inputs[1]]
            return _plain_norm(layer, x_and_eps[0], x_and_eps[1], mean)
    return None


def spread_layer_norm(look: Matcher, number: int, layer: Layer) -> Layer | None:
    """x * g + (shift - mean * g), with g the scale over the deviation."""
    if look.is_a(number, "merge", mode="add") is None or len(layer.inputs) != 2:
        return None
    for left, right in (layer.inputs, layer.inputs[::-1]):
        norm = _spread(look, left, right, layer)
        if norm is not None:
            return norm
    return None


def _spread(look: Matcher, scaled: int, moved: int, layer: Layer) -> Layer | None:
    """The two summands of such a layer norm."""
    shift = _only(look, moved, "shift")
    inner = moved if shift is None else shift.inputs[0]
    product = look.is_a(scaled, "merge", mode="multiply")
    if product is None or len(product.inputs) != 2:
        return None
    for x, gain in (product.inputs, product.inputs[::-1]):
        scale = _only(look, gain, "scale")
        below = look.before(gain if scale is None else scale.inputs[0], "reciprocal")
        spread = None if below is None else deviation(look, below)
        if spread is None or spread[0] != x:
            continue
        factor, factors = look.product(inner, (gain,))
        means = [each for each in factors if look.before(each, "channel_mean") == x]
        if not close(factor, -1.0) or not means or sorted(factors) != sorted([means[0], gain]):
            continue
        norm = _plain_norm(layer, x, spread[1], look.program.layers[means[0]])
        norm.arrays.update({} if scale is None else {"weight": scale.arrays["scale"]})
        norm.arrays.update({} if shift is None else {"bias": shift.arrays["shift"]})
        return norm
    return None


def _only(look: Matcher, number: int, name: str) -> Layer | None:
    """An affine layer that only scales, or only shifts."""
    layer = look.is_a(number, "affine")
    return layer if layer is not None and list(layer.arrays) == [name] else None


def _plain_norm(layer: Layer, x: int, eps: float, mean: Layer) -> Layer:
    """A layer norm that neither scales nor shifts yet."""
    width = mean.fields["over"] or 1
    eps = float(str(np.float32(eps)))
    return Layer("layer_norm", [x], layer.node, {"channels": width, "eps": eps}, {})
