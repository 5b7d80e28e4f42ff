"""Pools over all of time, and over windows."""

from dataclasses import replace

from ..graph.arguments import axes_of
from ..program.layers import Notes
from ..program.signal import CHANNELS, ROWS, TIME, UNIT, Signal, Unfit
from .reader import NodeReader, handles
from .windows import over_time, tap, windows


def _pooled(reader: NodeReader, x: Signal, mode: str, keep: bool, axes: set[int]) -> Signal:
    """A pool over all of time, where there is any; `places` are the axes that it takes."""
    y = x
    if not x.is_vector:
        y = replace(x, layer=reader.add("pool", x, mode=mode), length=None)
    roles = [
        UNIT if axis in axes else role
        for axis, role in enumerate(x.roles)
        if keep or axis not in axes
    ]
    return replace(y, roles=tuple(roles))


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(reader: NodeReader) -> Signal:
    """Over all axes behind the channels."""
    x = reader.signal()
    if not x.is_channels(1) or ROWS in x.roles or (TIME in x.roles[:2]):
        raise Unfit(f"its axes are {x.roles}, where time behind the channels is expected")
    mode = "global_average" if reader.node.op == "GlobalAveragePool" else "global_max"
    return _pooled(reader, x, mode, True, set(range(2, len(x.roles))))


@handles("ReduceMean", "ReduceMax")
def reduce(reader: NodeReader) -> Signal:
    """Over time; a mean over the channels is a part of a layer norm."""
    x, axes = reader.signal(), axes_of(reader.node, reader.arrays())
    if not axes:
        if reader.node.get("noop_with_empty_axes", 0):
            return x
        raise Unfit("it takes all axes together")
    chosen, keep = {x.axis(axis) for axis in axes}, bool(reader.node.get("keepdims", 1))
    over = {x.roles[position] for position in chosen} - {UNIT}
    average = reader.node.op == "ReduceMean"
    if over == {CHANNELS} and average:
        y = reader.then("channel_mean", x, over=x.channels)
        roles = [role for position, role in enumerate(x.roles) if keep or position not in chosen]
        return replace(y, channels=1, roles=tuple(roles))
    if over - {TIME}:
        raise Unfit(f"it acts over {' and '.join(sorted(over))}; over time it is read")
    return _pooled(reader, x, "global_average" if average else "global_max", keep, chosen)


@handles("AveragePool", "MaxPool")
def window_pool(reader: NodeReader) -> Signal:
    """Over a window that moves along time."""
    x, node = reader.signal(), reader.node
    average = node.op == "AveragePool"
    each_axis = windows(reader, x, tuple(node.get("kernel_shape", ())))
    if not x.is_channels(1):
        raise Unfit(f"its axis 1 is {x.roles[1]!r}, where the channels are expected")
    for window in each_axis:
        if window.dilation > 1 and window.size > 1:
            raise Unfit("it is dilated")
    if x.is_vector:
        sizes = [tap(window) for window in each_axis]
        if any(sizes) and average:
            raise Unfit("it pads a vector")
        return x
    time, window = over_time(x, each_axis)
    for axis, other in enumerate(each_axis):
        if axis != time and (tap(other) or (average and other.size > 1)):
            raise Unfit("it moves over two axes of space")
    _check_ceiling(reader, x, window.outputs(x.length or 0), window.stride)
    counted = bool(node.get("count_include_pad", 0)) if average else False
    layer = reader.add(
        "window_pool",
        x,
        mode="average" if average else "max",
        size=window.size,
        stride=window.stride,
        channels=x.channels,
        count_padding=counted and window.pads not in (None, (0, 0)),
        notes=Notes(pads=window.pads, length=x.length or 0),
    )
    return replace(x, layer=layer, length=window.outputs(x.length or 0))


def _check_ceiling(reader: NodeReader, x: Signal, outputs: int, stride: int) -> None:
    """Refuse `ceil_mode`, unless the one length that there is makes no difference."""
    if not reader.node.get("ceil_mode", 0) or stride == 1:
        return
    size = reader.node.get("kernel_shape")[x.roles.index(TIME) - 2]
    pads = reader.node.get("pads", [0, 0])
    rank = len(x.roles) - 2
    axis = x.roles.index(TIME) - 2
    total = (x.length or 0) + pads[axis] + pads[axis + rank] - size
    if not reader.walk.fixed or total % stride or outputs < 1:
        raise Unfit("its ceil_mode adds a window that is cut short")
