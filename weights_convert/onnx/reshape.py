"""Operators that move axes: most become nothing, some a flatten or an upsampling."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..containers.onnx import FLOATS, SHORT
from .arguments import axes_of, target_of
from .signal import (
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
from .walk import PRECISION, Step, handles


@handles("Transpose")
def transpose(step: Step) -> Signal:
    """The axes in another order."""
    x = step.signal()
    order = step.node.get("perm", list(reversed(range(len(x.roles)))))
    if sorted(order) != list(range(len(x.roles))):
        raise Unfit(f"its order {order} is not one of {len(x.roles)} axes")
    return x.transposed(order)


@handles("Unsqueeze")
def unsqueeze(step: Step) -> Signal:
    """More axes of size 1."""
    return step.signal().unsqueezed(axes_of(step.node, step.arrays()) or ())


@handles("Squeeze")
def squeeze(step: Step) -> Signal:
    """Fewer axes of size 1; a single step becomes a vector."""
    x, axes = step.signal(), axes_of(step.node, step.arrays())
    places = (
        {place for place, size in enumerate(x.sizes) if size == 1}
        if axes is None
        else {x.axis(axis) for axis in axes}
    )
    for place in places:
        if x.sizes[place] != 1:
            raise Unfit(f"it drops an axis of size {x.sizes[place]}")
        if x.roles[place] in (BATCH, ROWS):
            raise Unfit("it drops the axis of the batch")
    return _without(step, x, [role for place, role in enumerate(x.roles) if place not in places])


def _without(step: Step, x: Signal, roles: Sequence[str]) -> Signal:
    """A signal of fewer axes; where time is lost, of one step, it is a vector."""
    lost = not x.is_vector and TIME not in roles and ROWS not in roles
    y = flattened(step, x, "channels") if lost else x
    return replace(y, roles=tuple(roles))


@handles("Flatten")
def flatten(step: Step) -> Signal:
    """All axes behind the batch made one."""
    x = step.signal()
    if x.axis(step.node.get("axis", 1)) != 1:
        raise Unfit("it keeps more than the axis of the batch")
    return _merged(step, x, [(BATCH,), tuple(role for role in x.roles[1:] if role != UNIT)])


@handles("Reshape")
def reshape(step: Step) -> Signal:
    """Axes of size 1 put in or out, channels and time made one, batch and time made one."""
    x, wanted = step.signal(), [int(one) for one in step.needed(1).array.ravel()]
    if _is_a_vector_of(step, x, wanted):
        return _merged(step, x, [(BATCH,), _long(x)], wanted[1] // (x.channels or 1))
    try:
        target = target_of(x.sizes, wanted, bool(step.node.get("allowzero", 0)))
    except (ValueError, IndexError) as error:
        raise Unfit(str(error)) from None
    return _merged(step, x, regrouped(x, target))


def _long(x: Signal) -> Roles:
    """Roles of the axes behind the batch that may be longer than 1."""
    return tuple(role for role in x.roles[1:] if role != UNIT)


def _is_a_vector_of(step: Step, x: Signal, wanted: list[int]) -> bool:
    """Whether a signal of no known length becomes a vector of a width that the file names."""
    if step.walk.fixed or x.is_vector or len(wanted) != 2 or x.roles[0] != BATCH:
        return False
    by_rows = x.roles[-1] == CHANNELS and wanted[1] == x.channels
    if by_rows or set(_long(x)) != {CHANNELS, TIME} or wanted[0] not in (-1, 0, x.batch):
        return False
    return wanted[1] > 0 and wanted[1] % x.size(CHANNELS) == 0


def _merged(step: Step, x: Signal, groups: Sequence[Roles], length: int | None = None) -> Signal:
    """A signal whose axes come together in groups."""
    y, roles = x, []
    for group in groups:
        if len(group) == 1:
            roles.append(group[0])
        elif not group or set(group) == {BATCH, TIME} and group[0] == BATCH:
            roles.append(ROWS if group else UNIT)
        elif group in ((CHANNELS, TIME), (TIME, CHANNELS)):
            y = flattened(step, x, "time" if group[0] == TIME else "channels", length)
            roles.append(CHANNELS)
        elif group == (TIME, COPIES):
            layer = step.add("upsample", x, factor=x.copies, mode="nearest")
            y = replace(x, layer=layer, length=(x.length or 0) * x.copies, copies=1)
            roles.append(TIME)
        else:
            raise Unfit(f"it makes one axis of {' and '.join(group)}")
    return _without(step, y, roles)


def flattened(step: Step, x: Signal, order: str, length: int | None = None) -> Signal:
    """Append a flatten: the signal as a vector (batch, channels).

    Args:
        step: for the layer's node.
        x: the signal.
        order: as in FlattenSpec.
        length: steps where only the file's numbers say them.
    """
    inside = x.size(CHANNELS)
    if x.length == 1 or step.walk.fixed:
        length = x.length
    layer = step.add("flatten", x, length=length, order=order, inside=inside)
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
def tile(step: Step) -> Signal:
    """Copies of each step on an axis of their own, which a Reshape makes an upsampling."""
    x, repeats = step.signal(), [int(one) for one in step.needed(1).array.ravel()]
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
def shape(step: Step) -> Const:
    """Sizes of the axes."""
    sizes = np.asarray(step.signal().sizes, np.int64)
    return Const(sizes[step.node.get("start", 0) : step.node.get("end")])


@handles("Identity", "Dropout")
def identity(step: Step) -> Signal:
    """Nothing, in inference."""
    if step.node.op == "Dropout" and step.number(2, 0.0):
        raise Unfit("it is in training mode")
    return step.signal()


@handles("Cast")
def cast(step: Step) -> Signal:
    """Nothing, between float types; what is computed in 16 bits from here on is listed."""
    x, to = step.signal(), step.node.get("to")
    if to not in FLOATS:
        raise Unfit("it turns the signal into something else than floating-point numbers")
    if to in SHORT and x.type not in SHORT:
        readers = step.walk.graph.readers(step.node)
        if readers and all(node.op == "Cast" for node in readers):
            raise Unfit(f"it rounds the signal to {SHORT[to]}, in which nothing is computed")
        words = f"float32, where the file computes in {SHORT[to]} from {step.node} on"
        step.walk.assumed.setdefault(PRECISION, words)
    return replace(x, type=to)
