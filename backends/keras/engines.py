"""What training needs of each Keras backend: differentiation, and compiled functions with state."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from .block import Tensor

Body = Callable[..., Any]
Run = Callable[[], tuple[Tensor, Any]]


def function(variables: Sequence[Any], body: Body) -> Body:
    """Compile a function that reads and assigns variables; torch compiles nothing here.

    Each shape of the arguments is compiled by itself: a trace that has become general in mid-run
    could round otherwise than that of a run that was resumed.

    Args:
        variables: all that the function may read or assign.
        body: takes and returns nested tensors.
    """
    return _FUNCTIONS[keras.backend.backend()](list(variables), body)


def slopes(variables: Sequence[Any], moving: Sequence[Any], run: Run) -> tuple[Any, list[Tensor]]:
    """What `run` returns, and the gradient of its loss by some variables; zeros where it has none.

    Args:
        variables: all that `run` may read or assign.
        moving: of these, the ones to differentiate by.
        run: returns (loss, scalars by name).
    """
    return _SLOPES[keras.backend.backend()](list(variables), list(moving), run)


def seed_masks(seed: int) -> None:
    """Seed what draws dropout masks besides Keras's own generators: on torch, torch's."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def _tensorflow_function(variables: list[Any], body: Body) -> Body:
    import tensorflow as tf

    compiled: Body = tf.function(body, autograph=False)
    return compiled


def _jax_function(variables: list[Any], body: Body) -> Body:
    import jax

    @jax.jit
    def pure(values: list[Tensor], *args: Any) -> Any:
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
            result = body(*args)
        return result, [scope.get_current_value(variable) for variable in variables]

    def call(*args: Any) -> Any:
        result, after = pure([variable.value for variable in variables], *args)
        for variable, value in zip(variables, after, strict=True):
            variable.assign(value)
        return result

    return call


def _torch_function(variables: list[Any], body: Body) -> Body:
    import torch

    function: Body = torch.no_grad()(body)
    return function


def _tensorflow_slopes(variables: list[Any], moving: list[Any], run: Run) -> tuple[Any, Any]:
    import tensorflow as tf

    watched = [variable.value for variable in moving]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        result = run()
    return result, tape.gradient(
        result[0], watched, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )


def _jax_slopes(variables: list[Any], moving: list[Any], run: Run) -> tuple[Any, Any]:
    import jax

    chosen = {id(variable) for variable in moving}
    others = [variable for variable in variables if id(variable) not in chosen]
    fixed = [(variable, variable.value) for variable in others]

    def objective(values: list[Tensor]) -> tuple[Tensor, Any]:
        with keras.StatelessScope([*zip(moving, values, strict=True), *fixed]) as scope:
            result = run()
        return result[0], (result, [scope.get_current_value(variable) for variable in others])

    values = [variable.value for variable in moving]
    (_, (result, after)), gradients = jax.value_and_grad(objective, has_aux=True)(values)
    for variable, value in zip(others, after, strict=True):
        variable.assign(value)
    return result, gradients


def _torch_slopes(variables: list[Any], moving: list[Any], run: Run) -> tuple[Any, Any]:
    import torch

    watched = [variable.value for variable in moving]
    with torch.enable_grad():
        loss, rest = run()
        gradients = torch.autograd.grad(loss, watched, allow_unused=True, materialize_grads=True)
    detached = {name: value.detach() for name, value in rest.items()}
    return (loss.detach(), detached), list(gradients)


_FUNCTIONS: dict[str, Callable[[list[Any], Body], Body]] = {
    "tensorflow": _tensorflow_function,
    "jax": _jax_function,
    "torch": _torch_function,
}
_SLOPES: dict[str, Callable[[list[Any], list[Any], Run], tuple[Any, Any]]] = {
    "tensorflow": _tensorflow_slopes,
    "jax": _jax_slopes,
    "torch": _torch_slopes,
}
