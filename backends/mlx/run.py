"""Runs of a native module on neutral numpy arrays: predictions, gradients, traces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.models.outputs import ROOT, Output, first

from .block import Block, blocks
from .kernels.functions import logsumexp, softplus
from .twin import evaluating, keep_statistics, twin_of
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


def predict(model: Block, x: Array, embeddings: Sequence[Array]) -> Output:
    """Run in evaluation mode."""
    with evaluating(model) as ready:
        y = ready(native(model, x), **inputs(model, embeddings))
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

    with evaluating(model) as ready:
        watched = twin_of(ready, training=False)
        for part in blocks(watched):
            part._observer = observe
        predict(watched, x, embeddings)
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

    ready = twin_of(model, training)

    def objective(tree: Any, signal: mx.array) -> mx.array:
        ready.update(tree)
        return _value(ready(signal, **rows), wanted, loss)

    value, (slopes, slope) = mx.value_and_grad(objective, argnums=(0, 1))(
        parameters, native(model, x)
    )
    if training:
        keep_statistics(model, ready)
    mx.eval(value, slopes, slope, model)
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
