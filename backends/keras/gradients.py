"""Losses, and their gradients by each Keras backend's own differentiation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tcnzoo.models.outputs import first

from .block import Tensor
from .model import SpecModel
from .types import wide

LossOf = Callable[[Tensor], Tensor]
Found = tuple[Tensor, list[Tensor], Tensor]


def _cross_entropy(y: Tensor, target: Tensor) -> Tensor:
    """Logits over the last axis against integer classes."""
    chosen = ops.one_hot(target, y.shape[-1], dtype=y.dtype)
    return -ops.mean(ops.sum(ops.log_softmax(y, axis=-1) * chosen, axis=-1))


# Each takes an output and a target, channels last, and gives the mean over all values.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda y, target: ops.mean(ops.square(y - target)),
    "mae": lambda y, target: ops.mean(ops.abs(y - target)),
    "bce": lambda y, target: ops.mean(ops.softplus(y) - y * target),
    "cross_entropy": _cross_entropy,
    "term": lambda y, _: y,
}


def value_of(y: Tensor, target: Any, loss: str | Mapping[str, str]) -> Tensor:
    """A loss, or the sum of those of several outputs."""
    if isinstance(loss, str):
        return LOSSES[loss](wide(first(y)), target)
    values = [value_of(y[name], target[name], one) for name, one in loss.items()]
    return ops.sum(ops.stack(values))


def differentiate(
    model: SpecModel,
    variables: Sequence[Any],
    inputs: Mapping[str, Any],
    loss_of: LossOf,
    training: bool,
) -> Found:
    """Loss on one batch and its gradients; training also moves the running statistics.

    Args:
        model: of one output.
        variables: Keras variables to differentiate by.
        inputs: `x` and `embeddings`, tensors in native layout.
        loss_of: from the model's output to a scalar.
        training: as in `SpecModel.call`.
    Returns:
        (loss, gradient of each variable, gradient of x).
    """

    def run(x: Tensor) -> Tensor:
        return loss_of(model(**{**inputs, "x": x}, training=training))

    return _BRANCHES[keras.backend.backend()](model, list(variables), run, inputs["x"])


def _tensorflow(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Found:
    import tensorflow as tf

    watched = [*(variable.value for variable in variables), x]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        loss = run(x)
    *found, of_input = tape.gradient(
        loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return loss, found, of_input


def _jax(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Found:
    import jax

    chosen = {id(variable) for variable in variables}
    others = [variable for variable in model.variables if id(variable) not in chosen]

    @jax.jit
    def pure(values: list[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
            loss = run(x)
        return loss, [scope.get_current_value(variable) for variable in others]

    values = [variable.value for variable in variables]
    over = jax.value_and_grad(pure, argnums=(0, 1), has_aux=True)
    (loss, after), (found, of_input) = over(values, x)
    for variable, value in zip(others, after, strict=True):
        if value is not None:
            variable.assign(value)
    return loss, found, of_input


def _torch(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Found:
    import torch

    x = x.detach().requires_grad_()
    loss = run(x)
    watched = [*(variable.value for variable in variables), x]
    *found, of_input = torch.autograd.grad(loss, watched, materialize_grads=True)
    return loss.detach(), found, of_input


_BRANCHES: dict[str, Callable[..., Found]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
