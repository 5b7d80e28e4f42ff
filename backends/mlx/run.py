"""Runs of a native module on neutral numpy arrays: predictions, gradients, traces."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.backend import ROOT, Output, first
from tcnzoo.params import Weights

from .block import Block, blocks
from .functions import logsumexp, softplus
from .types import wide
from .weights import neutral, to_mlx


def native(model: Block, x: Array) -> mx.array:
    """Neutral numpy to MLX: channels last, in the model's float type."""
    return to_mlx(np.moveaxis(x, 1, -1), model.tcnzoo.dtype)


def inputs(model: Block, embeddings: Sequence[Array]) -> dict[str, Any]:
    """Keyword inputs of the root block."""
    rows = tuple(native(model, row) for row in embeddings)
    return {"embeddings": rows} if model.spec.embedding_specs else {}


def to_neutral(y: mx.array) -> Array:
    """MLX, channels last, to a neutral numpy copy."""
    array = to_numpy(y)
    return np.array(np.moveaxis(array, -1, 1) if array.ndim > 2 else array, order="C")


@contextmanager
def evaluating(model: Block) -> Iterator[None]:
    """Evaluation mode inside; afterwards each part of a model in training is as it was."""
    parts = [part for part in blocks(model) if part.training] if model.training else []
    for part in parts:
        part._training = False
    try:
        yield
    finally:
        for part in parts:
            part._training = True


def predict(model: Block, x: Array, embeddings: Sequence[Array]) -> Output:
    """Run in evaluation mode."""
    with evaluating(model):
        y = model(native(model, x), **inputs(model, embeddings))
    if isinstance(y, tuple):
        y = {"output": y[0], "out": y[1]}
    if isinstance(y, dict):
        return {name: to_neutral(one) for name, one in y.items()}
    return to_neutral(y)


def trace(model: Block, x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run in evaluation mode; return the output of every part by path, in order of completion."""
    seen: dict[str, Array] = {}

    def observe(path: str, y: Any) -> None:
        name = path or ROOT
        seen.pop(name, None)  # a part that is used twice counts where it ends for good
        seen[name] = to_neutral(first(y))

    for part in blocks(model):
        part._observer = observe
    try:
        predict(model, x, embeddings)
    finally:
        for part in blocks(model):
            part._observer = None
    return seen


def cross_entropy(y: mx.array, target: mx.array) -> mx.array:
    """Mean of -log softmax(y)[target], over (batch, ..., channels) and (batch, ...)."""
    picked = mx.take_along_axis(y, target[..., None], axis=-1).squeeze(-1)
    return (logsumexp(y).squeeze(-1) - picked).mean()


LOSSES: dict[str, Callable[[mx.array, mx.array], mx.array]] = {
    "mse": lambda y, target: mx.square(y - target).mean(),
    "mae": lambda y, target: mx.abs(y - target).mean(),
    "bce": lambda y, target: (softplus(y) - y * target).mean(),
    "cross_entropy": cross_entropy,
    "term": lambda y, _: y,
}


def gradients(
    model: Block,
    x: Array,
    target: Any,
    loss: str | Mapping[str, str],
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Differentiate a loss by every parameter that is not frozen, and by `input`."""
    rows, wanted = inputs(model, embeddings), _targets(loss, target)
    parameters = model.trainable_parameters()  # type: ignore[no-untyped-call]

    def objective(tree: Any, signal: mx.array) -> mx.array:
        model.update(tree)
        return _value(model(signal, **rows), wanted, loss)

    model.train(training)
    try:
        value, (slopes, slope) = mx.value_and_grad(objective, argnums=(0, 1))(
            parameters, native(model, x)
        )
        mx.eval(value, slopes, slope, model)
    finally:
        model.update(parameters)
        model.eval()
    found = neutral(slopes, model.tcnzoo.params)
    return float(value), {**found, "input": to_neutral(slope)}


def _value(y: Any, wanted: Any, loss: str | Mapping[str, str]) -> mx.array:
    """A loss, or the sum of those of several outputs."""
    if isinstance(loss, str):
        return LOSSES[loss](wide(first(y)), wanted)
    return mx.stack([_value(y[name], wanted[name], one) for name, one in loss.items()]).sum()


def _targets(loss: str | Mapping[str, str], target: Any) -> Any:
    """The target as the loss takes it: classes, or values with channels last; one for each loss."""
    if not isinstance(loss, str):
        return {name: _targets(one, target.get(name)) for name, one in loss.items()}
    if loss == "term":
        return mx.zeros(())
    if loss == "cross_entropy":
        return mx.array(np.asarray(target, dtype=np.int32))
    return to_mlx(np.moveaxis(target, 1, -1), "float32")
