"""What is timed: one forward pass, training step or streaming step, in each framework's own way."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tcnzoo
from benchmarks.nets import INPUTS, Net

Call = Callable[[], object]


def signal(length: int, batch: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise, (batch, channels, time)."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((batch, INPUTS, length), dtype=np.float32)


def torch_forward(model: Any, x: Any, device: str | None) -> Call:
    """Inference of a native torch module."""
    import torch

    tensor = torch.from_numpy(x).to(device or "cpu")

    def run() -> None:
        with torch.inference_mode():
            model(tensor)
        if tensor.is_cuda:
            torch.cuda.synchronize()
        elif tensor.device.type == "mps":
            torch.mps.synchronize()

    return run


def torch_train(model: Any, x: Any, device: str | None) -> Call:
    """Forward, backward and an SGD step of a native torch module."""
    import torch

    model.train()
    tensor = torch.from_numpy(x).to(device or "cpu")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)

    def run() -> None:
        optimiser.zero_grad()
        model(tensor).square().mean().backward()
        optimiser.step()
        if tensor.is_cuda:
            torch.cuda.synchronize()
        elif tensor.device.type == "mps":
            torch.mps.synchronize()

    return run


def torch_library_stream(model: Any, x: Any) -> Call:
    """A streaming step of pytorch-tcn, from numpy to numpy as ours."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(x), inference=True).numpy()

    return run


def our_stream(model: Any, x: Any) -> Call:
    """A streaming step of ours, in any backend."""
    state = tcnzoo.init_state(model, x.shape[0])

    def run() -> object:
        nonlocal state
        y, state = tcnzoo.step(model, x, state)
        return y

    return run


def our_forward(model: Any, x: Any) -> Call:
    """Inference by `tcnzoo.predict`, from numpy to numpy."""
    return lambda: tcnzoo.predict(model, x)


def mlx_forward(model: Any, x: Any) -> Call:
    """Inference of a native MLX module."""
    import mlx.core as mx

    array = mx.array(np.ascontiguousarray(x.transpose(0, 2, 1)))
    mx.eval(array)
    return lambda: mx.eval(model(array))


def mlx_buffered_stream(model: Any, x: Any) -> Call:
    """A streaming step of an MLX module that keeps buffers, from numpy to numpy as ours."""
    import mlx.core as mx

    def run() -> object:
        y = model(mx.array(np.ascontiguousarray(x.transpose(0, 2, 1))))
        mx.eval(y, model.parameters())  # buffers included
        return np.array(y)

    return run


def mlx_train(model: Any, x: Any) -> Call:
    """Value and gradient of a native MLX module, and an SGD step."""
    import mlx.core as mx
    from mlx import nn, optimizers

    model.train()
    array = mx.array(np.ascontiguousarray(x.transpose(0, 2, 1)))
    optimiser = optimizers.SGD(1e-4)
    grad = nn.value_and_grad(model, lambda x: mx.mean(mx.square(model(x))))

    def run() -> None:
        _, gradients = grad(array)
        optimiser.update(model, gradients)
        mx.eval(model.parameters())

    return run


def keras_forward(model: Any, x: Any) -> Call:
    """Inference of a Keras model in a compiled function."""
    import tensorflow as tf

    array = tf.constant(x.transpose(0, 2, 1))
    compiled = tf.function(lambda signal: model(signal, training=False))
    return lambda: compiled(array)


def keras_train(model: Any, x: Any) -> Call:
    """`train_on_batch` of a compiled Keras model."""
    import keras

    array = np.ascontiguousarray(x.transpose(0, 2, 1))
    target = np.zeros(model(array).shape, dtype=np.float32)
    model.compile(optimizer=keras.optimizers.SGD(1e-4), loss="mse")
    return lambda: model.train_on_batch(array, target)


def train_signal(net: Net) -> Any:
    """The signal of a training step."""
    return signal(net.train_length)
