"""Gradients of a loss by each Keras backend's own differentiation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .block import Tensor
from .model import SpecModel

LossOf = Callable[[Any], Tensor]
# The loss, its gradient by each variable, and that by the input.
Gradients = tuple[Tensor, list[Tensor], Tensor]


def differentiate(
    model: SpecModel,
    variables: Sequence[Any],
    inputs: Mapping[str, Any],
    loss_of: LossOf,
    training: bool,
) -> Gradients:
    """Loss on one batch and its gradients; training also moves the running statistics.

    Args:
        variables: Keras variables to differentiate by.
        inputs: `x` and `embeddings`, tensors in native layout.
        loss_of: from the model's outputs to a scalar.
        training: as in `SpecModel.call`.
    Returns:
        (loss, gradient of each variable, gradient of x).
    """

    def run(x: Tensor) -> Tensor:
        return loss_of(model(**{**inputs, "x": x}, training=training))

    return _BRANCHES[keras.backend.backend()](model, list(variables), run, inputs["x"])


def _tensorflow(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Gradients:
    import tensorflow as tf

    watched = [*(variable.value for variable in variables), x]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        loss = run(x)
    *by_variable, by_input = tape.gradient(
        loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return loss, by_variable, by_input


def _jax(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Gradients:
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
    (loss, after), (by_variable, by_input) = over(values, x)
    for variable, value in zip(others, after, strict=True):
        if value is not None:
            variable.assign(value)
    return loss, by_variable, by_input


def _torch(model: SpecModel, variables: list[Any], run: LossOf, x: Tensor) -> Gradients:
    import torch

    x = x.detach().requires_grad_()
    loss = run(x)
    watched = [*(variable.value for variable in variables), x]
    *by_variable, by_input = torch.autograd.grad(loss, watched, materialize_grads=True)
    return loss.detach(), by_variable, by_input


_BRANCHES: dict[str, Callable[..., Gradients]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
