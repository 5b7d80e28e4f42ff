"""Named nodes that each read from earlier ones."""

from dataclasses import replace
from functools import reduce
from typing import Any

from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes

from .block import BlockWriter, writes
from .builder import Value


@writes("merge")
def merge(block: BlockWriter[MergeSpec], values: list[Value]) -> Value:
    """Add or multiply signals, vectors acting on every step, or put their channels side by side."""
    longest = max(values, key=lambda value: len(value.shape))
    may_be_empty = any(value.may_be_empty for value in values)
    longest = replace(longest, may_be_empty=may_be_empty)
    if block.spec.mode == "concat":
        width = sum(value.channels for value in values)
        shape = (width, *longest.shape[1:])
        return replace(longest, name=block.op("Concat", *values, axis=1), shape=shape)
    operator = "Add" if block.spec.mode == "add" else "Mul"
    names = [_beside(block, value, longest) for value in values]
    return replace(longest, name=reduce(lambda left, right: block.op(operator, left, right), names))


def _beside(block: BlockWriter[Any], value: Value, longest: Value) -> str:
    """A value with as many axes as the longest."""
    if len(value.shape) == len(longest.shape):
        return value.name
    axes = range(2, block.graph.rank)
    return block.op("Unsqueeze", value, block.graph.integers(*axes))


@writes("graph")
def graph(block: BlockWriter[GraphSpec], x: Value) -> Value:
    """Every node on the outputs that it reads; the last one is the output."""
    seen, routes = {"input": x}, Routes.of(block.spec.children())
    for name, node in block.spec.nodes.items():
        inputs = [seen[source] for source in node.inputs]
        read = inputs if isinstance(node.layer, MergeSpec) else inputs[0]
        seen[name] = block.apply(name, read, routes.taken(name, block.embeddings))
    return seen[name]
