"""Arrays to tensors and back, and functions compiled by each Keras backend's own means."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.models.outputs import Output, named_outputs
from tcnzoo.specs import MaskSpec

from .block import Tensor
from .model import SpecModel

Body = Callable[..., Any]


def tensor_of(array: Any, dtype: str) -> Tensor:
    """Turn an array of any framework into a tensor of `dtype`."""
    if ops.is_tensor(array):
        return ops.cast(array, dtype)
    # 16-bit types pass through float32, which every framework reads from numpy.
    through = dtype if dtype in ("float64", "int32") else "float32"
    return ops.convert_to_tensor(to_numpy(array).astype(through), dtype=dtype)


def channels_last(tensor: Tensor) -> Tensor:
    """(batch, channels[, devices], time) to (batch[, devices], time, channels)."""
    return ops.moveaxis(tensor, 1, -1) if len(tensor.shape) > 2 else tensor


def channels_first(tensor: Tensor) -> Tensor:
    """The reverse of `channels_last`."""
    return ops.moveaxis(tensor, -1, 1) if len(tensor.shape) > 2 else tensor


def neutral(tensor: Tensor) -> Array:
    """Copy a tensor, channels last, to a neutral numpy array."""
    array = to_numpy(tensor)
    return np.array(np.moveaxis(array, -1, 1) if array.ndim > 2 else array, order="C")


def neutral_outputs(outputs: Any) -> Output:
    """The outputs of a model as neutral numpy arrays, several as a dictionary by name."""
    outputs = named_outputs(outputs)
    if isinstance(outputs, Mapping):
        return {name: neutral(y) for name, y in outputs.items()}
    return neutral(outputs)


def native_inputs(model: SpecModel, x: Array, embeddings: Sequence[Array]) -> dict[str, Any]:
    """Inputs of `SpecModel.call` from neutral arrays."""
    dtype = model.tcnzoo.dtype
    beside = [tensor_of(each, dtype) for each in embeddings]
    return {"x": channels_last(tensor_of(x, dtype)), "embeddings": beside_last(model, beside)}


def beside_last(model: SpecModel, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What a model takes beside its signal, with channels last where there are some."""
    wanted = model.tcnzoo.embeddings
    return tuple(
        tensor if isinstance(side, MaskSpec) else channels_last(tensor)
        for side, tensor in zip(wanted, tensors, strict=True)
    )


def uncompiled(body: Body) -> Body:
    """The same function, run as it is; under torch without recording for gradients."""
    return _torch(None, body) if keras.backend.backend() == "torch" else body


def compiled(model: SpecModel, body: Body) -> Body:
    """Compile a function of tensors that calls the model; later weights are seen by it.

    Under torch, which compiles nothing here, the function runs without recording for gradients.
    """
    return _COMPILERS[keras.backend.backend()](model, body)


def _tensorflow(model: SpecModel, body: Body) -> Body:
    import tensorflow as tf

    function: Body = tf.function(body, autograph=False, reduce_retracing=True)
    return function


def _jax(model: SpecModel, body: Body) -> Body:
    import jax

    @jax.jit
    def pure(values: list[Tensor], *args: Any) -> Any:
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return body(*args)

    return lambda *args: pure([variable.value for variable in model.variables], *args)


def _torch(model: SpecModel | None, body: Body) -> Body:
    import torch

    function: Body = torch.no_grad()(body)
    return function


_COMPILERS: dict[str, Callable[[SpecModel, Body], Body]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
