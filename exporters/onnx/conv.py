"""Convolutions over time, plain and transposed."""

from typing import Any

import numpy as np

from tcnzoo.specs.base import PROBE

from .builder import Value
from .emit import Place, emits
from .stream import continued, finished

# What ONNX calls the modes of its operator Pad; `circular` is put together from slices.
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def window_pads(place: Place, x: Value, stride: int) -> tuple[Any, Any]:
    """Steps that a window adds left and right: numbers, or vectors where they depend on the length.

    Only `same_upper` with a stride does: what ceil(time / stride) outputs need, half of it left.
    """
    spec, graph = place.spec, place.graph
    if x.time is not None or stride == 1 or spec.padding != "same_upper":
        pads: tuple[int, int] = spec.pads(PROBE if x.time is None else x.time)
        return pads
    length, step = place.length(x), graph.integers(stride)
    outputs = place.op("Div", place.op("Add", length, graph.integers(stride - 1)), step)
    starts = place.op("Mul", outputs, step)
    needed = place.op("Add", starts, graph.integers(spec.reach + 1 - stride))
    total = place.op("Max", place.op("Sub", needed, length), graph.integers(0))
    left = place.op("Div", total, graph.integers(2))
    return left, place.op("Sub", total, left)


def padded(place: Place, x: Value, left: Any, right: Any, mode: str) -> str:
    """A signal with steps before and after it."""
    if left == right == 0:
        return x.name
    if mode != "circular":
        return place.lengthened(x, left, right, MODES[mode])
    parts: list[Value | str] = [x]
    if left != 0:
        start = -left if isinstance(left, int) else place.op("Sub", place.length(x), left)
        parts.insert(0, place.cut(x, start))
    if right != 0:
        parts.append(place.cut(x, 0, right))
    return place.join(*parts)


@emits("conv1d")
def conv1d(place: Place, x: Value) -> Value:
    """(batch, in, time) -> (batch, out, time')."""
    if place.streaming:
        ready, count = continued(place, x, place.spec.stride)
        return finished(place, x, _convolved(place, ready, [0, 0]), count, place.spec.out_channels)
    spec = place.spec
    left, right = window_pads(place, x, spec.stride)
    if spec.padding_mode == "zeros" and isinstance(left, int):
        name = _convolved(place, x, [left, right])
    else:
        name = _convolved(place, padded(place, x, left, right, spec.padding_mode), [0, 0])
    return Value(name, (spec.out_channels, _steps(place, x)))


def _convolved(place: Place, x: Value | str, pads: list[int]) -> str:
    """The convolution itself."""
    spec = place.spec
    return place.op(
        "Conv",
        x,
        place.kernel(),
        *([place.vector("bias")] if spec.bias else []),
        kernel_shape=place.spatial(spec.kernel_size),
        strides=place.spatial(spec.stride),
        dilations=place.spatial(spec.dilation),
        group=spec.groups,
        pads=place.spatial_pads(*pads),
    )


def _steps(place: Place, x: Value) -> int | None:
    """Steps of the output, where those of the input are known."""
    if x.time is None:
        return None
    _, steps = place.spec.output_shape((x.channels, x.time))
    return int(steps)


@emits("conv_transpose1d")
def conv_transpose1d(place: Place, x: Value) -> Value:
    """(batch, in, time) -> (batch, out, time * stride), or as `padding` says."""
    spec = place.spec
    if place.streaming:
        return _streamed_transpose(place, x)
    left, right = spec.crops
    name = _scattered(place, x, left, right, spec.bias)
    return Value(name, (spec.out_channels, _steps(place, x)))


def _scattered(place: Place, x: Value | str, left: int, right: int, bias: bool) -> str:
    """The transposed convolution itself, cropped; a right < 0 adds steps of bias only."""
    spec = place.spec
    return place.op(
        "ConvTranspose",
        x,
        place.kernel(),
        *([place.vector("bias")] if bias else []),
        kernel_shape=place.spatial(spec.kernel_size),
        strides=place.spatial(spec.stride),
        dilations=place.spatial(spec.dilation),
        pads=place.spatial_pads(left, max(0, right)),
        output_padding=[0, max(0, -right)] if place.wide else [max(0, -right)],
    )


def _streamed_transpose(place: Place, x: Value) -> Value:
    """Add the tail of earlier chunks, give out the finished steps, and keep the rest."""
    spec = place.spec
    ready: Value | str = place.lengthened(x, 0, 1) if x.may_be_empty else x
    name = _scattered(place, ready, 0, min(0, spec.overlap), spec.bias and spec.overlap <= 0)
    if x.may_be_empty:
        name = place.cut(name, 0, -spec.stride)
    if spec.overlap > 0:
        held = place.graph.dtype
        name = place.cast(name, np.float32, held)
        head = place.op("Add", place.cut(name, 0, spec.overlap), place.read("tail"))
        name = place.join(head, place.cut(name, spec.overlap))
        place.leave("tail", place.cut(name, -spec.overlap))
        name = place.cast(place.cut(name, 0, -spec.overlap), held, np.float32)
        if spec.bias:
            name = place.op("Add", name, place.over_time(place.vector("bias")))
    time = None if x.time is None else x.time * spec.stride
    return Value(name, (spec.out_channels, time), x.may_be_empty)


@emits("conv_block")
def conv_block(place: Place, x: Value) -> Value:
    """Convolution -> norm -> activation -> dropout."""
    x = place.apply("conv", x)
    for name in ("norm", "activation", "dropout"):
        x = place.optional(name, x)
    return x
