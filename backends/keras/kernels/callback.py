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

    found = tf.numpy_function(function, inputs, [one.dtype for one in like], stateful=False)
    for one, wanted in zip(found, like, strict=True):
        one.set_shape(wanted.shape)
    return list(found)


def _jax(function: Host, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    import jax

    shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in like]
    found: list[Tensor] = jax.pure_callback(
        lambda *arrays: function(*(np.asarray(one) for one in arrays)), shapes, *inputs
    )
    return found


def _torch(function: Host, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    import torch

    found = function(*(to_numpy(one) for one in inputs))
    return [torch.from_numpy(one).to(to) for one, to in zip(found, like, strict=True)]


_WAYS: dict[str, Callable[[Host, list[Tensor], list[Tensor]], list[Tensor]]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
