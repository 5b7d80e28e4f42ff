"""What is known of a program before its C code: the rows of its signals, and their places."""

import math
from dataclasses import dataclass, fields
from fractions import Fraction

from tcnzoo.streams.program import (
    Conv,
    ConvTranspose,
    Operation,
    Program,
    Repeat,
    Signal,
    Spread,
    SqueezeExcitation,
    WindowPool,
)

# Floats that buffers begin at a multiple of.
ALIGNED = 4


@dataclass(frozen=True)
class Rows:
    """How many steps of a signal one input sample gives.

    Attributes:
        most: at most.
        mean: over a long stream.
        fixed: whether it is `most` at every sample.
    """

    most: int
    mean: Fraction
    fixed: bool = True


ONE = Rows(1, Fraction(1))


def rows_of(program: Program) -> dict[int, Rows]:
    """Rows of every signal, by its index."""
    rows = {signal.index: ONE for signal in program.inputs}
    for operation in program.operations:
        before = rows[operation.source.index]
        rows[operation.target.index] = _after(operation, before, rows)
    return rows


def _after(operation: Operation, before: Rows, rows: dict[int, Rows]) -> Rows:
    """Rows of what an operation makes."""
    if isinstance(operation, Spread):
        return rows[operation.like.index]
    if isinstance(operation, ConvTranspose | Repeat):
        more = operation.stride if isinstance(operation, ConvTranspose) else operation.factor
        return Rows(before.most * more, before.mean * more, before.fixed)
    if isinstance(operation, Conv | WindowPool) and operation.skip is not None:
        stride = operation.stride if isinstance(operation, Conv) else operation.step
        return Rows(math.ceil(before.most / stride), before.mean / stride, fixed=False)
    return before


def read_by(operation: Operation) -> list[Signal]:
    """The signals that an operation reads."""
    values = [getattr(operation, field.name) for field in fields(operation)]
    signals = [value for value in values if isinstance(value, Signal)]
    signals += [one for value in values if isinstance(value, tuple) for one in value]
    return [
        signal for signal in signals if isinstance(signal, Signal) and signal != operation.target
    ]


def scratch_of(operation: Operation) -> int:
    """Floats that an operation needs while it runs."""
    if isinstance(operation, ConvTranspose):
        return operation.target.channels * int(operation.weight.shape[1])
    if isinstance(operation, SqueezeExcitation):
        hidden = 0 if operation.reduce is None else len(operation.reduce[0])
        return operation.source.channels + hidden
    return 0


@dataclass(frozen=True)
class Memory:
    """Where signals and scratch lie in the floats that a net works in.

    Attributes:
        signals: place of a signal, by its index; those that the caller holds have none.
        scratch: place of what an operation needs while it runs, by its number.
        size: floats.
    """

    signals: dict[int, int]
    scratch: dict[int, int]
    size: int


def memory_of(program: Program, rows: dict[int, Rows]) -> Memory:
    """Give every signal a place that nothing else takes from its making to its last reading."""
    last = {
        signal.index: number
        for number, operation in enumerate(program.operations)
        for signal in read_by(operation)
    }
    taken: list[tuple[int, int, int]] = []  # start, end, the last operation that needs it
    signals, scratch = {}, {}
    for number, operation in enumerate(program.operations):
        taken = [block for block in taken if block[2] >= number]
        target = operation.target
        if target != program.output:
            size = target.channels * rows[target.index].most
            signals[target.index] = _reserve(taken, size, last.get(target.index, number))
        if scratch_of(operation):
            scratch[number] = _reserve(taken, scratch_of(operation), number)
    ends = [
        signals[one.target.index] + one.target.channels * rows[one.target.index].most
        for one in program.operations
        if one.target.index in signals
    ]
    ends += [start + scratch_of(program.operations[number]) for number, start in scratch.items()]
    return Memory(signals, scratch, max(ends, default=0))


def _reserve(taken: list[tuple[int, int, int]], size: int, until: int) -> int:
    """The lowest place for so many floats; it is added to what is taken."""
    start = 0
    for begin, end, _ in sorted(taken):
        if start + size <= begin:
            break
        start = max(start, -(-end // ALIGNED) * ALIGNED)
    taken.append((start, start + size, until))
    return start
