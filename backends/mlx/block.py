"""The base of every MLX block: an mlx.nn.Module laid out as the spec says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import mlx.core as mx
import mlx.nn as nn

from tcnzoo.models.backend import Handle, block_class
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

from .weights import stored_shape

S = TypeVar("S", bound=Spec)

BLOCKS: dict[str, type[Block[Any]]] = {}


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


def _item(name: str) -> property:
    """A declared part as an attribute: the item of its name, or None.

    It is read five times as fast as by Module's `__getattr__`. Setting and deleting are left to
    Module, which does so with the item.
    """
    return property(methodcaller("get", name), lambda *_: None, lambda _: None)


class Block(nn.Module, Generic[S]):
    """A block whose arrays and parts are items of the module, both named as in the spec.

    The native call takes and returns channels last, (batch, time, channels) or (batch, channels).

    A class declares its parts by annotations, `conv1: Conv1d`, and one that a spec may lack with
    None, `norm1: Block[Any] | None`; a group of parts, `blocks.0`, is a list. `self.conv1` is then
    the item of that name, or None.

    Attributes:
        spec: what the block is.
        path: its dotted place in the model, "" for the model itself.
        tcnzoo: of the model itself only.
    """

    # Where the user names the parts, an attribute would hide the layer of its name, and setting it
    # would drop that layer. So there are `spec`, `path` and `tcnzoo`, which no layer may be called,
    # and names that begin with an underscore, as no layer's does.
    spec: S
    path: str
    tcnzoo: Handle
    _device: str | None = None
    _observer: Callable[[str, Any], None] | None = None
    _steps: Any = None
    # Twice the times that the mode has changed; odd while it is changing.
    _turns: int = 0
    # Names of the parts, groups included; None where the user names them.
    _declared: frozenset[str] | None = frozenset()

    if TYPE_CHECKING:
        # Module has one that answers to any name; without it misspelt parts are errors.
        __getattr__: None  # type: ignore[assignment, misc]

    def __init_subclass__(cls, kind: str = "", parts_by_user: bool = False) -> None:
        """Register the class for a spec's `kind`, with the parts that it declares."""
        if kind:
            BLOCKS[kind] = cls
        own = {name for name in inspect.get_annotations(cls) if not name.startswith("_")}
        for name in own:
            setattr(cls, name, _item(name))
        cls._declared = None if parts_by_user else (cls._declared or frozenset()) | own

    def __init__(self, spec: S, path: str = "") -> None:
        """Make room for the parameters of `spec` and build its parts.

        Raises:
            TypeError: the spec has a part that the class does not declare.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = spec
        self.path = path
        table = spec.own_params()
        self._no_grad = Pinned({name for name, param in table.items() if not param.trainable})
        for name, param in table.items():
            self[name] = mx.zeros(stored_shape(param))
        parts = spec.children()
        if self._declared is not None:
            names = {name.partition(".")[0] for name in parts}
            if not names <= self._declared:
                undeclared = ", ".join(sorted(names - self._declared))
                raise TypeError(f"{type(self).__name__} does not declare its parts {undeclared}")
        for name, child in parts.items():
            part = build(child, f"{path}.{name}" if path else name)
            group, _, index = name.partition(".")
            if index:
                members = self.setdefault(group, [])
                members.extend([None] * (int(index) + 1 - len(members)))
                members[int(index)] = part
            else:
                self[name] = part

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
            self._observer(self.path, y)
        return y

    def train(self, mode: bool = True) -> Block[S]:
        """Set the mode, and count that it changes; see `twin.evaluating`."""
        if mode == self.training:
            return cast(Block[S], super().train(mode))
        self._turns += 1
        try:
            return cast(Block[S], super().train(mode))
        finally:
            self._turns += 1

    def forward(self, x: mx.array, stream: Stream | None) -> Any:
        """Compute the output; with a `stream`, x continues what came before."""
        raise TypeError(f"{type(self).__name__} computes nothing")

    def walk(self) -> Iterator[tuple[str, Block[Any]]]:
        """Yield (dotted path in the model, block) for this block and every one below it."""
        for part in self.modules():  # type: ignore[no-untyped-call]
            if isinstance(part, Block):
                yield part.path, part


def maybe(part: Block[Any] | None, x: mx.array, stream: Stream | None = None) -> mx.array:
    """Apply a part that may be None."""
    return x if part is None else part(x, stream)


def arrays(item: Any) -> list[mx.array]:
    """Every array in a module."""
    leaves: list[mx.array] = []
    for inner in item.values() if isinstance(item, dict) else item:
        if isinstance(inner, mx.array):
            leaves.append(inner)
        elif isinstance(inner, dict | list):
            leaves += arrays(inner)
    return leaves


def build(spec: Spec, path: str = "") -> Block[Any]:
    """Build the block for a spec, to stand at a dotted path of its model.

    Raises:
        SpecError: MLX has no block of this kind.
    """
    return block_class(BLOCKS, spec, "mlx")(spec, path)


def build_model(spec: Spec, dtype: str, device: str | None) -> Block[Any]:
    """Build a whole model in evaluation mode, with a Handle as `tcnzoo`."""
    model = build(spec)
    model.set_dtype(getattr(mx, dtype))
    model._device = device
    model.tcnzoo = Handle(spec, "mlx", dtype, device)
    model.eval()
    return model
