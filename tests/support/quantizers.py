"""Training steps of a quantiser in each framework's own way, with everything they give."""

from types import SimpleNamespace

import numpy as np
import pytest

import tcnzoo
from tcnzoo.models.outputs import Quantized


def quantizer(**fields):
    """A spec whose codes are spread as noise is; nothing restarts unless that is asked for."""
    plain = {"channels": 5, "codes": 7, "initializer": "normal", "dead_code_threshold": 0.0}
    return {"kind": "vector_quantizer", **plain, **fields}


def residual(shared, **fields):
    inner = {name: value for name, value in quantizer(**fields).items() if name != "kind"}
    return {"kind": "residual_vq", "levels": 3, "shared": shared, "quantizer": inner}


def signal(*shape, seed=0):
    """Noise in float32, (batch, channels, time)."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def train_step(backend, model, x, slope, mask=None):
    """One training forward and backward of sum(slope * output) + vq_loss.

    Args:
        backend: name.
        model: of a quantiser; its averages move.
        x, slope: (batch, channels, time).
        mask: (batch, time) or None.
    Returns:
        `found` (Quantized, numpy, neutral), `gradients` by name with `input`, `weights` after it.
    """
    found, gradients = _WAYS[backend](model, x, slope, mask)
    return SimpleNamespace(
        found=Quantized(*found), gradients=gradients, weights=tcnzoo.get_weights(model)
    )


def _torch(model, x, slope, mask):
    import torch

    model.train()
    values = torch.from_numpy(x).requires_grad_()
    found = model.quantize(values, None if mask is None else torch.from_numpy(mask))
    loss = (found.output * torch.from_numpy(slope)).sum() + found.vq_loss
    named = {"input": values, **dict(model.named_parameters())}
    slopes = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    model.eval()
    table = {name: one.numpy() for name, one in zip(named, slopes, strict=True)}
    return [one.detach().numpy() for one in found], table


def _mlx(model, x, slope, mask):
    import mlx.core as mx

    kept, last = None if mask is None else mx.array(mask), mx.array(np.moveaxis(slope, 1, -1))
    seen = []

    def objective(parameters, values):
        model.update(parameters)
        seen.append(model.quantize(values, kept))
        return (seen[0].output * last).sum() + seen[0].vq_loss

    model.train()
    over = mx.value_and_grad(objective, argnums=(0, 1))
    values = mx.array(np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    _, (slopes, of_input) = over(model.trainable_parameters(), values)
    mx.eval(of_input, slopes, model.parameters(), list(seen[0]))
    model.eval()
    found = [_first(np.array(one)) for one in seen[0]]
    table = {name: np.array(one) for name, one in slopes.items()}
    return found, {"input": _first(np.array(of_input)), **table}


def _keras(model, x, slope, mask):
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients of a method that is no call are taken with TensorFlow here")
    import tensorflow as tf

    last = tf.constant(np.moveaxis(slope, 1, -1))
    kept = None if mask is None else tf.constant(mask)
    named = dict(model.root.named_variables())
    trained = {name: one for name, one in named.items() if one.trainable}

    @tf.function(autograph=False)
    def step(values):
        watched = [values, *(one.value for one in trained.values())]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            found = model.root.quantized(values, kept, training=True)
            loss = tf.reduce_sum(found.output * last) + found.vq_loss
        zero = tf.UnconnectedGradients.ZERO
        return tuple(found), tape.gradient(loss, watched, unconnected_gradients=zero)

    found, (of_input, *slopes) = step(tf.constant(np.ascontiguousarray(np.moveaxis(x, 1, -1))))
    table = {name: one.numpy().T for name, one in zip(trained, slopes, strict=True)}
    found = [_first(one.numpy()) for one in found]
    return found, {"input": _first(of_input.numpy()), **table}


def _first(array):
    """Channels last to channels first, where there are channels."""
    return np.moveaxis(array, -1, 1) if array.ndim == 3 else array


_WAYS = {"torch": _torch, "mlx": _mlx, "keras": _keras}
