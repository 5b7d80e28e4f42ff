"""Pools over the whole signal and over moving windows, and upsampling."""

from dataclasses import replace

import numpy as np

from .builder import Value
from .conv import window_pads
from .emit import Place, emits
from .stream import continued, finished


@emits("pool")
def pool(place: Place, x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
    mode = place.spec.mode
    if mode.startswith("adaptive"):
        adaptive = _adaptive_average if mode == "adaptive_average" else _adaptive_max
        return Value(adaptive(place, x), (x.channels, place.spec.output_size))
    if mode.startswith("global"):
        name = place.op("GlobalAveragePool" if mode == "global_average" else "GlobalMaxPool", x)
    elif mode == "last":
        name = place.cut(x, -1)
    else:
        name = _middle(place, x)
    return Value(place.op("Flatten", name, axis=1), (x.channels,))


def _middle(place: Place, x: Value) -> str:
    """Step L // 2 of L."""
    if x.time is not None:
        return place.cut(x, x.time // 2, x.time // 2 + 1)
    start = place.op("Div", place.length(x), place.graph.integers(2))
    return place.cut(x, start, place.op("Add", start, place.graph.integers(1)))


def _even(place: Place, x: Value) -> tuple[int, int] | None:
    """Size and stride of an adaptive pool's windows, where they are the same for all."""
    if x.time is None:
        return None
    starts, ends = np.array(place.spec.windows(x.time)).T
    steps = set(np.diff(starts).tolist()) or {1}
    sizes = set((ends - starts).tolist())
    return (sizes.pop(), steps.pop()) if len(steps) == len(sizes) == 1 and steps != {0} else None


def _evenly(place: Place, x: Value, operator: str, window: tuple[int, int]) -> str:
    """An adaptive pool with windows that are all the same."""
    size, step = window
    return place.op(operator, x, kernel_shape=place.spatial(size), strides=place.spatial(step))


def _windows(place: Place, x: Value) -> tuple[str, str]:
    """First steps of an adaptive pool's windows and those after their last ones, int64 vectors."""
    graph, size = place.graph, place.spec.output_size
    if x.time is not None:
        starts, ends = zip(*place.spec.windows(x.time), strict=True)
        return graph.integers(*starts), graph.integers(*ends)
    length, parts, places = place.length(x), graph.integers(size), np.arange(size)
    start = place.op("Div", place.op("Mul", length, graph.integers(*places)), parts)
    upper = place.op("Mul", length, graph.integers(*(places + 1)))
    end = place.op("Div", place.op("Add", upper, graph.integers(size - 1)), parts)
    return start, end


def _numbers(place: Place, count: str) -> str:
    """0, 1, 2, ... as an int64 vector; `count` is a vector of one number."""
    scalar = place.op("Reshape", count, place.graph.constant([], np.int64))
    zero, one = (place.graph.constant(number, np.int64) for number in (0, 1))
    return place.op("Range", zero, scalar, one)


def _adaptive_average(place: Place, x: Value) -> str:
    """Mean of each window: a product with a matrix of shares."""
    window = _even(place, x)
    if window is not None:
        return _evenly(place, x, "AveragePool", window)
    graph = place.graph
    if x.time is not None:
        shares = np.zeros((x.time, place.spec.output_size))
        for column, (start, end) in enumerate(place.spec.windows(x.time)):
            shares[start:end, column] = 1.0 / (end - start)
        return place.op("MatMul", x, graph.constant(shares))
    start, end = _windows(place, x)
    steps = place.op("Unsqueeze", _numbers(place, place.length(x)), graph.integers(1))
    inside = place.op("And", place.op("GreaterOrEqual", steps, start), place.op("Less", steps, end))
    sizes = place.op("Cast", place.op("Sub", end, start), to=graph.dtype)
    share = place.op("Div", place.op("Cast", inside, to=graph.dtype), sizes)
    return place.op("MatMul", x, share)


def _adaptive_max(place: Place, x: Value) -> str:
    """Maximum of each window: its steps gathered, the last one repeated where others are longer."""
    window = _even(place, x)
    if window is not None:
        return _evenly(place, x, "MaxPool", window)
    if place.wide:
        raise place.refuse(
            f"pool mode 'adaptive_max' of {x.time} steps to {place.spec.output_size} has windows "
            "of several sizes, which rank 4 cannot hold; choose an input_length that divides"
        )
    graph = place.graph
    start, end = _windows(place, x)
    widest = place.op("ReduceMax", place.op("Sub", end, start), axes=[0], keepdims=1)
    offsets = place.op("Unsqueeze", _numbers(place, widest), graph.integers(0))
    last = place.op("Sub", place.op("Unsqueeze", end, graph.integers(1)), graph.integers(1))
    first = place.op("Unsqueeze", start, graph.integers(1))
    index = place.op("Min", place.op("Add", first, offsets), last)
    gathered = place.op("Gather", x, index, axis=2)
    return place.op("ReduceMax", gathered, axes=[3], keepdims=0)


@emits("window_pool")
def window_pool(place: Place, x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time')."""
    spec = place.spec
    if place.streaming and (spec.reach or spec.step > 1):
        ready, count = continued(place, x, spec.step)
        return finished(place, x, _pooled(place, ready, pads=[0, 0]), count, x.channels)
    if x.time is None and spec.padding == "same_upper" and spec.step > 1:
        return Value(_pooled(place, x, auto_pad="SAME_UPPER"), (x.channels, None))
    left, right = window_pads(place, x, spec.step)
    time = None if x.time is None else spec.output_shape((x.channels, x.time))[1]
    return Value(_pooled(place, x, pads=[left, right]), (x.channels, time), x.may_be_empty)


def _pooled(
    place: Place, x: Value | str, pads: list[int] | None = None, auto_pad: str = "NOTSET"
) -> str:
    """The pool itself; a maximum passes over padding."""
    spec = place.spec
    average = spec.mode == "average"
    return place.op(
        "AveragePool" if average else "MaxPool",
        x,
        kernel_shape=place.spatial(spec.size),
        strides=place.spatial(spec.step),
        auto_pad=auto_pad,
        **({} if pads is None else {"pads": place.spatial_pads(*pads)}),
        **({"count_include_pad": int(spec.count_padding)} if average else {}),
    )


@emits("upsample")
def upsample(place: Place, x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time * factor)."""
    factor = place.spec.factor
    if factor == 1:
        return x
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if place.spec.mode == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        how |= {"nearest_mode": "floor"}
    scales = place.graph.constant([1.0] * place.time_axis + [factor], np.float32)
    name = place.op("Resize", x, "", scales, **how)
    time = None if x.time is None else x.time * factor
    return replace(x, name=name, shape=(x.channels, time))
