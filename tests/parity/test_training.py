"""Losses, running statistics and dropout of a training step."""

import numpy as np
import pytest

import tcnzoo
from tests.support.compare import assert_close, noise, reference, weights_of

# A mean over 100 float32 values near 1, five times over.
STATISTICS = 1e-6


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _cross_entropy(y, target):
    logs = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
    return -np.mean(np.take_along_axis(logs, target[:, None], axis=1))


LOSSES = {
    "mse": lambda y, t: np.mean((y - t) ** 2),
    "mae": lambda y, t: np.mean(np.abs(y - t)),
    "bce": lambda y, t: -np.mean(t * np.log(_sigmoid(y)) + (1 - t) * np.log(_sigmoid(-y))),
    "cross_entropy": _cross_entropy,
}


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 7)], ids=["vector", "signal"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_equals_its_formula_and_its_gradient_the_difference(native, loss, shape):
    spec = {"kind": "dense", "in_features": 3, "out_features": 5}
    weights, x = weights_of(spec), noise(*shape)
    wanted = (4, 5, *shape[2:])
    target = _sigmoid(noise(*wanted, seed=3))
    if loss == "cross_entropy":
        target = np.random.default_rng(2).integers(0, 5, (4, *shape[2:]))
    model = tcnzoo.create(spec, native, weights=weights)
    value, gradients = tcnzoo.gradients(model, x, target, loss)

    def loss_at(signal):
        return LOSSES[loss](tcnzoo.predict(reference(spec, weights), signal), target)

    assert_close(value, loss_at(x))
    way = noise(*shape, seed=8)
    slope = (loss_at(x + 1e-6 * way) - loss_at(x - 1e-6 * way)) / 2e-6
    assert np.sum(gradients["input"] * way) == pytest.approx(slope, rel=1e-4)


def _statistics_by_hand(spec, weights, batches, kernel, norm, momentum):
    """Running mean and variance after `batches`, in float64, of a batch norm behind one kernel."""
    mean = weights[f"{norm}.running_mean"].astype(np.float64)
    variance = weights[f"{norm}.running_var"].astype(np.float64)
    for x in batches:
        y = x
        if kernel:
            held = {
                name.removeprefix(f"{kernel}."): a for name, a in weights.items() if kernel in name
            }
            y = tcnzoo.predict(reference(spec, held), x)
        axes = (0, *range(2, y.ndim))
        mean = (1 - momentum) * mean + momentum * y.mean(axis=axes)
        variance = (1 - momentum) * variance + momentum * y.var(axis=axes, ddof=1)
    return mean, variance


CONV = {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": 2}
DENSE = {"in_features": 3, "out_features": 4}


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
@pytest.mark.parametrize(
    "kind, fields, shape",
    [("conv1d", CONV, (3, 3, 17)), ("dense", DENSE, (5, 3)), ("dense", DENSE, (3, 3, 7))],
    ids=["conv", "dense-vector", "dense-signal"],
)
def test_running_statistics_after_five_batches(native, kind, fields, shape, momentum):
    norm = {"kind": "batch_norm", "momentum": momentum}
    block = {"conv1d": "conv_block", "dense": "dense_block"}[kind]
    kernel = {"conv1d": "conv", "dense": "dense"}[kind]
    spec = {"kind": block, **fields, "norm": norm, "activation": "tanh"}
    weights = weights_of(spec)
    model = tcnzoo.create(spec, native, weights=weights)
    batches = [2.0 * noise(*shape, seed=seed) + 0.5 for seed in range(5)]
    for x in batches:
        target = np.zeros((shape[0], *tcnzoo.load_spec(spec).output_shape(shape[1:])))
        tcnzoo.gradients(model, x, target, training=True)
    mean, variance = _statistics_by_hand(
        {"kind": kind, **fields}, weights, batches, kernel, "norm", momentum
    )
    after = tcnzoo.get_weights(model)
    assert_close(after["norm.running_mean"], mean, STATISTICS)
    assert_close(after["norm.running_var"], variance, STATISTICS)
    for name in weights:
        if "running" not in name:
            np.testing.assert_array_equal(after[name], weights[name])


def test_statistics_stay_in_evaluation(native):
    spec = {"kind": "conv_block", **CONV, "norm": "batch_norm"}
    model = tcnzoo.create(spec, native, weights=weights_of(spec))
    before = tcnzoo.get_weights(model)
    x = noise(3, 3, 17)
    tcnzoo.predict(model, x)
    tcnzoo.gradients(model, x, np.zeros((3, 4, 9)))
    after = tcnzoo.get_weights(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_the_model_is_in_evaluation_mode_after_training_gradients(native):
    spec = {"kind": "dense_block", **DENSE, "dropout": 0.5}
    model, x = tcnzoo.create(spec, native), noise(50, 3)
    before = tcnzoo.predict(model, x)
    tcnzoo.gradients(model, x, np.zeros((50, 4)), training=True)
    np.testing.assert_array_equal(tcnzoo.predict(model, x), before)


def test_dropout_acts_in_training_and_keeps_the_mean(native):
    # Of y = dropout(x), the gradient of the mean squared error shows the mask: 2 y m / n.
    model = tcnzoo.create({"kind": "dropout", "rate": 0.25}, native)
    x = np.ones((40, 50, 10))
    _, quiet = tcnzoo.gradients(model, x, np.zeros_like(x))
    np.testing.assert_allclose(quiet["input"], 2.0 / x.size, rtol=1e-6)
    _, found = tcnzoo.gradients(model, x, np.zeros_like(x), training=True)
    kept = found["input"] != 0.0
    # 20,000 draws: three sigmas are 0.009.
    assert kept.mean() == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(found["input"][kept], 2.0 / 0.75**2 / x.size, rtol=1e-5)
    # A mask for whole rows, channels or steps would be constant along some axis.
    assert all(0.3 < kept.std(axis=axis).mean() < 0.5 for axis in range(3))
