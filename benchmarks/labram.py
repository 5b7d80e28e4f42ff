"""LaBraM-base beside braindecode's in torch, and beside the same in plain mlx.nn and Keras layers.

Each contender starts from weights of its own; nothing but time and memory is compared here, for
tests hold the numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import tcnzoo
from benchmarks.tasks import Call
from benchmarks.timing import Result, interleaved
from benchmarks.vq import extra_memory
from tcnzoo.specs.electrodes import TABLES
from tcnzoo.zoo.foreign.labram import EPS, TABLE, Encoder, classifier_document

# Electrodes and patches of a signal: 77 and 257 tokens with the leading one.
SIZES = ((19, 4), (64, 4))
BATCH, PATCH = 4, 200
WIDTH, DEPTH, HEADS, HIDDEN = 200, 12, 10, 800
NET = "LaBraM-base"
FORWARD, TRAIN = "forward", "training step"


def _names(electrodes: int) -> tuple[str, ...]:
    """Electrodes of the input."""
    return TABLES[TABLE][:electrodes]


def _signal(electrodes: int, patches: int) -> Any:
    """Noise, (batch, electrodes, steps)."""
    shape = (BATCH, electrodes, patches * PATCH)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _ours(electrodes: int, patches: int, backend: str, device: str | None = None) -> Any:
    """Our model; the time rows are as many as braindecode makes."""
    encoder = Encoder(electrodes=_names(electrodes), rows=patches + 1)
    return tcnzoo.create(classifier_document(encoder, 1), backend, device=device)


def _labels(electrodes: int, patches: int) -> str:
    """Of a result."""
    return f"{electrodes * patches + 1} tokens, batch {BATCH}"


# --- torch ----------------------------------------------------------------------------------------


def _braindecode(electrodes: int, patches: int, device: str | None) -> Any:
    """braindecode's net, whose electrodes are told in each call."""
    import warnings

    from torch import nn

    from tests.support.braindecode_nets import braindecode_models

    class Told(nn.Module):
        """The net with the names of the electrodes."""

        def __init__(self) -> None:
            super().__init__()
            steps = patches * PATCH
            self.net = braindecode_models().Labram(
                n_chans=electrodes, n_times=steps, sfreq=PATCH, n_outputs=1, use_mean_pooling=True
            )
            self.names = list(_names(electrodes))

        def forward(self, x: Any) -> Any:
            return self.net(x, ch_names=self.names)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of electrodes that are not all of its list
        return Told().to(device)


def _torch_call(model: Any, x: Any, task: str) -> Call:
    """One forward pass in inference, or one step of SGD."""
    import torch

    model.train(task == TRAIN)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def forward() -> None:
        with torch.inference_mode():
            model(x)
        _wait(x)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        _wait(x)

    return step if task == TRAIN else forward


def _wait(x: Any) -> None:
    """Until an accelerator is done."""
    import torch

    if x.is_cuda:
        torch.cuda.synchronize()


def labram_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our torch backend beside braindecode, with the extra memory of a call."""
    import torch

    torch.manual_seed(0)
    for size in SIZES:
        pair = {
            "braindecode": _braindecode(*size, device),
            "tcnzoo torch": _ours(*size, "torch", device),
        }
        x = torch.from_numpy(_signal(*size)).to(device)
        for task in (FORWARD, TRAIN):
            calls = {name: _torch_call(model, x, task) for name, model in pair.items()}
            seconds, ratio, rounds = interleaved(calls, budget=budget)
            note = _labels(*size)
            if device is None:
                taken = ", ".join(f"{name} {extra_memory(run):.0f}" for name, run in calls.items())
                note += f"; extra memory in MiB: {taken}"
            threads = torch.get_num_threads()
            yield Result(NET, task, device or "cpu", seconds, ratio, rounds, threads, note)


# --- MLX ------------------------------------------------------------------------------------------


def _plain_mlx(electrodes: int, patches: int) -> Any:
    """The model as one writes it with mlx.nn."""
    import mlx.core as mx
    from mlx import nn

    class Block(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """Attention and two dense layers."""

        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=EPS), nn.LayerNorm(WIDTH, eps=EPS)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            size = WIDTH // HEADS
            self.q_norm, self.k_norm = nn.LayerNorm(size, eps=EPS), nn.LayerNorm(size, eps=EPS)
            self.proj = nn.Linear(WIDTH, WIDTH)
            self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
            self.scale1, self.scale2 = mx.full((WIDTH,), 0.1), mx.full((WIDTH,), 0.1)

        def __call__(self, x: Any) -> Any:
            batch, tokens, _ = x.shape
            parts = mx.split(self.qkv(self.norm1(x)), 3, axis=-1)
            split = [one.reshape(batch, tokens, HEADS, -1).swapaxes(1, 2) for one in parts]
            answer = mx.fast.scaled_dot_product_attention(
                self.q_norm(split[0]), self.k_norm(split[1]), split[2],
                scale=(WIDTH // HEADS) ** -0.5,
            )  # fmt: skip
            x = x + self.scale1 * self.proj(answer.swapaxes(1, 2).reshape(x.shape))
            return x + self.scale2 * self.fc2(nn.gelu(self.fc1(self.norm2(x))))

    class Labram(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """The whole."""

        def __init__(self) -> None:
            super().__init__()
            self.convs = [nn.Conv2d(1, 8, (1, 15), (1, 8), (0, 7))]
            self.convs += [nn.Conv2d(8, 8, (1, 3), padding=(0, 1)) for _ in range(2)]
            self.norms = [nn.GroupNorm(4, 8, pytorch_compatible=True) for _ in range(3)]
            self.cls, self.cls_row = mx.zeros((1, 1, WIDTH)), mx.zeros((1, 1, WIDTH))
            self.electrodes = mx.zeros((electrodes, 1, WIDTH))
            self.times = mx.zeros((1, patches, WIDTH))
            self.blocks = [Block() for _ in range(DEPTH)]
            self.norm, self.head = nn.LayerNorm(WIDTH, eps=EPS), nn.Linear(WIDTH, 1)

        def __call__(self, x: Any) -> Any:
            x = x.reshape(len(x), electrodes * patches, PATCH, 1)
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = nn.gelu(norm(conv(x)))
            rows = (self.electrodes + self.times).reshape(1, -1, WIDTH)
            x = x.reshape(*x.shape[:2], WIDTH) + rows
            first = mx.broadcast_to(self.cls + self.cls_row, (len(x), 1, WIDTH))
            x = mx.concatenate([first, x], axis=1)
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x[:, 1:].mean(axis=1)))

    return Labram()


def _mlx_call(model: Any, x: Any, task: str) -> Call:
    """One forward pass, or the gradient of every weight."""
    import mlx.core as mx
    from mlx import nn

    slope = nn.value_and_grad(model, lambda signal: mx.square(model(signal)).mean())
    model.train(task == TRAIN)
    return lambda: mx.eval(slope(x) if task == TRAIN else model(x))


def labram_mlx_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our MLX backend beside plain mlx.nn."""
    import mlx.core as mx

    for size in SIZES:
        x = _signal(*size)
        plain, ours = _plain_mlx(*size), _ours(*size, "mlx")
        for task in (FORWARD, TRAIN):
            calls = {
                "mlx.nn": _mlx_call(plain, mx.array(x), task),
                "tcnzoo mlx": _mlx_call(ours, mx.array(x.swapaxes(1, 2)), task),
            }
            seconds, ratio, rounds = interleaved(calls, budget=budget)
            yield Result(NET, task, device or "cpu", seconds, ratio, rounds, 0, _labels(*size))


# --- Keras ----------------------------------------------------------------------------------------


def _plain_keras(electrodes: int, patches: int) -> Any:
    """The model of Keras's own layers, channels last; two embeddings are its tables of rows."""
    import keras
    from keras import layers, ops

    tokens = electrodes * patches

    class Rows(layers.Layer):
        """The rows of electrodes and of places in time, and the leading token."""

        def build(self, shape: Any) -> None:
            self.first = self.add_weight(shape=(1, 1, WIDTH), name="first")
            self.places = self.add_weight(shape=(electrodes, 1, WIDTH), name="places")
            self.times = self.add_weight(shape=(1, patches, WIDTH), name="times")

        def call(self, x: Any) -> Any:
            rows = ops.reshape(self.places + self.times, (1, tokens, WIDTH))
            first = ops.broadcast_to(self.first, (ops.shape(x)[0], 1, WIDTH))
            return ops.concatenate([first, x + rows], axis=1)

    class Scale(layers.Layer):
        """A factor for each channel."""

        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(WIDTH,), initializer="ones", name="factor")

        def call(self, x: Any) -> Any:
            return x * self.factor

    def heads(x: Any, normed: bool) -> Any:
        x = layers.Reshape((tokens + 1, HEADS, WIDTH // HEADS))(x)
        return layers.LayerNormalization(epsilon=EPS)(x) if normed else x

    def norm(x: Any) -> Any:
        return layers.LayerNormalization(epsilon=EPS)(x)

    signal = keras.Input((patches * PATCH, electrodes))
    x = layers.Permute((2, 1))(signal)
    x = layers.Reshape((tokens, PATCH, 1))(x)
    x = layers.ZeroPadding2D((0, 7))(x)
    x = layers.Conv2D(8, (1, 15), (1, 8))(x)
    for place in range(3):
        if place:
            x = layers.Conv2D(8, (1, 3), padding="same")(x)
        x = layers.GroupNormalization(4, epsilon=1e-5)(x)
        x = layers.Activation("gelu")(x)
    x = Rows()(layers.Reshape((tokens, WIDTH))(x))
    for _ in range(DEPTH):
        y = layers.Dense(3 * WIDTH, use_bias=False)(norm(x))
        q, k, v = (y[..., part * WIDTH : (part + 1) * WIDTH] for part in range(3))
        y = ops.dot_product_attention(heads(q, True), heads(k, True), heads(v, False))
        y = layers.Dense(WIDTH)(layers.Reshape((tokens + 1, WIDTH))(y))
        x = x + Scale()(y)
        y = layers.Dense(WIDTH)(layers.Dense(HIDDEN, activation="gelu")(norm(x)))
        x = x + Scale()(y)
    x = norm(layers.GlobalAveragePooling1D()(x[:, 1:]))
    return keras.Model(signal, layers.Dense(1)(x))


def _keras_call(model: Any, x: Any, task: str) -> Call:
    """One forward pass in a graph, or one step of SGD."""
    import keras

    if task == FORWARD:
        return lambda: model.predict_on_batch(x)
    model.compile(keras.optimizers.SGD(1e-6), loss="mse")
    target = np.zeros((len(x), 1), np.float32)
    return lambda: model.train_on_batch(x, target)


def labram_keras_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our Keras backend beside Keras's own layers."""
    for size in SIZES:
        x = np.ascontiguousarray(_signal(*size).swapaxes(1, 2))
        pair = {"keras layers": _plain_keras(*size), "tcnzoo keras": _ours(*size, "keras")}
        for task in (FORWARD, TRAIN):
            calls = {name: _keras_call(model, x, task) for name, model in pair.items()}
            seconds, ratio, rounds = interleaved(calls, budget=budget)
            yield Result(NET, task, device or "cpu", seconds, ratio, rounds, 0, _labels(*size))
