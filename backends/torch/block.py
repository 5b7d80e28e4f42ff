"""The base of every torch block: tensors and parts laid out and named as the spec says."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from types import UnionType
from typing import Any, ClassVar, Generic, TypeVar, Union, get_args, get_origin

import torch
from torch import Tensor, nn

from tcnzoo.models.backend import Handle, block_class
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec, StateItem

from .hub import Pretrained
from .kernels import packed
from .options import Options, checkpointed, recomputed

S = TypeVar("S", bound=Spec)
BLOCKS: dict[str, type[Block[Any]]] = {}


def _of_type(hints: dict[str, Any], wanted: type) -> Iterator[str]:
    """Names of the annotations that stand for a type, or for a type or None."""
    for name, hint in hints.items():
        choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        first = get_origin(choices[0]) or choices[0]
        if inspect.isclass(first) and issubclass(first, wanted):
            yield name


class Block(Pretrained, nn.Module, Generic[S]):
    """A block whose state_dict has the neutral names and layout; signals are channels first.

    A subclass declares as annotations what it computes with: its parts (`conv1: Conv1d`,
    `norm1: Block[Any] | None` for one that a spec may lack), groups of parts (`blocks:
    nn.ModuleDict` for `blocks.0`, `blocks.1` and so on) and its tensors (`bias: Tensor | None`).
    What a spec lacks is None.

    Attributes:
        path: dotted place in the model, empty for the model itself.
        state_items: what the block itself keeps of a stream, by name.
        options: of the whole model.
        recomputes: whether the backward pass computes this part once more.
        turns: twice the times that the mode has changed; odd while it is changing.
    """

    names_parts: ClassVar[bool] = True  # else the user names them
    declared_parts: ClassVar[frozenset[str]] = frozenset()
    declared_tensors: ClassVar[frozenset[str]] = frozenset()

    tcnzoo: Handle  # on the root only
    options = Options()
    recomputes = False
    turns = 0
    # Of a whole model: whether several processes have shared its parameters.
    _was_sharded = False

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`, and gather what it declares."""
        super().__init_subclass__()
        hints = inspect.get_annotations(cls, eval_str=True)
        cls.declared_parts = cls.declared_parts.union(_of_type(hints, nn.Module))
        cls.declared_tensors = cls.declared_tensors.union(_of_type(hints, Tensor))
        if kind:
            BLOCKS[kind] = cls

    def __init__(self, spec: S, path: str = "") -> None:
        """Make room for the parameters of `spec` and build its parts, in evaluation mode."""
        super().__init__()
        self.training = False
        self.spec = spec
        self.path = path
        self.state_items: dict[str, StateItem] = spec.own_state()
        for name, param in spec.own_params().items():
            if param.trainable:
                self.register_parameter(name, nn.Parameter(torch.zeros(param.shape)))
            else:
                self.register_buffer(name, torch.zeros(param.shape))
        for name, child in spec.children().items():
            part = build(child, f"{path}.{name}" if path else name)
            group, _, index = name.rpartition(".")
            if self.names_parts and (group or name) not in self.declared_parts:
                raise TypeError(f"{type(self).__name__} declares no part {group or name!r}")
            if group:
                parts = self._modules.setdefault(group, nn.ModuleDict().eval())
                parts._modules[index] = part  # type: ignore[union-attr]
            else:
                self._modules[name] = part
        absent = (self.declared_parts | self.declared_tensors) - {
            *self._modules, *self._parameters, *self._buffers
        }  # fmt: skip
        # Plain attributes: they are read faster than what torch has registered.
        self.__dict__.update(dict.fromkeys(absent))

    def walk(self) -> Iterator[tuple[str, Block[Any]]]:
        """Yield (dotted path, block) for this block and every part below it."""
        for part in self.modules():
            if isinstance(part, Block):
                yield part.path, part

    def train(self, mode: bool = True) -> Block[S]:
        """Set the mode, and drop what was prepared for inference."""
        packed.forget(self)
        if mode == self.training:
            return super().train(mode)
        self.turns += 1
        try:
            return super().train(mode)
        finally:
            self.turns += 1

    def set_options(self, options: Options) -> None:
        """Run this model with options from now on.

        Raises:
            InputError: options that the model cannot take.
        """
        self.options = options
        for part in checkpointed(self) if options.checkpointing else ():
            part.recomputes = True
            part.forward = part.forward_with_options
        if options.tf32 or options.autocast:
            self.forward = self.forward_with_options

    def forward_with_options(self, *args: Any, **inputs: Any) -> Any:
        """What stands in for `forward` where options ask for more than that."""
        forward = functools.partial(type(self).forward, self)
        if self.recomputes:
            forward = functools.partial(recomputed, self, forward)
        return self.options.run(forward, *args, **inputs)


def build(spec: Spec, path: str = "") -> Block[Any]:
    """Build the block for a spec.

    Raises:
        SpecError: this backend has no block of its kind.
    """
    return block_class(BLOCKS, spec, "torch")(spec, path)


def maybe(part: Block[Any] | None, x: Tensor, stream: Stream | None = None) -> Tensor:
    """Apply a part that may be None."""
    if part is None:
        return x
    y: Tensor = part(x, stream)
    return y


class UserNamed(Block[S], Generic[S]):
    """A block whose parts are named by the user, as they like: `float` and `training`, too.

    The parts are in `_modules`, in the spec's order, and also in attributes where torch has none of
    that name. torch.export, torch.jit and torch.func know parts by attribute alone: what exports a
    model renames the others first.
    """

    names_parts = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a value that is no module beside a part of the same name."""
        if name in self.__dict__.get("_modules", ()) and not isinstance(value, nn.Module | None):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
