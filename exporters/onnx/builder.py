"""A graph in the making: nodes, initializers, inputs and outputs, each under a name of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import SpecError

# Operators as ONNX 1.12 has them, so that older runtimes and compilers take the files too.
OPSET = 17
IR_VERSION = 8

# One axis of an input or output: its size, or the name of one that is left open.
Axis = int | str


@dataclass(frozen=True)
class Value:
    """An intermediate array.

    Attributes:
        name: in the graph.
        shape: without batch: (channels, time), (channels, devices, time) or (channels,); a time of
            None is not known.
        may_be_empty: whether it can come to have no time step, as in a stream after a stride.
    """

    name: str
    shape: tuple[int | None, ...]
    may_be_empty: bool = False

    @property
    def channels(self) -> int:
        """How many; always known."""
        return _known(self.shape[0])

    @property
    def is_signal(self) -> bool:
        """Whether it has a time axis."""
        return len(self.shape) > 1

    @property
    def has_devices(self) -> bool:
        """Whether there is an axis of devices before time."""
        return len(self.shape) == 3

    @property
    def devices(self) -> int:
        """How many, of a signal that has some."""
        return _known(self.shape[1])

    @property
    def time(self) -> int | None:
        """Steps of a signal, where they are known."""
        return self.shape[-1]


def _known(size: int | None) -> int:
    """A size that every graph knows while it is written."""
    if size is None:
        raise SpecError("only the time axis of an ONNX graph may be left open")
    return size


@dataclass
class Node:
    """One operator.

    Attributes:
        op: its type.
        name: unique.
        inputs, outputs: names of values; an input of "" is left out.
        attributes: of the operator; the body of a loop is a Graph.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Port:
    """An input or output of the graph: name, type and axes."""

    name: str
    dtype: np.dtype[Any]
    axes: tuple[Axis, ...]


@dataclass
class Graph:
    """Nodes in order of computation.

    Attributes:
        dtype: float type of weights and values.
        rank: of signals.
        nodes, initializers, inputs, outputs: of the graph.
    """

    dtype: np.dtype[Any]
    rank: int = 3
    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _renamed: dict[str, str] = field(default_factory=dict)
    _constants: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def add(
        self, op: str, inputs: Sequence[str], path: str = "", outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """Append a node under the path of its block; return the names of its outputs."""
        name = self._unique(f"/{path}/{op}" if path else f"/{op}")
        names = [name] + [f"{name}.{number}" for number in range(1, outputs)]
        self.nodes.append(Node(op, name, list(inputs), names, attributes))
        return names

    def constant(self, array: Any, dtype: Any = None) -> str:
        """An initializer that is no weight; equal ones are the same."""
        value = np.asarray(array, dtype=self.dtype if dtype is None else dtype)
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = f"/constant/{len(self._constants)}"
            self.initializers[self._constants[key]] = value
        return self._constants[key]

    def integers(self, *numbers: int) -> str:
        """A vector of int64, as axes, starts and sizes are given."""
        return self.constant(numbers, np.int64)

    def weight(self, name: str, array: Array) -> str:
        """An initializer under its neutral name, in the graph's float type."""
        self.initializers[name] = array.astype(self.dtype)
        return name

    def input(self, name: str, axes: Sequence[Axis], dtype: Any = None) -> str:
        """An input of the graph."""
        self.inputs.append(Port(name, np.dtype(dtype or self.dtype), tuple(axes)))
        return name

    def output(self, value: str, name: str, axes: Sequence[Axis], dtype: Any = None) -> None:
        """Make a value an output of the graph under another name."""
        if any(value in node.outputs for node in self.nodes) and value not in self._renamed:
            self._rename(value, name)
        else:
            source = self._renamed.get(value, value)
            self.nodes.append(Node("Identity", f"/{name}/Identity", [source], [name], {}))
        self.outputs.append(Port(name, np.dtype(dtype or self.dtype), tuple(axes)))

    def _rename(self, value: str, name: str) -> None:
        """Give a value that a node makes the name of an output."""
        self._renamed[value] = name
        for node in self.nodes:
            node.inputs = [name if known == value else known for known in node.inputs]
            node.outputs = [name if known == value else known for known in node.outputs]

    def _unique(self, name: str) -> str:
        """The name, or the name with a number after it."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name
