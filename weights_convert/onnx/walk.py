"""The walk along a graph: each node is turned into layers by the function for its operator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

from .fold import WRONG, Folder
from .layers import Layer, Program
from .nodes import Graph, Node
from .signal import INPUT, Const, Signal, Unfit

Value = Const | Signal
Handler = Callable[["Step"], Value | list[Value]]
# The place of what is refused only once all nodes were read.
LATE = 10**9
HANDLERS: dict[str, Handler] = {}
# The name in `assumed` for a graph that turns its signal to 16 bits.
PRECISION = "precision"


class Refused(WeightError):
    """A graph that cannot be read.

    Attributes:
        place: how many nodes were read before.
    """

    def __init__(self, sentence: str, place: int) -> None:
        """Keep the place beside the sentence."""
        super().__init__(sentence)
        self.place = place


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register the function for operators."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, function))
        return function

    return register


@dataclass
class Walk:
    """What is known while a graph is read under one reading of its input's axes.

    Attributes:
        graph: that is read.
        fixed: whether signals have one length, the file's or the caller's; otherwise that of
            `values` is made up, and nothing may depend on it.
        values: name -> what it is.
        program: the layers so far.
        assumed: what neither the file nor the caller says.
    """

    graph: Graph
    fixed: bool
    values: dict[str, Value]
    program: Program = field(default_factory=Program)
    assumed: dict[str, Any] = field(default_factory=dict)

    def run(self, nodes: Sequence[Node]) -> None:
        """Read the nodes.

        Raises:
            Refused: one that is not supported, with the sentence for the caller.
        """
        stored = sum(array.nbytes for array in self.graph.initializers.values())
        folder = Folder(self.graph.opset, stored)
        for place, node in enumerate(nodes):
            try:
                found = self._folded(folder, node) or self._handled(node)
            except Unfit as error:
                raise Refused(f"{node} is not supported: {error}", place) from None
            except WeightError as error:
                raise Refused(str(error), place) from None
            except WRONG as error:
                raise Refused(f"{node} is malformed: {error}", place) from None
            for name, value in zip(node.outputs, found, strict=False):
                self.values[name] = value

    def _folded(self, folder: Folder, node: Node) -> list[Value] | None:
        """The outputs of a node whose inputs are all constant, where numpy can tell them."""
        read = [self.values[name] if name else None for name in node.inputs]
        constants = [one for one in read if isinstance(one, Const)]
        if len(constants) < len([one for one in read if one is not None]):
            return None
        held = [one.array if isinstance(one, Const) else None for one in read]
        found = folder.fold(node, held)
        sources = frozenset[str]().union(*(one.sources for one in constants))
        return None if found is None else [Const(array, sources) for array in found]

    def _handled(self, node: Node) -> list[Value]:
        """The outputs of a node that reads signals."""
        if node.op not in HANDLERS:
            raise WeightError(
                f"{node} is not supported: the operators that are read are "
                f"{', '.join(sorted(HANDLERS))}"
            )
        found = HANDLERS[node.op](Step(self, node))
        return found if isinstance(found, list) else [found]


@dataclass
class Step:
    """One node in the hands of its function."""

    walk: Walk
    node: Node

    @property
    def count(self) -> int:
        """How many inputs are given."""
        return len(self.node.inputs)

    def value(self, place: int) -> Value | None:
        """An input, or None where it is left out."""
        name = self.node.inputs[place] if place < self.count else ""
        return self.walk.values[name] if name else None

    def signal(self, place: int = 0) -> Signal:
        """An input that must be a signal."""
        found = self.value(place)
        if not isinstance(found, Signal):
            raise Unfit(f"its input {place} is a constant, where a signal is expected")
        return found

    def const(self, place: int) -> Const | None:
        """An input that must be a constant, or None where it is left out."""
        found = self.value(place)
        if isinstance(found, Signal):
            raise Unfit(f"its input {place} is computed from the signal, not a constant")
        return found

    def needed(self, place: int) -> Const:
        """An input that must be a constant and there."""
        found = self.const(place)
        if found is None:
            raise Unfit(f"its input {place} is missing")
        return found

    def arrays(self) -> list[Array | None]:
        """The inputs after the first, as constants, with None in its place."""
        found = [self.const(place) for place in range(1, self.count)]
        return [None, *(None if one is None else one.array for one in found)]

    def number(self, place: int, default: float | None) -> float | None:
        """An input of one number, or `default` where it is left out."""
        found = self.const(place)
        if found is None:
            return default
        if found.array.size != 1:
            raise Unfit(f"its input {place} is not a single number")
        return float(found.array.reshape(-1)[0])

    def add(
        self,
        kind: str,
        inputs: Signal | Sequence[Signal],
        arrays: dict[str, Const] | None = None,
        **fields: Any,
    ) -> int:
        """Append a layer; return its number."""
        read = [inputs] if isinstance(inputs, Signal) else list(inputs)
        layer = Layer(kind, [one.layer for one in read], self.node, fields, arrays or {})
        return self.walk.program.add(layer)

    def then(
        self, kind: str, x: Signal, arrays: dict[str, Const] | None = None, **fields: Any
    ) -> Signal:
        """Append a layer that keeps the shape."""
        return replace(x, layer=self.add(kind, x, arrays, **fields))

    def settled(self, x: Signal, channels: int) -> Signal:
        """A signal of so many channels, which the input or a flatten may learn only now."""
        if x.channels == channels:
            return x
        if x.channels is not None:
            raise Unfit(f"it takes {channels} channels, but {x.channels} come")
        if x.open is not None:
            flatten = self.walk.program.layers[x.open]
            inside = flatten.fields["inside"]
            if channels % inside or flatten.fields["length"] not in (None, channels // inside):
                raise Unfit(f"it takes {channels} values, which are no steps of {inside} channels")
            flatten.fields["length"] = channels // inside
        elif x.layer == INPUT:
            self.walk.assumed["in_channels"] = channels
        return replace(x, channels=channels, open=None)


def is_number(const: Const) -> bool:
    """Whether a constant is a single number."""
    return bool(np.size(const.array) == 1)
