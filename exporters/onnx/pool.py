"""Pools over the whole signal and over moving windows, and upsampling."""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.specs import PoolSpec, UpsampleSpec, WindowPoolSpec

from .block import BlockWriter, writes
from .builder import Value
from .conv import window_pads
from .stream import continued, finished


@writes("pool")
def pool(block: BlockWriter[PoolSpec], x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
    mode = block.spec.mode
    if mode.startswith("adaptive"):
        adaptive = _adaptive_average if mode == "adaptive_average" else _adaptive_max
        return Value(adaptive(block, x), (x.channels, block.spec.output_size))
    if mode.startswith("global"):
        name = block.op("GlobalAveragePool" if mode == "global_average" else "GlobalMaxPool", x)
    elif mode == "first":
        name = block.cut(x, 0, 1)
    elif mode == "last":
        name = block.cut(x, -1)
    else:
        name = _middle(block, x)
    return Value(block.op("Flatten", name, axis=1), (x.channels,))


def _middle(block: BlockWriter[Any], x: Value) -> str:
    """Step L // 2 of L."""
    if x.time is not None:
        return block.cut(x, x.time // 2, x.time // 2 + 1)
    start = block.op("Div", block.length(x), block.graph.integers(2))
    return block.cut(x, start, block.op("Add", start, block.graph.integers(1)))


def _outputs(block: BlockWriter[PoolSpec]) -> int:
    """Steps that an adaptive pool gives, which its spec always says."""
    return block.spec.output_size or 1


def _even(block: BlockWriter[PoolSpec], x: Value) -> tuple[int, int] | None:
    """Size and stride of an adaptive pool's windows, where they are the same for all."""
    if x.time is None:
        return None
    starts, ends = np.array(block.spec.windows(x.time)).T
    steps = set(np.diff(starts).tolist()) or {1}
    sizes = set((ends - starts).tolist())
    return (sizes.pop(), steps.pop()) if len(steps) == len(sizes) == 1 and steps != {0} else None


def _evenly(block: BlockWriter[Any], x: Value, operator: str, window: tuple[int, int]) -> str:
    """An adaptive pool with windows that are all the same."""
    size, step = window
    return block.op(operator, x, kernel_shape=block.spatial(size), strides=block.spatial(step))


def _windows(block: BlockWriter[PoolSpec], x: Value) -> tuple[str, str]:
    """First steps of an adaptive pool's windows and those after their last ones, int64 vectors."""
    graph, size = block.graph, _outputs(block)
    if x.time is not None:
        starts, ends = zip(*block.spec.windows(x.time), strict=True)
        return graph.integers(*starts), graph.integers(*ends)
    length, parts, positions = block.length(x), graph.integers(size), np.arange(size)
    start = block.op("Div", block.op("Mul", length, graph.integers(*positions)), parts)
    upper = block.op("Mul", length, graph.integers(*(positions + 1)))
    end = block.op("Div", block.op("Add", upper, graph.integers(size - 1)), parts)
    return start, end


def _numbers(block: BlockWriter[Any], count: str) -> str:
    """0, 1, 2, ... as an int64 vector; `count` is a vector of one number."""
    scalar = block.op("Reshape", count, block.graph.constant([], np.int64))
    first, step = (block.graph.constant(number, np.int64) for number in (0, 1))
    return block.op("Range", first, scalar, step)


def _adaptive_average(block: BlockWriter[PoolSpec], x: Value) -> str:
    """Mean of each window: a product with a matrix of shares."""
    window = _even(block, x)
    if window is not None:
        return _evenly(block, x, "AveragePool", window)
    graph = block.graph
    if x.time is not None:
        shares = np.zeros((x.time, _outputs(block)))
        for column, (first, last) in enumerate(block.spec.windows(x.time)):
            shares[first:last, column] = 1.0 / (last - first)
        return block.op("MatMul", x, graph.constant(shares))
    start, end = _windows(block, x)
    steps = block.op("Unsqueeze", _numbers(block, block.length(x)), graph.integers(1))
    inside = block.op("And", block.op("GreaterOrEqual", steps, start), block.op("Less", steps, end))
    sizes = block.op("Cast", block.op("Sub", end, start), to=graph.dtype)
    share = block.op("Div", block.op("Cast", inside, to=graph.dtype), sizes)
    return block.op("MatMul", x, share)


def _adaptive_max(block: BlockWriter[PoolSpec], x: Value) -> str:
    """Maximum of each window: its steps gathered, the last one repeated where others are longer."""
    window = _even(block, x)
    if window is not None:
        return _evenly(block, x, "MaxPool", window)
    if block.wide:
        raise block.refuse(
            f"pool mode 'adaptive_max' of {x.time} steps to {block.spec.output_size} has windows "
            "of several sizes, which rank 4 cannot hold; choose an input_length that divides"
        )
    graph = block.graph
    start, end = _windows(block, x)
    widest = block.op("ReduceMax", block.op("Sub", end, start), axes=[0], keepdims=1)
    offsets = block.op("Unsqueeze", _numbers(block, widest), graph.integers(0))
    last = block.op("Sub", block.op("Unsqueeze", end, graph.integers(1)), graph.integers(1))
    first = block.op("Unsqueeze", start, graph.integers(1))
    index = block.op("Min", block.op("Add", first, offsets), last)
    gathered = block.op("Gather", x, index, axis=2)
    return block.op("ReduceMax", gathered, axes=[3], keepdims=0)


@writes("window_pool")
def window_pool(block: BlockWriter[WindowPoolSpec], x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time')."""
    spec = block.spec
    if block.streaming and (spec.reach or spec.step > 1):
        ready, count = continued(block, x, spec.step)
        return finished(block, x, _pooled(block, ready, pads=[0, 0]), count, x.channels)
    if x.time is None and spec.padding == "same_upper" and spec.step > 1:
        return Value(_pooled(block, x, auto_pad="SAME_UPPER"), (x.channels, None))
    left, right = window_pads(block, x, spec.step)
    time = None if x.time is None else spec.output_shape((x.channels, x.time))[1]
    return Value(_pooled(block, x, pads=[left, right]), (x.channels, time), x.may_be_empty)


def _pooled(
    block: BlockWriter[WindowPoolSpec],
    x: Value | str,
    pads: list[int] | None = None,
    auto_pad: str = "NOTSET",
) -> str:
    """The pool itself; a maximum passes over padding."""
    spec = block.spec
    average = spec.mode == "average"
    return block.op(
        "AveragePool" if average else "MaxPool",
        x,
        kernel_shape=block.spatial(spec.size),
        strides=block.spatial(spec.step),
        auto_pad=auto_pad,
        **({} if pads is None else {"pads": block.spatial_pads(*pads)}),
        **({"count_include_pad": int(spec.count_padding)} if average else {}),
    )


@writes("upsample")
def upsample(block: BlockWriter[UpsampleSpec], x: Value) -> Value:
    """(batch, channels, time) -> (batch, channels, time * factor)."""
    factor = block.spec.factor
    if factor == 1:
        return x
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if block.spec.mode == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        how |= {"nearest_mode": "floor"}
    scales = block.graph.constant([1.0] * block.time_axis + [factor], np.float32)
    name = block.op("Resize", x, "", scales, **how)
    time = None if x.time is None else x.time * factor
    return replace(x, name=name, shape=(x.channels, time))
