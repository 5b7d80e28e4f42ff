"""The base of every MLX block: an mlx.nn.Module laid out as the spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from tcnzoo.models.backend import Handle
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

from .weights import stored_shape

BLOCKS: dict[str, type[Block]] = {}


class Pinned(set[str]):
    """The frozen keys of a module, of which running statistics are always some."""

    def __init__(self, pinned: Iterable[str]) -> None:
        """Start with `pinned`, which no later call takes out."""
        super().__init__(pinned)
        self.pinned = frozenset(self)

    def clear(self) -> None:
        """Take out all but the pinned keys."""
        self.intersection_update(self.pinned)

    def difference_update(self, *others: Any) -> None:
        """Take out the keys of `others`, but no pinned ones."""
        super().difference_update(*others)
        self.update(self.pinned)


class Block(nn.Module):
    """A block whose arrays and parts are items of the module, both named as in the spec.

    The native call takes and returns channels last, (batch, time, channels) or (batch, channels).
    """

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`."""
        if kind:
            BLOCKS[kind] = cls

    def __init__(self, spec: Spec, path: str = "") -> None:
        """Make room for the parameters of `spec` and build its parts.

        What is not a part begins with an underscore, as no layer's name does: a layer `blocks` is
        then found as `model.blocks`, and setting an attribute never drops the item of that name.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec: Any = spec
        self._path = path
        self._device: str | None = None
        self._observer: Callable[[str, Any], None] | None = None
        self._steps: Any = None
        table = spec.own_params()
        self._no_grad = Pinned({name for name, param in table.items() if not param.trainable})
        for name, param in table.items():
            self[name] = mx.zeros(stored_shape(param))
        for name, child in spec.children().items():
            self._place(name, build(child, f"{path}.{name}" if path else name))

    def _place(self, name: str, part: Block) -> None:
        """Keep a part as an item; `blocks.0` goes into the list `blocks`, gaps filled with {}."""
        head, _, index = name.partition(".")
        if not index:
            self[head] = part
            return
        row = self.setdefault(head, [])
        row.extend({} for _ in range(int(index) + 1 - len(row)))
        row[int(index)] = part

    def _part(self, name: str) -> Any:
        """The part `name`, or None where the spec has none."""
        head, _, index = name.partition(".")
        found = self.get(head)
        if index and found is not None:
            found = found[int(index)] if int(index) < len(found) else None
        return found if isinstance(found, nn.Module) else None

    def __call__(self, x: mx.array, stream: Stream | None = None, **inputs: Any) -> Any:
        """Run the block, tell the observer, and return the output.

        Args:
            x: (batch, time, channels), or (batch, channels) for a block of vectors.
            stream: what came before x, for a chunk of a longer signal.
            inputs: `embeddings`, channels last, for a block that takes some.
        """
        if self._device is None:
            y = self.forward(x, stream, **inputs)
        else:
            with mx.stream(getattr(mx, self._device)):
                y = self.forward(x, stream, **inputs)
        if self._observer is not None:
            self._observer(self._path, y)
        return y

    def forward(self, x: mx.array, stream: Stream | None) -> Any:
        """Compute the output; with a `stream`, x continues what came before."""
        raise TypeError(f"{type(self).__name__} computes nothing")

    def _optional(self, name: str, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Apply the part `name` where the spec has it."""
        part = self._part(name)
        return x if part is None else part(x, stream)


def blocks(model: Block) -> Iterator[Block]:
    """A block and every one below it."""
    parts = model.modules()  # type: ignore[no-untyped-call]
    return (part for part in parts if isinstance(part, Block))


def arrays(item: Any) -> list[mx.array]:
    """Every array in a module."""
    found: list[mx.array] = []
    for inner in item.values() if isinstance(item, dict) else item:
        if isinstance(inner, mx.array):
            found.append(inner)
        elif isinstance(inner, dict | list):
            found += arrays(inner)
    return found


def build(spec: Spec, path: str = "") -> Block:
    """Build the block for a spec, to stand at a dotted path of its model."""
    return BLOCKS[spec.kind](spec, path)


def build_model(spec: Spec, dtype: str, device: str | None) -> Block:
    """Build a whole model in evaluation mode, with a Handle as `tcnzoo`."""
    model = build(spec)
    model.set_dtype(getattr(mx, dtype))
    model._device = device
    # Past Module.__setattr__, which would drop a layer of this name.
    object.__setattr__(model, "tcnzoo", Handle(spec, "mlx", dtype, device))
    model.eval()
    return model
