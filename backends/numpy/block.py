"""The base of every numpy block: arrays and parts laid out as the spec says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar, get_origin

import numpy as np

from tcnzoo.models.backend import Handle, block_class
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

Array = np.ndarray[Any, np.dtype[Any]]
S = TypeVar("S", bound=Spec)
BLOCKS: dict[str, type[Block[Any]]] = {}


class Block(Generic[S]):
    """A block with its parameters in `arrays` and its parts as attributes, named as in the spec.

    A subclass declares its parts as annotations: `conv1: Conv1d`, `norm1: Block[Any] | None` for
    one that a spec may lack, and `blocks: dict[int, TemporalBlock]` for the group of `blocks.0`,
    `blocks.1` and so on. Where the user names the parts, it declares `parts`.

    Attributes:
        path: dotted place in the model, empty for the model itself.
        observer: is called with the path and the output after each run.
        parts: every part by its name in the spec.
    """

    tcnzoo: Handle  # on the root only
    declared: ClassVar[dict[str, Any]] = {}  # part -> annotation

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`, and gather the parts that it declares."""
        super().__init_subclass__()
        annotations = inspect.get_annotations(cls, eval_str=True)
        parts = {name: hint for name, hint in annotations.items() if name not in vars(cls)}
        cls.declared = cls.declared | parts
        if kind:
            BLOCKS[kind] = cls

    def __init__(self, spec: S, path: str, dtype: str) -> None:
        """Make room for the parameters of `spec` and build its parts."""
        self.spec = spec
        self.path = path
        self.observer: Callable[[str, Any], None] | None = None
        self.arrays: dict[str, Array] = {
            name: np.zeros(param.shape, dtype) for name, param in spec.own_params().items()
        }
        for name, hint in self.declared.items():
            setattr(self, name, {} if get_origin(hint) is dict else None)
        self.parts: dict[str, Block[Any]] = {}
        for name, child in spec.children().items():
            part = self.parts[name] = build(child, f"{path}.{name}" if path else name, dtype)
            if "parts" in self.declared:
                continue
            group, _, index = name.partition(".")
            if group not in self.declared:
                raise TypeError(f"{type(self).__name__} declares no part {group!r}")
            if index:
                getattr(self, group)[int(index)] = part
            else:
                setattr(self, name, part)

    def __call__(self, x: Array, stream: Stream | None = None, **inputs: Any) -> Any:
        """Run the block on (batch, channels, time), pass the output to the observer, return it."""
        y = self.forward(x, stream, **inputs)
        if self.observer is not None:
            self.observer(self.path, y)
        return y

    def forward(self, x: Array, stream: Stream | None) -> Any:
        """Compute the output; with a `stream`, x continues what came before."""
        raise TypeError(f"{type(self).__name__} computes nothing")

    def walk(self) -> Iterator[tuple[str, Block[Any]]]:
        """Yield (dotted path, block) for this block and every part below it."""
        yield self.path, self
        for part in self.parts.values():
            yield from part.walk()


def build(spec: Spec, path: str = "", dtype: str = "float64") -> Block[Any]:
    """Build the block for a spec, or raise SpecError for a kind that this backend lacks."""
    return block_class(BLOCKS, spec, "numpy")(spec, path, dtype)


def maybe(part: Block[Any] | None, x: Array, stream: Stream | None = None) -> Array:
    """Apply a part that may be None."""
    return x if part is None else part(x, stream)


def per_channel(vector: Array, x: Array) -> Array:
    """A vector (channels,) shaped so that it meets the channels of x, of any rank."""
    return vector.reshape((-1,) + (1,) * (x.ndim - 2))
