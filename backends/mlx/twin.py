"""A model in another mode beside the model itself, which another thread may be training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import mlx.nn as nn

from tcnzoo.errors import InputError

from .block import Block, arrays

B = TypeVar("B", bound=Block[Any])

CHANGED = (
    "the model was trained by another thread during this call, so its output would mix old and new "
    "weights; predict between training steps, or with a copy of the model"
)


def twin_of(model: B, training: bool) -> B:
    """The same model in a mode of its own, with the arrays that `model` has now."""
    return cast(B, _twin(model, training))


def _twin(item: Any, training: bool) -> Any:
    """The twin of a module, or of a list or dictionary of them; anything else as it is."""
    if isinstance(item, nn.Module):
        twin = item.__class__.__new__(item.__class__)
        twin.__dict__.update(item.__dict__)
        twin.__dict__["_training"] = training
        dict.update(twin, {name: _twin(inner, training) for name, inner in item.items()})
        return twin
    if isinstance(item, dict):
        return {name: _twin(inner, training) for name, inner in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(_twin(inner, training) for inner in item)
    return item


@contextmanager
def evaluating(model: B) -> Iterator[B]:
    """The model in evaluation mode: itself, or a twin while it is in training.

    Raises:
        InputError: another thread trained the model inside.
    """
    turns = model._turns
    if not model.training:
        yield model
        # The mode of a model changes before that of its parts, and may be back by now.
        if model.training or model._turns != turns or turns % 2:
            raise InputError(CHANGED)
        return
    twin = twin_of(model, training=False)
    before = arrays(twin)
    yield twin
    after = arrays(model)
    if len(after) != len(before) or any(a is not b for a, b in zip(after, before, strict=True)):
        raise InputError(CHANGED)


def keep_statistics(model: Block[Any], twin: Block[Any]) -> None:
    """Take over what a twin in training made of the running statistics."""
    for (_, own), (_, part) in zip(model.walk(), twin.walk(), strict=True):
        for name, param in own.spec.own_params().items():
            if not param.trainable:
                own[name] = part[name]
