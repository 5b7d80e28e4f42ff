"""A model in another mode beside the model itself, which another thread may be training."""

import types
from typing import Any

import torch
from torch import nn

from tcnzoo.errors import InputError

from .kernels import packed


def twin_of(model: nn.Module, training: bool, own_hooks: bool = False) -> Any:
    """The same model in a mode of its own: it shares all tensors, and `model` stays as it is.

    Args:
        model: of any mode.
        training: the mode of the twin.
        own_hooks: whether hooks that are registered on the twin are not called for the model.
    Raises:
        InputError: a part whose forward cannot be called for another module.
    """
    # torch.compile wraps the model that it was given.
    while "_orig_mod" in model._modules:
        model = model._modules["_orig_mod"]  # type: ignore[assignment]
    return _twin(model, training, own_hooks, {})


def _twin(part: nn.Module, training: bool, own_hooks: bool, made: dict[int, nn.Module]) -> Any:
    """The twin of a part; one that stands in several places is made once."""
    if id(part) in made:
        return made[id(part)]
    twin = made[id(part)] = part.__class__.__new__(part.__class__)
    twin.__dict__.update(part.__dict__)
    twin.__dict__["training"] = training
    twin.__dict__["_modules"] = {
        name: inner if inner is None else _twin(inner, training, own_hooks, made)
        for name, inner in part._modules.items()
    }
    twin.__dict__["_compiled_call_impl"] = None
    if own_hooks:
        twin.__dict__["_forward_hooks"] = part._forward_hooks.copy()
    forward = part.__dict__.get("forward")
    if forward is not None:
        if getattr(forward, "__self__", None) is not part:
            raise InputError(
                f"a part of the model in training ({type(part).__name__}) has a forward of its "
                "own, which cannot be run in another mode; call model.eval() first"
            )
        twin.__dict__["forward"] = types.MethodType(forward.__func__, twin)
    return twin


class Moment:
    """The values of a model's tensors at one moment."""

    def __init__(self, model: nn.Module) -> None:
        """Note the versions of all tensors, and copy the buffers.

        Batch norm writes its running statistics without counting a version.
        """
        self.origin = packed.Origin([model])
        self.buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def has_passed(self) -> bool:
        """Whether a tensor was written or replaced since."""
        if self.origin.counted and not self.origin.unchanged():
            return True
        return not all(torch.equal(now, then) for now, then in self.buffers)
