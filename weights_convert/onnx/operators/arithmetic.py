"""Sums and products of signals, and of signals and constants."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tcnzoo.arrays import Array

from ..program.layers import Notes
from ..program.signal import CHANNELS, UNIT, Const, Roles, Signal, Unfit
from .reader import NodeReader, handles, is_number

MINUS_ONE = Const(np.asarray(-1.0, np.float32))


@handles("Neg")
def negative(reader: NodeReader) -> Signal:
    """The sign changed."""
    return _affine(reader, reader.signal(), {"scale": MINUS_ONE})


@handles("Pow")
def power(reader: NodeReader) -> Signal:
    """Squares, cubes and roots."""
    x, exponent = reader.signal(), reader.number(1, None)
    if exponent in (2.0, 3.0):
        layer = reader.add("merge", [x] * int(exponent or 0), mode="multiply")
        return replace(x, layer=layer)
    if exponent in (0.5, -0.5):
        root = reader.then("sqrt", x)
        return root if exponent > 0 else reader.then("reciprocal", root)
    raise Unfit(f"its exponent is {exponent}")


def _shifted(const: Const, sign: int) -> dict[str, Const]:
    return {"shift": const if sign > 0 else const.now(-const.array)}


_WITH_CONSTANT: dict[str, Callable[[Const], dict[str, Const]]] = {
    "Add": lambda const: _shifted(const, 1),
    "Sub": lambda const: _shifted(const, -1),
    "Mul": lambda const: {"scale": const},
    "Div": lambda const: {"scale": const.now(np.reciprocal(const.array))},
}
_OF_SIGNALS = {"Add": "add", "Mul": "multiply", "Sub": "subtract", "Div": "divide"}


@handles("Add", "Sub", "Mul", "Div")
def arithmetic(reader: NodeReader) -> Signal:
    """Of two signals, or of a signal and constants, one for each channel or one for all."""
    first, second = reader.value(0), reader.value(1)
    if isinstance(first, Signal) and isinstance(second, Signal):
        return _of_signals(reader, [first, second], _OF_SIGNALS[reader.node.op])
    op = reader.node.op
    if isinstance(first, Const) and op in ("Sub", "Div"):
        x = reader.signal(1)
        turned = (
            _affine(reader, x, {"scale": MINUS_ONE})
            if op == "Sub"
            else reader.then("reciprocal", x)
        )
        return _with_constant(reader, turned, reader.needed(0), "Add" if op == "Sub" else "Mul")
    position = 0 if isinstance(first, Signal) else 1
    return _with_constant(reader, reader.signal(position), reader.needed(1 - position), op)


@handles("Sum")
def total(reader: NodeReader) -> Signal:
    """Of signals."""
    signals = [reader.signal(index) for index in range(reader.count)]
    return signals[0] if len(signals) == 1 else _of_signals(reader, signals, "add")


def _of_signals(reader: NodeReader, signals: list[Signal], mode: str) -> Signal:
    """Append a merge, or a part that only larger patterns have."""
    longest = max(signals, key=lambda signal: len(signal.roles))
    roles = longest.roles
    for signal in signals:
        roles = _aligned(roles, signal)
    whole = [signal for signal in signals if not signal.is_vector]
    known = [signal.channels for signal in signals if signal.channels is not None]
    merged = mode in ("add", "multiply")
    layer = reader.add("merge", signals, mode=mode) if merged else reader.add(mode, signals)
    base = whole[0] if whole else longest
    return replace(base, layer=layer, roles=roles, channels=max(known, default=None))


def _aligned(roles: Roles, signal: Signal) -> Roles:
    """Roles of what two signals spread over one another give."""
    behind = len(roles) - len(signal.roles)
    aligned = list(roles)
    for axis, role in enumerate(signal.roles):
        other = aligned[behind + axis]
        if UNIT not in (role, other) and role != other:
            raise Unfit(f"it lays the axis {role!r} on the axis {other!r}")
        aligned[behind + axis] = role if other == UNIT else other
    return tuple(aligned)


def _with_constant(reader: NodeReader, x: Signal, const: Const, op: str) -> Signal:
    """Append a scale or a shift."""
    neutral = 1.0 if op in ("Mul", "Div") else 0.0
    if is_number(const) and float(const.array.reshape(-1)[0]) == neutral:
        return x
    if op == "Div" and not const.array.all():
        raise Unfit("it divides by zero")
    const, channels = _by_channel(x, const)
    if channels is not None and x.channels is None:
        x = reader.with_channels(x, channels)
    return _affine(reader, x, _WITH_CONSTANT[op](const), channels)


def _affine(
    reader: NodeReader, x: Signal, arrays: dict[str, Const], channels: int | None = None
) -> Signal:
    """Append a scale or a shift; one channel is spread over as many as the constant has."""
    channels = channels or x.channels
    notes = Notes(widens=x.channels != channels)
    y = reader.then("affine", x, arrays, notes, channels=channels)
    return replace(y, channels=channels)


def _by_channel(x: Signal, const: Const) -> tuple[Const, int | None]:
    """A constant as one number (and None), or as one for each channel (and how many).

    Raises:
        Unfit: a constant that varies over time or over the batch.
    """
    array: Array = const.array
    if array.size == 1:
        return const.now(array.reshape(())), None
    front = len(x.roles) - array.ndim
    long = [front + axis for axis, size in enumerate(array.shape) if size > 1]
    if len(long) != 1 or long[0] < 0 or not _may_be_channels(x, long[0]):
        raise Unfit(
            f"its constant has shape {array.shape} beside axes {x.roles}; one number, or one for "
            "each channel, is read"
        )
    if x.channels not in (None, 1, array.size):
        raise Unfit(f"its constant has {array.size} numbers for {x.channels} channels")
    return const.now(array.reshape(-1)), array.size


def _may_be_channels(x: Signal, axis: int) -> bool:
    """Whether a constant may vary along an axis."""
    return x.is_channels(axis) or (x.roles[axis] == CHANNELS)
