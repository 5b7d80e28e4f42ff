"""Runs of a native module on neutral numpy arrays: predictions, gradients, traces."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.models.outputs import Output, Trace, named_outputs
from tcnzoo.specs import MaskSpec

from .block import Block
from .twin import evaluating, keep_statistics, twin_of
from .weights import neutral, to_mlx


def native(
    model: Block[Any], x: Array, embeddings: Sequence[Array] = ()
) -> tuple[mx.array, dict[str, Any]]:
    """The arguments of a model's call: neutral numpy to MLX, channels last, in its float type."""
    dtype = model.tcnzoo.dtype
    signal = to_mlx(np.moveaxis(x, 1, -1), dtype)
    wanted = model.tcnzoo.embeddings
    if not wanted:
        return signal, {}
    others = (
        to_mlx(array if isinstance(side, MaskSpec) else np.moveaxis(array, 1, -1), dtype)
        for side, array in zip(wanted, embeddings, strict=True)
    )
    return signal, {"embeddings": tuple(others)}


def to_neutral(y: mx.array) -> Array:
    """MLX, channels last, to a neutral numpy copy."""
    array = to_numpy(y)
    return np.array(np.moveaxis(array, -1, 1) if array.ndim > 2 else array, order="C")


def neutral_outputs(y: Any) -> Output:
    """What a model returns, as neutral numpy copies."""
    y = named_outputs(y)
    return {name: to_neutral(y[name]) for name in y} if isinstance(y, dict) else to_neutral(y)


def predict(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> Output:
    """Run in evaluation mode."""
    with evaluating(model) as ready:
        signal, inputs = native(model, x, embeddings)
        return neutral_outputs(ready(signal, **inputs))


def trace(model: Block[Any], x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
    """Run in evaluation mode; return the output of every part by path, in order of completion."""
    observer = Trace(to_neutral)
    with evaluating(model) as ready:
        watched = twin_of(ready, training=False)
        for _, part in watched.walk():
            part._observer = observer
        predict(watched, x, embeddings)
    return observer.outputs


def gradients(
    model: Block[Any],
    x: Array,
    target: Any,
    loss: str | Mapping[str, str],
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Differentiate a loss by every parameter that is not frozen, and by `input`."""
    from .losses import plain, total  # which imports what only training needs

    signal, inputs = native(model, x, embeddings)
    losses, targets = plain(loss, target)
    parameters = model.trainable_parameters()  # type: ignore[no-untyped-call]
    ready = twin_of(model, training)

    def objective(tree: Any, signal: mx.array) -> mx.array:
        ready.update(tree)
        return total(losses, ready(signal, **inputs), targets)[0]

    value, (slopes, slope) = mx.value_and_grad(objective, argnums=(0, 1))(parameters, signal)
    if training:
        keep_statistics(model, ready)
    mx.eval(value, slopes, slope, model)
    return float(value), {**neutral(slopes, model.tcnzoo.params), "input": to_neutral(slope)}
