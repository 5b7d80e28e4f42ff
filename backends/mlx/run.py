"""Runs of a native module on neutral numpy arrays: predictions, gradients, traces."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.backend import ROOT, Output
from tcnzoo.params import Weights

from .block import Block, blocks
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
    return np.array(np.moveaxis(to_numpy(y), -1, 1), order="C")


def first(y: Any) -> mx.array:
    """The output that the next layer would see: a temporal block by itself has two."""
    return y[0] if isinstance(y, tuple) else y


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
        return {"output": to_neutral(y[0]), "out": to_neutral(y[1])}
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
    return (mx.logsumexp(y, axis=-1) - picked).mean()


LOSSES: dict[str, Callable[[mx.array, mx.array], mx.array]] = {
    "mse": lambda y, target: mx.square(y - target).mean(),
    "mae": lambda y, target: mx.abs(y - target).mean(),
    "bce": lambda y, target: (mx.logaddexp(y, 0.0) - y * target).mean(),
    "cross_entropy": cross_entropy,
}


def gradients(
    model: Block,
    x: Array,
    target: Array,
    loss: str,
    embeddings: Sequence[Array],
    training: bool,
) -> tuple[float, Weights]:
    """Differentiate a loss by every parameter that is not frozen, and by `input`."""
    rows, wanted = inputs(model, embeddings), _target(loss, target)
    parameters = model.trainable_parameters()  # type: ignore[no-untyped-call]

    def objective(tree: Any, signal: mx.array) -> mx.array:
        model.update(tree)
        return LOSSES[loss](first(model(signal, **rows)).astype(mx.float32), wanted)

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


def _target(loss: str, target: Array) -> mx.array:
    """The target as the loss takes it: classes, or values with channels last."""
    if loss == "cross_entropy":
        return mx.array(np.asarray(target, dtype=np.int32))
    return to_mlx(np.moveaxis(target, 1, -1), "float32")
