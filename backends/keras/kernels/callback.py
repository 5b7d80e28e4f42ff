"""Numpy functions inside a model's graph, by each Keras backend's own means."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tcnzoo.arrays import Array, to_numpy

from ..block import Tensor

Host = Callable[..., list[Array]]


def on_host(function: Host, inputs: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """Call a numpy function on tensors.

    Args:
        function: from numpy arrays to a list of them.
        inputs: its arguments.
        like: tensors of the shapes and types of what it returns.
    """
    return _WAYS[keras.backend.backend()](function, list(inputs), list(like))


def _tensorflow(function: Host, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    import tensorflow as tf

    arrays = tf.numpy_function(function, inputs, [tensor.dtype for tensor in like], stateful=False)
    for array, tensor in zip(arrays, like, strict=True):
        array.set_shape(tensor.shape)
    return list(arrays)


def _jax(function: Host, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    import jax

    shapes = [jax.ShapeDtypeStruct(tensor.shape, tensor.dtype) for tensor in like]
    outputs: list[Tensor] = jax.pure_callback(
        lambda *arrays: function(*(np.asarray(array) for array in arrays)), shapes, *inputs
    )
    return outputs


def _torch(function: Host, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    import torch

    arrays = function(*(to_numpy(tensor) for tensor in inputs))
    return [torch.from_numpy(array).to(to) for array, to in zip(arrays, like, strict=True)]


_WAYS: dict[str, Callable[[Host, list[Tensor], list[Tensor]], list[Tensor]]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
