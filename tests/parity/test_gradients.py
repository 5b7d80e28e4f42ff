"""Gradients of every parameter and of the input: against float64, and that against differences."""

import numpy as np
import pytest

import tcnzoo
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    noise,
    reference,
    rows_for,
    weights_of,
)
from tests.support.tcns import tcn


def _block(kind, **fields):
    return {"kind": kind, **fields}


CONV = {"in_channels": 3, "out_channels": 4, "kernel_size": 3}
DENSE = {"in_features": 4, "out_features": 2}
MODELS = {
    "tcn-weight_norm": tcn("add", "global", norm="weight_norm", dropout=0.0, activation="silu"),
    "tcn-batch_norm": tcn("concat", "cumulative", norm="batch_norm", gate=True, dropout=0.0),
    "tcn-layer_norm": tcn(
        norm="layer_norm", skip_connections=True, causal=False, padding_mode="reflect", dropout=0.0,
        activation="gelu", output_projection=2,
    ),
    "tcn-circular": tcn(
        padding_mode="circular", dropout=0.0, activation="elu", squeeze_excitation="global"
    ),
    "classifier": {
        "kind": "sequential",
        "layers": {
            "a": _block(
                "conv_block", **CONV, stride=2, dilation=2, padding="valid", norm="batch_norm",
                activation="tanh", bias=False,
            ),
            "b": _block("pool", mode="adaptive_max", output_size=4),
            "c": _block("pool"),
            "d": _block("dense_block", **DENSE, norm="batch_norm", activation="selu"),
        },
    },
    "decoder": {
        "kind": "sequential",
        "layers": {
            "down": _block("conv1d", **CONV, stride=2, padding_mode="replicate"),
            "up": _block("upsample", factor=2, mode="linear"),
            "grown": _block(
                "conv_transpose1d", in_channels=4, out_channels=6, kernel_size=5, stride=2,
                dilation=2, weight_norm=True, padding="same",
            ),
            "gated": _block("glu"),
            "pool": _block("pool", mode="adaptive_average", output_size=9),
            "end": _block("activation", name="log_softmax"),
        },
    },
    "grouped": _block(
        "conv1d", in_channels=6, out_channels=4, kernel_size=3, groups=2, weight_norm=True, stride=2
    ),
}  # fmt: skip


def _case(name, batch=3, length=19):
    """(spec, weights, x, embeddings, target)."""
    spec = tcnzoo.load_spec(MODELS[name])
    x = noise(batch, spec.input_channels, length)
    target = noise(batch, *spec.output_shape(x.shape[1:]), seed=9)
    return spec, weights_of(spec), x, rows_for(spec, batch, length), target


@pytest.fixture(scope="module")
def float64_gradients():
    """Gradients of torch in float64; they are themselves tested below."""
    pytest.importorskip("torch")
    found = {}

    def compute(name, training):
        if (name, training) not in found:
            spec, weights, x, rows, target = _case(name)
            model = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
            options = {"embeddings": rows, "training": training}
            found[name, training] = tcnzoo.gradients(model, x, target, **options)
        return found[name, training]

    return compute


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_float64(native, name, training, float64_gradients):
    spec, weights, x, rows, target = _case(name)
    model = tcnzoo.create(spec, native, weights=weights)
    loss, found = tcnzoo.gradients(model, x, target, embeddings=rows, training=training)
    expected_loss, expected = float64_gradients(name, training)
    assert_close(loss, expected_loss)
    assert_gradients_close(found, expected)


def _batch_norm_of_the_batch(self, x, stream=None):
    """Batch norm as a training step computes it: statistics of this batch, biased variance."""
    axes = (0, *range(2, x.ndim))
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    shape = (-1,) + (1,) * (x.ndim - 2)
    scaled = (x - mean) / np.sqrt(variance + self.spec.eps)
    return scaled * self.arrays["weight"].reshape(shape) + self.arrays["bias"].reshape(shape)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", MODELS)
def test_float64_gradients_equal_central_differences(
    name, training, float64_gradients, monkeypatch
):
    from tcnzoo.backends.numpy import norm

    if training:
        monkeypatch.setattr(norm.BatchNorm, "forward", _batch_norm_of_the_batch)
    spec, weights, x, rows, target = _case(name)
    loss, gradients = float64_gradients(name, training)
    held = {**{key: array.astype(np.float64) for key, array in weights.items()}, "input": x}
    model = reference(spec, weights)

    def loss_with(key, array):
        moved = held | {key: array}
        signal = moved.pop("input")
        tcnzoo.set_weights(model, moved)
        return np.mean((tcnzoo.predict(model, signal, embeddings=rows) - target) ** 2)

    assert loss == pytest.approx(loss_with("input", x), rel=1e-12)
    generator = np.random.default_rng(4)
    for key, gradient in gradients.items():
        # Two single values of each parameter, and one direction through all of them.
        places = generator.choice(gradient.size, min(2, gradient.size), replace=False)
        ways = [np.eye(1, gradient.size, place).reshape(gradient.shape) for place in places]
        for way in [*ways, generator.standard_normal(gradient.shape)]:
            # Rounding of the loss (1e-16 / 1e-5) and the third derivative (1e-10) stay below 1e-8.
            rise = loss_with(key, held[key] + 1e-5 * way) - loss_with(key, held[key] - 1e-5 * way)
            slope = np.sum(gradient * way)
            assert rise / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-8), key
