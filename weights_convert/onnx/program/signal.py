"""What flows through a graph: constants, and signals whose axes are followed by their roles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tcnzoo.arrays import Array

# Roles of axes: batch, channels, time, one of size 1, batch and time in one, copies of each step.
BATCH, CHANNELS, TIME, UNIT, ROWS, COPIES = "N", "C", "T", "1", "NT", "copies"
# In place of a layer: the input of the model.
INPUT = -1

Roles = tuple[str, ...]


class Unfit(Exception):  # noqa: N818 - the walk turns it into a sentence that names the node
    """Why an operator cannot be what the layers of this package do."""


@dataclass(frozen=True)
class Const:
    """An array that the file holds, or that follows from such.

    Attributes:
        array: its values.
        sources: names of the file's tensors that it comes from.
    """

    array: Array
    sources: frozenset[str] = frozenset()

    def now(self, array: Array) -> "Const":
        """Other values that follow from these alone."""
        return Const(array, self.sources)


@dataclass(frozen=True)
class Signal:
    """A signal (batch, channels, time) or vector (batch, channels), in any order of axes.

    Attributes:
        layer: that gives it, or INPUT.
        roles: of the axes; one may be without its channel axis if there is one channel.
        channels: None where they are not known yet.
        length: time steps; None for a vector.
        batch: size of the batch axis.
        copies: size of the axis of that role.
        open: the layer, a flatten, whose length follows from what the vector is used for.
        type: of its values in the file, as TensorProto.DataType.
    """

    layer: int
    roles: Roles
    channels: int | None
    length: int | None
    batch: int
    copies: int = 1
    open: int | None = None
    type: int = 1

    @property
    def is_vector(self) -> bool:
        """Whether there is no time."""
        return self.length is None

    @property
    def lost_batch(self) -> bool:
        """Whether a batch of one has gone into another axis."""
        return self.batch == 1 and BATCH not in self.roles and ROWS not in self.roles

    def size(self, role: str) -> int:
        """Size of an axis.

        Raises:
            Unfit: a number of channels that is not known.
        """
        if role == CHANNELS and self.channels is None:
            raise Unfit("it asks for the number of channels, which the graph does not say")
        length, channels = self.length or 1, self.channels or 1
        return {
            BATCH: self.batch,
            CHANNELS: channels,
            TIME: length,
            ROWS: self.batch * length,
            COPIES: self.copies,
        }.get(role, 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of all axes."""
        return tuple(self.size(role) for role in self.roles)

    def axis(self, axis: int) -> int:
        """An axis counted from the front.

        Raises:
            Unfit: there is no such axis.
        """
        positive = axis + len(self.roles) if axis < 0 else axis
        if not 0 <= positive < len(self.roles):
            raise Unfit(f"there is no axis {axis} of {len(self.roles)}")
        return positive

    def is_channels(self, axis: int) -> bool:
        """Whether an axis is, or where there is one channel can pass for, that of the channels."""
        role = self.roles[axis]
        return role == CHANNELS or (
            role == UNIT and CHANNELS not in self.roles and self.channels == 1
        )

    def transposed(self, order: Sequence[int]) -> "Signal":
        """With its axes in another order."""
        return replace(self, roles=tuple(self.roles[axis] for axis in order))

    def unsqueezed(self, axes: Sequence[int]) -> "Signal":
        """With axes of size 1 put in.

        Raises:
            Unfit: places that are none, or the same twice.
        """
        rank = len(self.roles) + len(axes)
        new = {axis + rank if axis < 0 else axis for axis in axes}
        if len(new & set(range(rank))) < len(axes):
            raise Unfit(f"it puts axes at {list(axes)} of {rank}")
        rest = iter(self.roles)
        return replace(
            self, roles=tuple(UNIT if position in new else next(rest) for position in range(rank))
        )


def regrouped(signal: Signal, target: Sequence[int]) -> list[Roles]:
    """Roles of the axes that come together in each axis of a reshaped signal.

    Axes of size 1 count only where they come alone.

    Raises:
        Unfit: an axis that is split in two.
    """
    sizes, roles, groups, axis = signal.sizes, signal.roles, [], 0
    for number, wanted in enumerate(target):
        group: list[int] = []
        if wanted == 1:
            if axis < len(sizes) and sizes[axis] == 1:
                group, axis = [axis], axis + 1
            lone = (BATCH,) if number == 0 and signal.lost_batch else (UNIT,)
            groups.append(tuple(roles[member] for member in group) or lone)
            continue
        while math.prod(sizes[member] for member in group) < wanted and axis < len(sizes):
            group, axis = [*group, axis], axis + 1
        whole = math.prod(sizes[member] for member in group)
        if whole != wanted:
            return groups + _split_rows(signal, group, whole, target[number:], axis)
        groups.append(tuple(roles[member] for member in group if sizes[member] > 1))
    return groups


def _split_rows(
    signal: Signal, group: list[int], whole: int, rest: Sequence[int], axis: int
) -> list[Roles]:
    """Groups from an axis of batch and time on that is taken apart again."""
    apart = [signal.batch, signal.length or 1]
    if [signal.roles[member] for member in group] != [ROWS] or list(rest[:2]) != apart:
        raise Unfit(f"it splits an axis of size {whole} into {tuple(rest)}")
    behind = replace(signal, roles=signal.roles[axis:])
    return [(BATCH,), (TIME,), *regrouped(behind, rest[2:])]
