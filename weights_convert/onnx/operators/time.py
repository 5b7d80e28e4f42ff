"""Operators along time and along channels: pads, cuts, and joins."""

from dataclasses import replace

import numpy as np

from ..graph.arguments import axes_of, slices_of, split_sizes
from ..program.layers import Layer, Notes
from ..program.signal import CHANNELS, COPIES, TIME, UNIT, Const, Signal, Unfit
from .reader import NodeReader, handles
from .reshape import flattened

_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@handles("Pad")
def pad(reader: NodeReader) -> Signal:
    """Steps put at the ends of time, or cut off."""
    x, node, rank = reader.signal(), reader.node, len(reader.signal().roles)
    mode = _MODES.get(node.get("mode", "constant"))
    given = node.get("pads") if "pads" in node.attributes else reader.needed(1).array.ravel()
    value = reader.number(2, node.get("value", 0.0))
    axes = list(range(rank))
    if reader.count > 3 and reader.const(3) is not None:
        axes = [x.axis(int(number)) for number in reader.needed(3).array.ravel()]
    if mode is None or (mode == "zeros" and value) or len(given) != 2 * len(set(axes)):
        raise Unfit(
            f"its mode is {node.get('mode', 'constant')!r} and its value {value}, with "
            f"{len(given)} pads for {len(axes)} axes"
        )
    for index, axis in enumerate(axes):
        left, right = int(given[index]), int(given[index + len(axes)])
        if (left, right) == (0, 0):
            continue
        if x.roles[axis] != TIME:
            raise Unfit(f"it pads the axis {x.roles[axis]!r}, where time is expected")
        x = _cut(reader, x, left, right, mode)
    return x


def _cut(reader: NodeReader, x: Signal, left: int, right: int, mode: str = "zeros") -> Signal:
    """Append a pad; steps below zero are dropped."""
    if (left, right) == (0, 0):
        return x
    length = (x.length or 0) + left + right
    if length < 1:
        raise Unfit("nothing is left of the signal")
    window = (x.layer, -left, (x.length or 0) + right)
    notes = Notes(window=window)
    layer = reader.add("pad", x, left=left, right=right, mode=mode, notes=notes)
    return replace(x, layer=layer, length=length)


def _between(reader: NodeReader, x: Signal, start: int, stop: int) -> Signal:
    """Steps `start` to `stop` of a signal; the last one alone is a vector."""
    length = x.length or 0
    if (start, stop) == (length - 1, length) and length > 1:
        layer = reader.add("pool", x, mode="last", notes=Notes(window=(x.layer, start, stop)))
        roles = tuple(UNIT if role == TIME else role for role in x.roles)
        return replace(x, layer=layer, length=None, roles=roles)
    return _cut(reader, x, -start, stop - length)


@handles("Slice")
def cut(reader: NodeReader) -> Signal:
    """Steps, or channels, one after the other."""
    x = reader.signal()
    for axis, start, stop, stride in slices_of(reader.node, reader.arrays(), len(x.roles)):
        size, role = x.sizes[axis], x.roles[axis]
        first = max(0, start + size) if start < 0 else min(start, size)
        last = max(0, stop + size) if stop < 0 else min(stop, size)
        if (first, last) == (0, size) and stride == 1:
            continue
        if stride != 1 or first >= last:
            raise Unfit(f"it takes steps {start} to {stop} by {stride}")
        if role == TIME:
            x = _between(reader, x, first, last)
        elif role == CHANNELS:
            x = _channels(reader, x, first, last)
        else:
            raise Unfit(f"it cuts the axis {role!r}")
    return x


def _channels(reader: NodeReader, x: Signal, start: int, stop: int) -> Signal:
    """Some of the channels: half of a gated linear unit, or not to be read."""
    layer = reader.add("channels", x, start=start, stop=stop, of=x.channels)
    return replace(x, layer=layer, channels=stop - start)


@handles("Split")
def split(reader: NodeReader) -> list[Const | Signal]:
    """Parts of the channels, or of time."""
    x = reader.signal()
    axis = x.axis(reader.node.get("axis", 0))
    sizes = split_sizes(reader.node, reader.arrays(), x.sizes[axis])
    edges = [0, *(int(edge) for edge in np.cumsum(sizes))]
    if x.roles[axis] not in (CHANNELS, TIME) or edges[-1] != x.sizes[axis] or min(sizes) < 1:
        raise Unfit(f"it splits the axis {x.roles[axis]!r} of {x.sizes[axis]} into {sizes}")
    take = _channels if x.roles[axis] == CHANNELS else _between
    return [take(reader, x, *edges[part : part + 2]) for part in range(len(sizes))]


@handles("Gather")
def gather(reader: NodeReader) -> Signal:
    """One step of time."""
    x, index = reader.signal(), reader.needed(1).array
    axis = x.axis(reader.node.get("axis", 0))
    if index.size != 1 or index.ndim > 1:
        raise Unfit("it takes more than one place")
    wanted, size = int(index.reshape(-1)[0]), x.sizes[axis]
    wanted += size if wanted < 0 else 0
    keep = x.roles[:axis] + (UNIT,) * index.ndim + x.roles[axis + 1 :]
    if x.roles[axis] == UNIT and wanted == 0:
        return replace(x, roles=keep)
    if x.roles[axis] != TIME or not 0 <= wanted < size:
        raise Unfit(f"it takes place {wanted} of the axis {x.roles[axis]!r}, not of time")
    y = _between(reader, x, wanted, wanted + 1)
    if not y.is_vector:
        y = flattened(reader, y, "channels")
    return replace(y, roles=keep)


@handles("Concat")
def concat(reader: NodeReader) -> Signal:
    """Channels side by side; along time only the ends that make a circle."""
    signals = [reader.signal(index) for index in range(reader.count)]
    axis = signals[0].axis(reader.node.get("axis"))
    if len(signals) == 1:
        return signals[0]
    if any(len(signal.roles) != len(signals[0].roles) for signal in signals):
        raise Unfit("its signals differ in their axes")
    if signals[0].roles[axis] in (TIME, UNIT) and any(
        signal.roles[axis] == TIME for signal in signals
    ):
        return _circle(reader, signals)
    if all(
        signal.roles[axis] == UNIT and signal.roles == signals[0].roles for signal in signals
    ) and (axis == 0 or CHANNELS in signals[0].roles):
        return _stacked(reader, signals, axis)
    if not all(signal.is_channels(axis) for signal in signals):
        raise Unfit(
            f"it joins axes {[signal.roles[axis] for signal in signals]}; channels are read"
        )
    if len({signal.is_vector for signal in signals}) > 1:
        raise Unfit("it joins signals and vectors")
    roles = tuple(
        CHANNELS if index == axis else role for index, role in enumerate(signals[0].roles)
    )
    channels = sum(signal.size(CHANNELS) for signal in signals)
    layer = reader.add("merge", signals, mode="concat")
    return replace(signals[0], layer=layer, roles=roles, channels=channels, open=None)


def _stacked(reader: NodeReader, signals: list[Signal], axis: int) -> Signal:
    """Signals along an axis of their own, over which they are then summed."""
    roles = tuple(
        COPIES if number == axis else role for number, role in enumerate(signals[0].roles)
    )
    return replace(signals[0], layer=reader.add("stack", signals), roles=roles, copies=len(signals))


@handles("ReduceSum")
def summed(reader: NodeReader) -> Signal:
    """The sum of stacked signals."""
    x, axes = reader.signal(), axes_of(reader.node, reader.arrays())
    chosen = {x.axis(axis) for axis in axes or ()}
    stack = reader.walk.program[x.layer]
    if (
        {x.roles[position] for position in chosen} != {COPIES}
        or stack is None
        or stack.kind != "stack"
    ):
        raise Unfit("it sums over an axis; only signals that were stacked are summed")
    keep = bool(reader.node.get("keepdims", 1))
    roles = [
        UNIT if position in chosen else role
        for position, role in enumerate(x.roles)
        if keep or position not in chosen
    ]
    layer = Layer("merge", list(stack.inputs), reader.node, {"mode": "add"})
    return replace(x, layer=reader.walk.program.add(layer), roles=tuple(roles), copies=1)


def _circle(reader: NodeReader, signals: list[Signal]) -> Signal:
    """The end of a signal, the signal, and its start: circular padding."""
    whole = max(signals, key=lambda signal: signal.length or 0)
    middle, length = signals.index(whole), whole.length or 0
    added = []
    for number, signal in enumerate(signals):
        layer = reader.walk.program[signal.layer]
        window = layer.notes.window if layer is not None else None
        if number == middle:
            continue
        if window is None or window[0] != whole.layer:
            raise Unfit("it joins signals along time; only ends that make a circle are read")
        _, start, stop = window
        if (stop if number < middle else start) != (length if number < middle else 0):
            raise Unfit("it joins signals along time; only ends that make a circle are read")
        added.append(stop - start)
    if len(signals) > 3 or middle > 1 or len(signals) - middle > 2:
        raise Unfit("it joins more than two ends and the signal between them")
    left = added[0] if middle else 0
    return _cut(reader, whole, left, sum(added) - left, "circular")
