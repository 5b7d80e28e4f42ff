"""How blocks become nodes: one function for each kind of spec, called with a BlockWriter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.errors import SpecError
from tcnzoo.models.outputs import first
from tcnzoo.specs import Spec

from .builder import Graph, Value

Written = Value | tuple[Value, Value] | dict[str, Value]
S = TypeVar("S", bound=Spec, covariant=True)
T = TypeVar("T", bound=Spec)
Function = TypeVar("Function", bound=Callable[..., Written])
WRITERS: dict[str, Callable[..., Written]] = {}


def writes(kind: str) -> Callable[[Function], Function]:
    """Register a function for a spec's `kind`."""

    def register(function: Function) -> Function:
        WRITERS[kind] = function
        return function

    return register


@dataclass
class BlockWriter(Generic[S]):
    """Writes one block of a model.

    Attributes:
        graph: takes the nodes.
        spec: of the block.
        path: dotted name of the block in the model.
        weights: of the whole model.
        streaming: whether the graph is one step of a stream.
        after: state that the step leaves, name -> value.
        embeddings: inputs beside the signal that the block takes, masks too, in its order.
    """

    graph: Graph
    spec: S
    path: str
    weights: Weights
    streaming: bool = False
    after: dict[str, str] = field(default_factory=dict)
    embeddings: tuple[Value, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether signals are (batch, channels, 1, time)."""
        return self.graph.rank == 4

    @property
    def time_axis(self) -> int:
        """Axis of time in a signal."""
        return self.graph.rank - 1

    def full(self, name: str) -> str:
        """Dotted name of something in this block."""
        return f"{self.path}.{name}" if self.path else name

    def part(self, name: str, embeddings: Sequence[Value] | None = None) -> "BlockWriter[Any]":
        """The writer of a part, which takes `embeddings`, or all that this block takes."""
        part = self.inside(name, self.spec.children()[name])
        return part if embeddings is None else replace(part, embeddings=tuple(embeddings))

    def inside(self, name: str, spec: T) -> "BlockWriter[T]":
        """The writer of a part that has a spec of its own."""
        return replace(cast(BlockWriter[Any], self), spec=spec, path=self.full(name))

    def apply(self, name: str, x: Any, embeddings: Sequence[Value] | None = None) -> Value:
        """Write a part; return its first output.

        Args:
            name: of the part.
            x: what it reads.
            embeddings: what it takes beside that; None for all that this block takes.
        """
        y = write(self.part(name, embeddings), x)
        value: Value = first(y)
        return value

    def optional(self, name: str, x: Value) -> Value:
        """Write a part where the spec has it."""
        return self.apply(name, x) if name in self.spec.children() else x

    def op(self, kind: str, *inputs: Value | str, **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        names = [source.name if isinstance(source, Value) else source for source in inputs]
        return self.graph.add(kind, names, self.path, **attributes)[0]

    def cast(self, value: str | Value, dtype: Any, current: Any) -> str:
        """A value of type `current` in another type."""
        name = value.name if isinstance(value, Value) else value
        return name if np.dtype(dtype) == np.dtype(current) else self.op("Cast", name, to=dtype)

    def refuse(self, what: str) -> SpecError:
        """The error for a block that cannot be written."""
        return SpecError(f"{self.path or self.spec.kind}: {what}")

    # Weights ------------------------------------------------------------------------------------

    def initializer(self, name: str) -> str:
        """A weight as it is."""
        return self.graph.weight(self.full(name), self.weights[self.full(name)])

    def vector(self, name: str) -> str:
        """A weight of one axis."""
        return self.initializer(name)

    def kernel(self, name: str = "weight") -> str:
        """A convolution's kernel, with an axis of size 1 before time where signals have one."""
        array = self.weights[self.full(name)]
        return self.graph.weight(self.full(name), array[:, :, None] if self.wide else array)

    def pointwise_kernel(self) -> str:
        """A dense layer's weight as the kernel of a 1 x 1 convolution."""
        array = self.weights[self.full("weight")]
        return self.graph.weight(self.full("weight"), array[:, :, None, None])

    def over_time(self, vector: str) -> str:
        """View a (channels,) value so that it broadcasts against a signal."""
        axes = range(1, self.graph.rank - 1)
        return self.op("Unsqueeze", vector, self.graph.integers(*axes))

    # Time ---------------------------------------------------------------------------------------

    def spatial(self, size: int) -> list[int]:
        """An attribute with one number for each spatial axis."""
        return [1, size] if self.wide else [size]

    def spatial_pads(self, left: int, right: int) -> list[int]:
        """The attribute `pads`."""
        return [0, left, 0, right] if self.wide else [left, right]

    def length(self, x: Value) -> str:
        """Steps of a signal as an int64 vector of one number."""
        if x.time is not None:
            return self.graph.integers(x.time)
        return self.op("Shape", x, start=self.time_axis, end=self.time_axis + 1)

    def cut(self, x: Value | str, start: int | str, end: int | str | None = None) -> str:
        """Steps `start` to `end` of a signal; None for all that follow."""
        last = np.iinfo(np.int64).max if end is None else end
        ends = [self.vector_of(step) for step in (start, last)]
        return self.op("Slice", x, *ends, self.graph.integers(self.time_axis))

    def join(self, *parts: Value | str) -> str:
        """Signals one after the other."""
        return self.op("Concat", *parts, axis=self.time_axis)

    def lengthened(
        self, x: Value | str, left: int | str, right: int | str, mode: str = "constant"
    ) -> str:
        """Steps added before and after a signal; zeros, or what the mode of Pad says."""
        zeros = [0] * self.time_axis
        if isinstance(left, int) and isinstance(right, int):
            return self.op("Pad", x, self.graph.integers(*zeros, left, *zeros, right), mode=mode)
        none, *ends = (self.graph.integers(*zeros), self.vector_of(left), self.vector_of(right))
        return self.op("Pad", x, self.op("Concat", none, ends[0], none, ends[1], axis=0), mode=mode)

    def vector_of(self, number: int | str) -> str:
        """A number as an int64 vector, which a computed one is already."""
        return self.graph.integers(number) if isinstance(number, int) else number

    # Streaming ----------------------------------------------------------------------------------

    def read(self, name: str) -> str:
        """An entry of the state that comes in."""
        return f"state.{self.full(name)}"

    def counter(self, name: str) -> str:
        """A counter of the state as an int64 vector of one number."""
        wide = self.op("Cast", self.read(name), to=np.int64)
        return self.op("Reshape", wide, self.graph.integers(1))

    def leave(self, name: str, value: str) -> None:
        """Leave an entry of the state for the next step."""
        self.after[self.full(name)] = value

    def leave_counter(self, name: str, value: str) -> None:
        """Leave an int64 vector of one number as a counter."""
        scalar = self.op("Reshape", value, self.graph.constant([], np.int64))
        wide = self.spec.own_state()[name].summed
        self.leave(name, scalar if wide else self.op("Cast", scalar, to=np.int32))


def write(block: BlockWriter[Any], x: Any) -> Written:
    """Write the nodes of a block on an input (of a merge: a list of them)."""
    if block.spec.kind not in WRITERS:
        raise SpecError(f"{block.path or 'the model'}: ONNX export has no {block.spec.kind!r} yet")
    return WRITERS[block.spec.kind](block, x)
