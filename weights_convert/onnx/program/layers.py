"""Layers as they are read from a graph, before they have names: a program of small steps."""

from dataclasses import dataclass, field
from typing import Any

from ..graph.nodes import Node
from .signal import INPUT, Const

# Steps that are no layer of their own: each must become part of one.
PARTS = (
    "erf", "erfc", "sqrt", "reciprocal", "pow", "subtract", "divide", "clip", "channels",
    "channel_mean", "greater", "where", "stack",
)  # fmt: skip


@dataclass
class Notes:
    """What is known of a step beside the fields of its spec.

    Attributes:
        pads: steps that a window adds left and right; None for those of `same_upper`.
        crops: steps that a transposed convolution drops left and right.
        length: steps that go into a window.
        inside: channels of the signal that a flatten makes a vector.
        window: layer of a signal, the first step that is cut from it, and the one after the last.
        widens: whether a scale or shift spreads one channel over many.
    """

    pads: tuple[int, int] | None = (0, 0)
    crops: tuple[int, int] = (0, 0)
    length: int = 0
    inside: int = 1
    window: tuple[int, int, int] | None = None
    widens: bool = False


@dataclass
class Layer:
    """One step.

    Attributes:
        kind: of a spec; or `affine` (x + mean) * scale + shift with constants, or one of PARTS.
        inputs: the layers that it reads, or INPUT.
        fields: of the spec; of one of PARTS its own.
        arrays: its parameters.
        node: what it was in the graph.
        notes: what else is known of it.
    """

    kind: str
    inputs: list[int]
    node: Node
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Const] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)


class Program:
    """Layers by number, in order of computation; the last of `order` need not be the output."""

    def __init__(self) -> None:
        """Start without layers."""
        self.layers: dict[int, Layer] = {}
        self.order: list[int] = []
        self.output = INPUT

    def add(self, layer: Layer, before: int | None = None) -> int:
        """Append a layer, or put it before another; return its number."""
        number = len(self.layers)
        self.layers[number] = layer
        position = len(self.order) if before is None else self.order.index(before)
        self.order.insert(position, number)
        return number

    def __getitem__(self, number: int) -> Layer | None:
        """A layer, or None for the input."""
        return self.layers.get(number)

    def readers(self) -> dict[int, list[int]]:
        """The layers that read each layer; the output of the model reads one too."""
        readers: dict[int, list[int]] = {number: [] for number in (INPUT, *self.order)}
        for number in self.order:
            for source in self.layers[number].inputs:
                readers[source].append(number)
        readers[self.output].append(len(self.layers))
        return readers

    def replace(self, old: int, new: int) -> None:
        """Let all that reads one layer read another."""
        for layer in self.layers.values():
            layer.inputs = [new if source == old else source for source in layer.inputs]
        self.output = new if self.output == old else self.output

    def prune(self) -> None:
        """Drop the layers that the output does not depend on."""
        wanted = {self.output}
        for number in reversed(self.order):
            if number in wanted:
                wanted.update(self.layers[number].inputs)
        self.order = [number for number in self.order if number in wanted]
