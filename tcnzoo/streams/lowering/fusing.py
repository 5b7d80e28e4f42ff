"""Operations that one before them can take up: norms into kernels, activations into sums."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tcnzoo.streams.program import Activate, Affine, Conv, Merge, Operation, Signal

# They need all channels of a step.
OVER_CHANNELS = ("softmax", "log_softmax")


def fused(
    operations: Sequence[Operation], output: Signal
) -> tuple[list[Operation], dict[int, Signal]]:
    """Take an activation or affine map into the operation that alone it reads from.

    Args:
        operations: in order of computation.
        output: of the program, which is read too.
    Returns:
        (the operations that are left, the signal that stands for each index that went).
    """
    readers = Counter(signal.index for operation in operations for signal in sources(operation))
    readers[output.index] += 1
    kept: list[Operation] = []
    positions: dict[int, int] = {}  # index of a signal -> where its operation is in `kept`
    stands_for: dict[int, Signal] = {}
    for operation in operations:
        where = positions.get(stands_for.get(operation.source.index, operation.source).index)
        taken = None
        if where is not None and readers[operation.source.index] == 1:
            taken = _taken_up(kept[where], operation)
        if taken is None or where is None:
            positions[operation.target.index] = len(kept)
            kept.append(operation)
        else:
            kept[where] = taken
            stands_for[operation.target.index] = taken.target
    return kept, stands_for


def sources(operation: Operation) -> list[Signal]:
    """All signals that an operation reads."""
    return [signal for name, signal in _signals(operation) if name != "target"]


def _signals(operation: Operation) -> list[tuple[str, Signal]]:
    """Every signal of an operation, by its field."""
    pairs: list[tuple[str, Signal]] = []
    for field in fields(operation):
        value = getattr(operation, field.name)
        for signal in value if isinstance(value, tuple) else (value,):
            if isinstance(signal, Signal):
                pairs.append((field.name, signal))
    return pairs


def _taken_up(before: Operation, after: Operation) -> Operation | None:
    """One operation in the place of two, None where it takes both."""
    if not isinstance(before, Conv | Merge) or before.activation is not None:
        return None
    if isinstance(after, Activate) and after.activation.name not in OVER_CHANNELS:
        return replace(before, activation=after.activation)
    if isinstance(before, Conv) and isinstance(after, Affine):
        scale = after.scale.astype(np.float64)
        weight = (before.weight * scale[:, None, None]).astype(np.float32)
        bias = (before.bias * scale + after.shift).astype(np.float32)
        return replace(before, weight=weight, bias=bias)
    return None


def renumbered(
    operations: Sequence[Operation], inputs: int, stands_for: dict[int, Signal]
) -> tuple[list[Operation], dict[int, Signal]]:
    """Count the signals without gaps.

    Args:
        operations: in order of computation.
        inputs: the number of signals before them, which keep their index.
        stands_for: the signal that is meant by an index that no operation makes any more.
    Returns:
        (operations, new signal of each old index of a target).
    """
    new: dict[int, Signal] = {}

    def meant(signal: Signal) -> Signal:
        signal = stands_for.get(signal.index, signal)
        return new.get(signal.index, signal)

    done: list[Operation] = []
    for operation in operations:
        new[operation.target.index] = Signal(inputs + len(done), operation.target.channels)
        changes: dict[str, Any] = {}
        for field in fields(operation):
            value = getattr(operation, field.name)
            if isinstance(value, Signal):
                changes[field.name] = meant(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Signal):
                changes[field.name] = tuple(map(meant, value))
        done.append(replace(operation, **changes))
    return done, new
