"""The base of every torch block: tensors and parts laid out and named as the spec says."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tcnzoo.models.backend import Handle
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec

from .hub import Pretrained
from .kernels import packed
from .options import Options, checkpointed, recomputed

BLOCKS: dict[str, type[Block]] = {}


class Block(Pretrained, nn.Module):
    """A block whose state_dict has the neutral names and layout; signals are channels first."""

    tcnzoo: Handle
    # Of the whole model, and of a part that the backward pass computes once more.
    options = Options()
    recomputes = False
    # Of a whole model: whether several processes have shared its parameters.
    _was_sharded = False

    if TYPE_CHECKING:
        # Parts are found by name, as the spec lists them.
        def __getattr__(self, name: str) -> Any:
            """Any part, parameter or buffer."""

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`."""
        if kind:
            BLOCKS[kind] = cls

    def __init__(self, spec: Spec) -> None:
        """Make room for the parameters of `spec` and build its parts."""
        super().__init__()
        self.spec: Any = spec
        self.path = ""
        for name, param in spec.own_params().items():
            if param.trainable:
                self.register_parameter(name, nn.Parameter(torch.zeros(param.shape)))
            else:
                self.register_buffer(name, torch.zeros(param.shape))
        for name, child in spec.children().items():
            group, _, key = name.rpartition(".")
            if group and not hasattr(self, group):
                self.add_module(group, nn.ModuleDict())
            owner = getattr(self, group) if group else self
            owner.add_module(key, build(child))

    def part(self, name: str) -> Block | None:
        """The part of that (dotted) name, or None where the spec has none."""
        group, _, key = name.rpartition(".")
        owner = self._modules.get(group) if group else self
        found = owner._modules.get(key) if owner is not None else None
        return found if isinstance(found, Block) else None

    def train(self, mode: bool = True) -> Block:
        """Set the mode, and drop what was prepared for inference."""
        packed.forget(self)
        return super().train(mode)

    def set_options(self, options: Options) -> None:
        """Run this model with options from now on.

        Raises:
            InputError: options that the model cannot take.
        """
        self.options = options
        for part in checkpointed(self) if options.checkpointing else ():
            part.recomputes = True
            part.forward = part.altered
        if options.tf32 or options.autocast:
            self.forward = self.altered

    def altered(self, *args: Any, **inputs: Any) -> Any:
        """What stands in for `forward` where options ask for more than that."""
        forward = functools.partial(type(self).forward, self)
        if self.recomputes:
            forward = functools.partial(recomputed, self, forward)
        return self.options.run(forward, *args, **inputs)

    def optional(self, name: str, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Apply the part `name` where the spec has it."""
        part = self.part(name)
        if part is None:
            return x
        y: Tensor = part(x, stream)
        return y


def build(spec: Spec) -> Block:
    """Build the block for a spec."""
    return BLOCKS[spec.kind](spec)
