"""Operators that move axes: most become nothing, some a flatten or an upsampling."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...containers.onnx import FLOATS, SHORT
from ..graph.arguments import axes_of, target_of
from ..program.layers import Notes
from ..program.signal import (
    BATCH,
    CHANNELS,
    COPIES,
    ROWS,
    TIME,
    UNIT,
    Const,
    Roles,
    Signal,
    Unfit,
    regrouped,
)
from .reader import PRECISION, NodeReader, handles


@handles("Transpose")
def transpose(reader: NodeReader) -> Signal:
    """The axes in another order."""
    x = reader.signal()
    order = reader.node.get("perm", list(reversed(range(len(x.roles)))))
    if sorted(order) != list(range(len(x.roles))):
        raise Unfit(f"its order {order} is not one of {len(x.roles)} axes")
    return x.transposed(order)


@handles("Unsqueeze")
def unsqueeze(reader: NodeReader) -> Signal:
    """More axes of size 1."""
    return reader.signal().unsqueezed(axes_of(reader.node, reader.arrays()) or ())


@handles("Squeeze")
def squeeze(reader: NodeReader) -> Signal:
    """Fewer axes of size 1; a single step becomes a vector."""
    x, axes = reader.signal(), axes_of(reader.node, reader.arrays())
    chosen = (
        {position for position, size in enumerate(x.sizes) if size == 1}
        if axes is None
        else {x.axis(axis) for axis in axes}
    )
    for position in chosen:
        if x.sizes[position] != 1:
            raise Unfit(f"it drops an axis of size {x.sizes[position]}")
        if x.roles[position] in (BATCH, ROWS):
            raise Unfit("it drops the axis of the batch")
    return _without(
        reader, x, [role for position, role in enumerate(x.roles) if position not in chosen]
    )


def _without(reader: NodeReader, x: Signal, roles: Sequence[str]) -> Signal:
    """A signal of fewer axes; where time is lost, of one step, it is a vector."""
    lost = not x.is_vector and TIME not in roles and ROWS not in roles
    y = flattened(reader, x, "channels") if lost else x
    return replace(y, roles=tuple(roles))


@handles("Flatten")
def flatten(reader: NodeReader) -> Signal:
    """All axes behind the batch made one."""
    x = reader.signal()
    if x.axis(reader.node.get("axis", 1)) != 1:
        raise Unfit("it keeps more than the axis of the batch")
    return _merged(reader, x, [(BATCH,), tuple(role for role in x.roles[1:] if role != UNIT)])


@handles("Reshape")
def reshape(reader: NodeReader) -> Signal:
    """Axes of size 1 put in or out, channels and time made one, batch and time made one."""
    x, wanted = reader.signal(), [int(number) for number in reader.needed(1).array.ravel()]
    if _is_a_vector_of(reader, x, wanted):
        return _merged(reader, x, [(BATCH,), _long(x)], wanted[1] // (x.channels or 1))
    try:
        target = target_of(x.sizes, wanted, bool(reader.node.get("allowzero", 0)))
    except (ValueError, IndexError) as error:
        raise Unfit(str(error)) from None
    return _merged(reader, x, regrouped(x, target))


def _long(x: Signal) -> Roles:
    """Roles of the axes behind the batch that may be longer than 1."""
    return tuple(role for role in x.roles[1:] if role != UNIT)


def _is_a_vector_of(reader: NodeReader, x: Signal, wanted: list[int]) -> bool:
    """Whether a signal of no known length becomes a vector of a width that the file names."""
    if reader.walk.fixed or x.is_vector or len(wanted) != 2 or x.roles[0] != BATCH:
        return False
    by_rows = x.roles[-1] == CHANNELS and wanted[1] == x.channels
    if by_rows or set(_long(x)) != {CHANNELS, TIME} or wanted[0] not in (-1, 0, x.batch):
        return False
    return wanted[1] > 0 and wanted[1] % x.size(CHANNELS) == 0


def _merged(
    reader: NodeReader, x: Signal, groups: Sequence[Roles], length: int | None = None
) -> Signal:
    """A signal whose axes come together in groups."""
    y, roles = x, []
    for group in groups:
        if len(group) == 1:
            roles.append(group[0])
        elif not group or set(group) == {BATCH, TIME} and group[0] == BATCH:
            roles.append(ROWS if group else UNIT)
        elif group in ((CHANNELS, TIME), (TIME, CHANNELS)):
            y = flattened(reader, x, "time" if group[0] == TIME else "channels", length)
            roles.append(CHANNELS)
        elif group == (TIME, COPIES):
            layer = reader.add("upsample", x, factor=x.copies, mode="nearest")
            y = replace(x, layer=layer, length=(x.length or 0) * x.copies, copies=1)
            roles.append(TIME)
        else:
            raise Unfit(f"it makes one axis of {' and '.join(group)}")
    return _without(reader, y, roles)


def flattened(reader: NodeReader, x: Signal, order: str, length: int | None = None) -> Signal:
    """Append a flatten: the signal as a vector (batch, channels).

    Args:
        reader: for the layer's node.
        x: the signal.
        order: as in FlattenSpec.
        length: steps where only the file's numbers say them.
    """
    inside = x.size(CHANNELS)
    if x.length == 1 or reader.walk.fixed:
        length = x.length
    layer = reader.add("flatten", x, length=length, order=order, notes=Notes(inside=inside))
    width = None if length is None else inside * length
    return replace(
        x,
        layer=layer,
        roles=(BATCH, CHANNELS),
        channels=width,
        length=None,
        open=layer if length is None else None,
    )


@handles("Tile")
def tile(reader: NodeReader) -> Signal:
    """Copies of each step on an axis of their own, which a Reshape makes an upsampling."""
    x, repeats = reader.signal(), [int(number) for number in reader.needed(1).array.ravel()]
    if len(repeats) != len(x.roles):
        raise Unfit(f"it repeats {len(repeats)} axes of {len(x.roles)}")
    for axis, times in enumerate(repeats):
        if times == 1:
            continue
        if x.roles[axis] != UNIT or COPIES in x.roles or x.is_vector:
            raise Unfit("it repeats a signal as a whole")
        roles = (*x.roles[:axis], COPIES, *x.roles[axis + 1 :])
        x = replace(x, roles=roles, copies=times)
    return x


@handles("Shape")
def shape(reader: NodeReader) -> Const:
    """Sizes of the axes."""
    sizes = np.asarray(reader.signal().sizes, np.int64)
    return Const(sizes[reader.node.get("start", 0) : reader.node.get("end")])


@handles("Identity", "Dropout")
def identity(reader: NodeReader) -> Signal:
    """Nothing, in inference."""
    if reader.node.op == "Dropout" and reader.number(2, 0.0):
        raise Unfit("it is in training mode")
    return reader.signal()


@handles("Cast")
def cast(reader: NodeReader) -> Signal:
    """Nothing, between float types; what is computed in 16 bits from here on is listed."""
    x, to = reader.signal(), reader.node.get("to")
    if to not in FLOATS:
        raise Unfit("it turns the signal into something else than floating-point numbers")
    if to in SHORT and x.type not in SHORT:
        readers = reader.walk.graph.readers(reader.node)
        if readers and all(node.op == "Cast" for node in readers):
            raise Unfit(f"it rounds the signal to {SHORT[to]}, in which nothing is computed")
        words = f"float32, where the file computes in {SHORT[to]} from {reader.node} on"
        reader.walk.assumed.setdefault(PRECISION, words)
    return replace(x, type=to)
