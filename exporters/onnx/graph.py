"""Named nodes that each read from earlier ones."""

from dataclasses import replace
from functools import reduce

from tcnzoo.specs import MergeSpec

from .builder import Value
from .emit import Place, emits


@emits("merge")
def merge(place: Place, values: list[Value]) -> Value:
    """Add or multiply signals, vectors acting on every step, or put their channels side by side."""
    longest = max(values, key=lambda value: len(value.shape))
    may_be_empty = any(value.may_be_empty for value in values)
    longest = replace(longest, may_be_empty=may_be_empty)
    if place.spec.mode == "concat":
        width = sum(value.channels for value in values)
        shape = (width, *longest.shape[1:])
        return replace(longest, name=place.op("Concat", *values, axis=1), shape=shape)
    operator = "Add" if place.spec.mode == "add" else "Mul"
    names = [_beside(place, value, longest) for value in values]
    return replace(longest, name=reduce(lambda one, other: place.op(operator, one, other), names))


def _beside(place: Place, value: Value, longest: Value) -> str:
    """A value with as many axes as the longest."""
    if len(value.shape) == len(longest.shape):
        return value.name
    axes = range(2, place.graph.rank)
    return place.op("Unsqueeze", value, place.graph.integers(*axes))


@emits("graph")
def graph(place: Place, x: Value) -> Value:
    """Every node on the outputs that it reads; the last one is the output."""
    seen = {"input": x}
    for name, node in place.spec.nodes.items():
        found = [seen[one] for one in node.inputs]
        seen[name] = place.apply(name, found if isinstance(node.layer, MergeSpec) else found[0])
    return seen[name]
