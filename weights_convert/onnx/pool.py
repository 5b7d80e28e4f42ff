"""Pools over all of time, and over windows."""

from dataclasses import replace

from .arguments import axes_of
from .signal import CHANNELS, ROWS, TIME, UNIT, Signal, Unfit
from .walk import Step, handles
from .windows import over_time, tap, windows


def _pooled(step: Step, x: Signal, mode: str, keep: bool, places: set[int]) -> Signal:
    """A pool over all of time, where there is any; `places` are the axes that it takes."""
    y = x
    if not x.is_vector:
        y = replace(x, layer=step.add("pool", x, mode=mode), length=None)
    roles = [
        UNIT if place in places else role
        for place, role in enumerate(x.roles)
        if keep or place not in places
    ]
    return replace(y, roles=tuple(roles))


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(step: Step) -> Signal:
    """Over all axes behind the channels."""
    x = step.signal()
    if not x.is_channels(1) or ROWS in x.roles or (TIME in x.roles[:2]):
        raise Unfit(f"its axes are {x.roles}, where time behind the channels is expected")
    mode = "global_average" if step.node.op == "GlobalAveragePool" else "global_max"
    return _pooled(step, x, mode, True, set(range(2, len(x.roles))))


@handles("ReduceMean", "ReduceMax")
def reduce(step: Step) -> Signal:
    """Over time; a mean over the channels is a part of a layer norm."""
    x, axes = step.signal(), axes_of(step.node, step.arrays())
    if not axes:
        if step.node.get("noop_with_empty_axes", 0):
            return x
        raise Unfit("it takes all axes together")
    places, keep = {x.axis(axis) for axis in axes}, bool(step.node.get("keepdims", 1))
    over = {x.roles[place] for place in places} - {UNIT}
    average = step.node.op == "ReduceMean"
    if over == {CHANNELS} and average:
        y = step.then("channel_mean", x, over=x.channels)
        roles = [role for place, role in enumerate(x.roles) if keep or place not in places]
        return replace(y, channels=1, roles=tuple(roles))
    if over - {TIME}:
        raise Unfit(f"it acts over {' and '.join(sorted(over))}; over time it is read")
    return _pooled(step, x, "global_average" if average else "global_max", keep, places)


@handles("AveragePool", "MaxPool")
def window_pool(step: Step) -> Signal:
    """Over a window that moves along time."""
    x, node = step.signal(), step.node
    average = node.op == "AveragePool"
    found = windows(step, x, tuple(node.get("kernel_shape", ())))
    if not x.is_channels(1):
        raise Unfit(f"its axis 1 is {x.roles[1]!r}, where the channels are expected")
    for window in found:
        if window.dilation > 1 and window.size > 1:
            raise Unfit("it is dilated")
    if x.is_vector:
        sizes = [tap(window) for window in found]
        if any(sizes) and average:
            raise Unfit("it pads a vector")
        return x
    place, window = over_time(x, found)
    for axis, one in enumerate(found):
        if axis != place and (tap(one) or (average and one.size > 1)):
            raise Unfit("it moves over two axes of space")
    _check_ceiling(step, x, window.outputs(x.length or 0), window.stride)
    counted = bool(node.get("count_include_pad", 0)) if average else False
    layer = step.add(
        "window_pool",
        x,
        mode="average" if average else "max",
        size=window.size,
        stride=window.stride,
        channels=x.channels,
        count_padding=counted and window.pads not in (None, (0, 0)),
        pads=window.pads,
        length=x.length,
    )
    return replace(x, layer=layer, length=window.outputs(x.length or 0))


def _check_ceiling(step: Step, x: Signal, outputs: int, stride: int) -> None:
    """Refuse `ceil_mode`, unless the one length that there is makes no difference."""
    if not step.node.get("ceil_mode", 0) or stride == 1:
        return
    size = step.node.get("kernel_shape")[x.roles.index(TIME) - 2]
    pads = step.node.get("pads", [0, 0])
    rank = len(x.roles) - 2
    place = x.roles.index(TIME) - 2
    total = (x.length or 0) + pads[place] + pads[place + rank] - size
    if not step.walk.fixed or total % stride or outputs < 1:
        raise Unfit("its ceil_mode adds a window that is cut short")
