"""What a program is made with: signals, operations, and the lowering of each kind of block."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import SpecError
from tcnzoo.specs import Spec
from tcnzoo.streams.program import Operation, Signal

# (builder, spec, dotted path, input, embeddings) -> output
Lowering = Callable[["Builder", Any, str, Signal, Sequence[Signal]], Signal]
F = TypeVar("F", bound=Lowering)

LOWERINGS: dict[str, Lowering] = {}


def lowers(*kinds: str) -> Callable[[F], F]:
    """Register a function as the lowering of some kinds of blocks."""

    def register(function: F) -> F:
        LOWERINGS.update(dict.fromkeys(kinds, function))
        return function

    return register


def join(path: str, name: str) -> str:
    """Dotted name below a path."""
    return f"{path}.{name}" if path else name


class Builder:
    """The operations of one model in order of computation.

    Attributes:
        operations: so far.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Begin with none.

        Args:
            weights: neutral and folded, float64.
        """
        self.operations: list[Operation] = []
        self._weights = weights
        self._signals = 0

    def signal(self, channels: int) -> Signal:
        """A new signal."""
        self._signals += 1
        return Signal(self._signals - 1, channels)

    def emit(self, make: type[Operation], source: Signal, channels: int, **fields: Any) -> Signal:
        """Add an operation; return its target, of so many channels."""
        target = self.signal(channels)
        self.operations.append(make(source, target, **fields))
        return target

    def array(self, path: str, name: str) -> Array:
        """A weight of the block at `path`, float64."""
        return self._weights[join(path, name)]

    def bias(self, path: str, channels: int) -> Array:
        """`bias` of the block at `path` in float32, zeros where it has none."""
        values = self._weights.get(join(path, "bias"))
        return np.zeros(channels, np.float32) if values is None else rounded(values)

    def part(self, spec: Spec, path: str, x: Signal, embeddings: Sequence[Signal] = ()) -> Signal:
        """Lower a block and return its output.

        Raises:
            SpecError: its kind has no lowering.
        """
        lowering = LOWERINGS.get(spec.kind)
        if lowering is None:
            raise SpecError(
                f"{path or 'the model'} is a {spec.kind}, which has no step as a list of "
                "operations; run its stream with TCNZOO_ENGINE=plain"
            )
        return lowering(self, spec, path, x, embeddings)

    def maybe(self, parts: Mapping[str, Spec], name: str, path: str, x: Signal) -> Signal:
        """Lower the part of this name, which the block at `path` may lack."""
        part = parts.get(name)
        return x if part is None else self.part(part, join(path, name), x)


def rounded(values: Array) -> Array:
    """Float32, in C order."""
    return np.ascontiguousarray(values, dtype=np.float32)
