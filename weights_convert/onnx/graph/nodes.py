"""The graph of an ONNX model as plain data, checked: nodes, constants, inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

from ...containers.onnx import array_of, text
from .schema import check_nodes

# More than any model of these layers has; some of what follows takes a node's number of steps.
MOST = 20_000
# Before the oldest, operators broadcast by rules of their own; the newest is that of onnx 1.23.2,
# whose operators the reader was held against.
OLDEST, NEWEST = 7, 28
# Version of the format itself; fields of a later one would be lost without a word.
NEWEST_FORMAT = 14
DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        op, name: type and name; the name is that of the first output where the file gives none.
        inputs, outputs: names of values; "" for one that is left out.
        attributes: numbers, text, arrays and lists of them.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        """As sentences name it."""
        return f"node {self.name!r} ({self.op})"

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)


@dataclass(frozen=True)
class Graph:
    """A graph of operators in order of computation.

    Attributes:
        opset: version of the operators.
        inputs: name -> axes: a size, or None for one that is left open.
        types: name of an input -> element type.
        outputs: names.
        initializers: name -> array.
        nodes: each reads only from inputs, initializers and earlier nodes.
    """

    opset: int
    inputs: Mapping[str, tuple[int | None, ...]]
    types: Mapping[str, int]
    outputs: tuple[str, ...]
    initializers: Mapping[str, Array]
    nodes: tuple[Node, ...]

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read an output of a node."""
        return [other for other in self.nodes if set(node.outputs) & set(other.inputs)]

    def needed(self, output: str) -> tuple[Node, ...]:
        """The nodes that an output depends on, in order."""
        wanted, needed = {output}, []
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                wanted.update(node.inputs)
                needed.append(node)
        return tuple(reversed(needed))


def graph_of(path: Path, model: Any) -> Graph:
    """The graph of an onnx.ModelProto.

    Raises:
        WeightError: a graph that is not one of known operators in order of computation.
    """
    if len(model.graph.node) > MOST:
        raise WeightError(f"{str(path)!r} has {len(model.graph.node)} nodes; up to {MOST} are read")
    initializers = initializers_of(path, model)
    inputs = {
        text(port.name): _axes(port.type.tensor_type)
        for port in model.graph.input
        if text(port.name) not in initializers
    }
    _check_shadows(path, model, initializers)
    opset = _opset(path, model)
    nodes = tuple(_node(path, node) for node in model.graph.node)
    check_nodes(path, model, opset)
    _check_order(path, nodes, {*initializers, *inputs})
    outputs = tuple(text(port.name) for port in model.graph.output)
    made = {*initializers, *inputs, *(name for node in nodes for name in node.outputs)}
    for name in outputs:
        if name not in made:
            raise WeightError(f"{str(path)!r}: no node makes the output {name!r}")
    types = {text(port.name): port.type.tensor_type.elem_type for port in model.graph.input}
    return Graph(opset, inputs, types, outputs, initializers, nodes)


def _check_shadows(path: Path, model: Any, initializers: Mapping[str, Array]) -> None:
    """Raise WeightError for two inputs of one name, or one whose tensor has another shape."""
    seen: set[str] = set()
    for port in model.graph.input:
        name = text(port.name)
        if name in seen:
            raise WeightError(f"{str(path)!r}: two inputs have the name {name!r}")
        seen.add(name)
        said = _axes(port.type.tensor_type)
        stored = initializers[name].shape if name in initializers else said
        same = len(said) == len(stored) and all(
            wanted in (None, size) for wanted, size in zip(said, stored, strict=False)
        )
        if port.type.tensor_type.HasField("shape") and not same:
            raise WeightError(
                f"{str(path)!r}: the input {name!r} is said to have axes {said}, but its tensor "
                f"has shape {stored}"
            )


def initializers_of(path: Path, model: Any) -> dict[str, Array]:
    """Every initializer of an onnx.ModelProto.

    Raises:
        WeightError: a tensor whose values are not there, or two of one name.
    """
    if model.graph.sparse_initializer:
        raise WeightError(f"{str(path)!r} holds sparse tensors; only dense ones are read")
    arrays: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        name = text(tensor.name)
        if name in arrays:
            raise WeightError(f"{str(path)!r}: two tensors have the name {name!r}")
        arrays[name] = array_of(path, tensor)
    return arrays


def _opset(path: Path, model: Any) -> int:
    """Version of the standard operators.

    Raises:
        WeightError: a version that is not known, or operators that the file defines anew.
    """
    own = [text(entry.name) for entry in model.functions if text(entry.domain) in DOMAINS]
    if own:
        raise WeightError(f"{str(path)!r} defines standard operators of its own: {own}")
    versions = [entry.version for entry in model.opset_import if text(entry.domain) in DOMAINS]
    if model.ir_version > NEWEST_FORMAT:
        raise WeightError(
            f"{str(path)!r} is of version {model.ir_version} of the format; up to {NEWEST_FORMAT} "
            "is read"
        )
    if len(versions) != 1 or not OLDEST <= versions[0] <= NEWEST:
        raise WeightError(
            f"{str(path)!r} must be of one operator set, version {OLDEST} to {NEWEST}, but names "
            f"{versions}; export the model for one of these"
        )
    return int(versions[0])


def _axes(kind: Any) -> tuple[int | None, ...]:
    """Axes of an input: their sizes where the file says them."""
    return tuple(
        int(axis.dim_value) if axis.HasField("dim_value") and axis.dim_value > 0 else None
        for axis in kind.shape.dim
    )


def _node(path: Path, node: Any) -> Node:
    """One operator of the standard set, with attributes that are values."""
    outputs = tuple(text(entry) for entry in node.output)
    name = text(node.name) or (outputs[0] if outputs else "")
    op, domain = text(node.op_type), text(node.domain)
    if domain not in DOMAINS or not op.isidentifier():
        raise WeightError(
            f"node {name!r} of {str(path)!r} has the operator {op!r} of the domain {domain!r}; "
            "only the standard operators are supported"
        )
    attributes = {text(entry.name): _attribute(path, name, entry) for entry in node.attribute}
    return Node(op, name, tuple(text(entry) for entry in node.input), outputs, attributes)


def _attribute(path: Path, node: str, attribute: Any) -> Any:
    """The value of an onnx.AttributeProto."""
    kinds = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
    field = kinds.get(attribute.type)
    if field is None:
        raise WeightError(
            f"node {node!r} of {str(path)!r} holds a graph or a sparse tensor in its attribute "
            f"{text(attribute.name)!r}; only plain nodes are supported"
        )
    value = getattr(attribute, field)
    if field == "t":
        return array_of(path, value)
    if field == "s":
        return value.decode("utf-8", errors="replace")
    if field == "f":
        return shortest(value)
    return list(value) if field in ("floats", "ints", "strings") else value


def shortest(value: float) -> float:
    """The shortest decimal number that is this one in float32: 1e-5, not 9.9999997e-06."""
    return float(str(np.float32(value)))


def _check_order(path: Path, nodes: tuple[Node, ...], known: set[str]) -> None:
    """Raise WeightError unless each node reads what is there, and makes what is not."""
    seen = {*known, ""}
    made = {name for node in nodes for name in node.outputs}
    for node in nodes:
        for name in node.inputs:
            if name not in seen:
                what = "comes later, or from itself" if name in made else "nothing makes"
                raise WeightError(f"{node} of {str(path)!r} reads {name!r}, which {what}")
        for name in node.outputs:
            if name and name in seen:
                raise WeightError(f"{node} of {str(path)!r} makes {name!r} once more")
            seen.add(name)
