"""The base of every numpy block: arrays and parts laid out as the spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tcnzoo.models.backend import Handle
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

Array = np.ndarray[Any, np.dtype[Any]]
BLOCKS: dict[str, type[Block]] = {}


class Block:
    """A block with its parameters in `arrays` and its parts in `parts`, named as in the spec."""

    tcnzoo: Handle  # on the root only

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`."""
        if kind:
            BLOCKS[kind] = cls

    def __init__(self, spec: Spec) -> None:
        """Make room for the parameters of `spec` and build its parts."""
        self.spec: Any = spec
        self.path = ""
        self.observer: Callable[[str, Any], None] | None = None
        self.arrays: dict[str, Array] = {
            name: np.zeros(param.shape) for name, param in spec.own_params().items()
        }
        self.parts = {name: build(child) for name, child in spec.children().items()}

    def __call__(self, x: Array, stream: Stream | None = None, **inputs: Any) -> Any:
        """Run the block on (batch, channels, time), tell the observer, and return the output."""
        y = self.forward(x, stream, **inputs)
        if self.observer is not None:
            self.observer(self.path, y)
        return y

    def forward(self, x: Array, stream: Stream | None) -> Any:
        """Compute the output; with a `stream`, x continues what came before."""
        raise TypeError(f"{type(self).__name__} computes nothing")

    def optional(self, name: str, x: Array, stream: Stream | None = None) -> Array:
        """Apply the part `name` where the spec has it."""
        part = self.parts.get(name)
        return x if part is None else part(x, stream)

    def walk(self, path: str = "") -> Iterator[tuple[str, Block]]:
        """Yield (dotted path, block) for this block and every part below it."""
        yield path, self
        for name, part in self.parts.items():
            yield from part.walk(f"{path}.{name}" if path else name)


def build(spec: Spec) -> Block:
    """Build the block for a spec."""
    return BLOCKS[spec.kind](spec)
