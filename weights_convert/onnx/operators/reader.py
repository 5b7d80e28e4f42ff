"""The walk along a graph: each node is turned into layers by the function for its operator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

from ..graph.fold import WRONG, Folder
from ..graph.nodes import Graph, Node
from ..program.layers import Layer, Notes, Program
from ..program.refused import Refused
from ..program.signal import INPUT, Const, Signal, Unfit

Value = Const | Signal
Handler = Callable[["NodeReader"], Value | list[Value]]
HANDLERS: dict[str, Handler] = {}
# The name in `assumed` for a graph that turns its signal to 16 bits.
PRECISION = "precision"


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
        for number, node in enumerate(nodes):
            try:
                values = self._folded(folder, node) or self._handled(node)
            except Unfit as error:
                raise Refused(f"{node} is not supported: {error}", number) from None
            except WeightError as error:
                raise Refused(str(error), number) from None
            except WRONG as error:
                raise Refused(f"{node} is malformed: {error}", number) from None
            for name, value in zip(node.outputs, values, strict=False):
                self.values[name] = value

    def _folded(self, folder: Folder, node: Node) -> list[Value] | None:
        """The outputs of a node whose inputs are all constant, where numpy can tell them."""
        values = [self.values[name] if name else None for name in node.inputs]
        constants = [value for value in values if isinstance(value, Const)]
        if len(constants) < len([value for value in values if value is not None]):
            return None
        arrays = [value.array if isinstance(value, Const) else None for value in values]
        folded = folder.fold(node, arrays)
        sources = frozenset[str]().union(*(const.sources for const in constants))
        return None if folded is None else [Const(array, sources) for array in folded]

    def _handled(self, node: Node) -> list[Value]:
        """The outputs of a node that reads signals."""
        if node.op not in HANDLERS:
            raise WeightError(
                f"{node} is not supported: the operators that are read are "
                f"{', '.join(sorted(HANDLERS))}"
            )
        values = HANDLERS[node.op](NodeReader(self, node))
        return values if isinstance(values, list) else [values]


@dataclass
class NodeReader:
    """Reads one node: its inputs, and the layers that its function appends for it."""

    walk: Walk
    node: Node

    @property
    def count(self) -> int:
        """How many inputs are given."""
        return len(self.node.inputs)

    def value(self, index: int) -> Value | None:
        """An input, or None where it is left out."""
        name = self.node.inputs[index] if index < self.count else ""
        return self.walk.values[name] if name else None

    def signal(self, index: int = 0) -> Signal:
        """An input that must be a signal."""
        value = self.value(index)
        if not isinstance(value, Signal):
            raise Unfit(f"its input {index} is a constant, where a signal is expected")
        return value

    def const(self, index: int) -> Const | None:
        """An input that must be a constant, or None where it is left out."""
        value = self.value(index)
        if isinstance(value, Signal):
            raise Unfit(f"its input {index} is computed from the signal, not a constant")
        return value

    def needed(self, index: int) -> Const:
        """An input that must be a constant and there."""
        value = self.const(index)
        if value is None:
            raise Unfit(f"its input {index} is missing")
        return value

    def arrays(self) -> list[Array | None]:
        """The inputs after the first, as constants, with None in its place."""
        constants = [self.const(index) for index in range(1, self.count)]
        return [None, *(None if const is None else const.array for const in constants)]

    def number(self, index: int, default: float | None) -> float | None:
        """An input of one number, or `default` where it is left out."""
        value = self.const(index)
        if value is None:
            return default
        if value.array.size != 1:
            raise Unfit(f"its input {index} is not a single number")
        return float(value.array.reshape(-1)[0])

    def add(
        self,
        kind: str,
        inputs: Signal | Sequence[Signal],
        arrays: dict[str, Const] | None = None,
        notes: Notes | None = None,
        **fields: Any,
    ) -> int:
        """Append a layer; return its number."""
        signals = [inputs] if isinstance(inputs, Signal) else list(inputs)
        sources = [signal.layer for signal in signals]
        layer = Layer(kind, sources, self.node, fields, arrays or {}, notes or Notes())
        return self.walk.program.add(layer)

    def then(
        self,
        kind: str,
        x: Signal,
        arrays: dict[str, Const] | None = None,
        notes: Notes | None = None,
        **fields: Any,
    ) -> Signal:
        """Append a layer that keeps the shape."""
        return replace(x, layer=self.add(kind, x, arrays, notes, **fields))

    def with_channels(self, x: Signal, channels: int) -> Signal:
        """A signal of so many channels, which the input or a flatten may learn only now."""
        if x.channels == channels:
            return x
        if x.channels is not None:
            raise Unfit(f"it takes {channels} channels, but {x.channels} come")
        if x.open is not None:
            flatten = self.walk.program.layers[x.open]
            inside = flatten.notes.inside
            if channels % inside or flatten.fields["length"] not in (None, channels // inside):
                raise Unfit(f"it takes {channels} values, which are no steps of {inside} channels")
            flatten.fields["length"] = channels // inside
        elif x.layer == INPUT:
            self.walk.assumed["in_channels"] = channels
        return replace(x, channels=channels, open=None)


def is_number(const: Const) -> bool:
    """Whether a constant is a single number."""
    return bool(np.size(const.array) == 1)
