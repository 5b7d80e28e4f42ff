"""MLX modules behave as mlx.nn modules: compile, differentiate, optimise, freeze, copy, save."""

import copy
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten

import tcnzoo
from tests.support.cases import BLOCKS
from tests.support.compare import assert_close, noise, reference, weights_of
from tests.support.tcns import tcn

SPECS = {
    "tcn": tcn(norm="weight_norm", gate=True, skip_connections=True, activation="gelu"),
    "tcn-se": tcn(norm="batch_norm", squeeze_excitation="cumulative", padding_mode="reflect"),
    "strided": BLOCKS["conv_block-strided"][0],
    "transposed": BLOCKS["conv_transpose1d-same-k5-s2-d2"][0],
    "nested": BLOCKS["sequential-nested"][0],
}


def _model(spec, **options):
    return tcnzoo.create(spec, "mlx", weights=weights_of(spec), **options)


def _signal(batch, channels, length):
    """Channels last, as MLX modules take it."""
    return mx.array(noise(batch, channels, length).astype(np.float32).swapaxes(1, 2))


def _neutral(y):
    return np.array(y).swapaxes(1, 2)


def _expected(spec, x):
    return tcnzoo.predict(reference(spec, weights_of(spec)), _neutral(x))


def _loss(model, x, target):
    return nn.losses.mse_loss(model(x), target, reduction="mean")


@pytest.mark.parametrize("name", SPECS)
def test_called_module_gives_what_predict_gives_channels_last(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    assert isinstance(model, nn.Module)
    assert_close(_neutral(model(x)), _expected(SPECS[name], x))


@pytest.mark.parametrize("name", ["block", "strided"])
def test_compiled_module(name):
    # On a CPU, MLX calls the C++ compiler for every fused kernel: one block must do.
    block = tcn(norm="weight_norm", gate=True, channels=[4], squeeze_excitation="cumulative")
    spec = {"block": block, "strided": SPECS["strided"]}[name]
    model, x = _model(spec), _signal(2, 3, 21)
    compiled = mx.compile(model)
    for _ in range(2):
        assert_close(_neutral(compiled(x)), _expected(spec, x))


def test_parameters_have_the_neutral_names():
    model = _model(SPECS["tcn-se"])
    names = {name for name, _ in tree_flatten(model.parameters())}
    table = model.tcnzoo.params
    assert names == set(table)
    trained = {name for name, _ in tree_flatten(model.trainable_parameters())}
    assert trained == {name for name, param in table.items() if param.trainable}


def test_statistics_stay_frozen_when_all_is_unfrozen():
    model = _model(SPECS["tcn-se"])
    model.freeze()
    assert tree_flatten(model.trainable_parameters()) == []
    model.unfreeze()
    trained = [name for name, _ in tree_flatten(model.trainable_parameters())]
    assert trained
    assert not any("running" in name for name in trained)


@pytest.mark.parametrize("name", SPECS)
def test_grad_of_the_input(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    target = mx.zeros_like(model(x))
    gradient = mx.grad(lambda x: _loss(model, x, target))(x)
    neutral = _neutral(x)
    _, expected = tcnzoo.gradients(_model(SPECS[name]), neutral, _neutral(target))
    assert_close(_neutral(gradient), expected["input"])
    # And against the reference: a small step along the gradient.
    true = reference(SPECS[name], weights_of(SPECS[name]))
    way = expected["input"].astype(np.float64)
    rise = [np.mean(tcnzoo.predict(true, neutral + step * way) ** 2) for step in (1e-4, -1e-4)]
    assert (rise[0] - rise[1]) / 2e-4 == pytest.approx(np.sum(way**2), rel=1e-4)


def test_value_and_grad_reaches_every_parameter():
    spec = tcn(norm="weight_norm", gate=True, skip_connections=True, squeeze_excitation="global")
    model, x = _model(spec).train(), _signal(2, 3, 21)
    _, gradients = nn.value_and_grad(model, _loss)(model, x, mx.zeros_like(model(x)))
    table = dict(tree_flatten(gradients))
    assert set(table) == set(model.tcnzoo.params)
    assert [name for name, gradient in table.items() if not np.array(gradient).any()] == []


@pytest.mark.parametrize(
    "name, compiled", [("tcn", False), ("tcn-se", False), ("strided", False), ("strided", True)]
)
def test_training_lowers_the_loss(name, compiled):
    mx.random.seed(0)
    model, x = _model(SPECS[name]).train(), _signal(4, 3, 21)
    target = mx.tanh(mx.array(noise(*model(x).shape).astype(np.float32)))
    optimiser = optim.Adam(learning_rate=0.01)
    value_and_grad = nn.value_and_grad(model, _loss)

    def train(x, target):
        loss, gradients = value_and_grad(model, x, target)
        optimiser.update(model, gradients)
        return loss

    if compiled:
        state = [model.state, optimiser.state, mx.random.state]
        train = partial(mx.compile, inputs=state, outputs=state)(train)
    losses = []
    for _ in range(30):
        loss = train(x, target)
        mx.eval(loss, model.state, optimiser.state)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    after = tcnzoo.get_weights(model)
    expected = tcnzoo.predict(reference(SPECS[name], after), _neutral(x))
    assert_close(tcnzoo.predict(model, _neutral(x)), expected)


def test_running_statistics_move_in_a_compiled_step():
    spec = BLOCKS["conv_block-batch_norm"][0]
    model, x = _model(spec).train(), _signal(2, 3, 21)
    before = tcnzoo.get_weights(model)
    step = mx.compile(lambda x: model(x).sum(), inputs=model.state, outputs=model.state)
    mx.eval(step(x))
    after = tcnzoo.get_weights(model)
    plain = _model(spec).train()
    mx.eval(plain(x))
    expected = tcnzoo.get_weights(plain)
    for name in ("norm.running_mean", "norm.running_var"):
        assert abs(after[name] - before[name]).max() > 1e-3
        assert_close(after[name], expected[name], 1e-6)


def test_deep_copy_is_independent():
    model, x = _model(SPECS["tcn"]), noise(2, 3, 21)
    before = tcnzoo.predict(model, x)
    twin = copy.deepcopy(model)
    tcnzoo.set_weights(twin, weights_of(SPECS["tcn"], 1))
    assert abs(tcnzoo.predict(twin, x) - before).max() > 1e-3
    np.testing.assert_array_equal(tcnzoo.predict(model, x), before)


def test_native_save_and_load(tmp_path):
    model, x = _model(SPECS["tcn-se"]), noise(2, 3, 21)
    model.save_weights(str(tmp_path / "weights.safetensors"))
    other = tcnzoo.create(SPECS["tcn-se"], "mlx", seed=5)
    other.load_weights(str(tmp_path / "weights.safetensors"))
    np.testing.assert_array_equal(tcnzoo.predict(other, x), tcnzoo.predict(model, x))


def test_native_change_of_type_is_followed():
    model, x = _model(SPECS["tcn"]), noise(2, 3, 21)
    expected = tcnzoo.predict(model, x)
    model.set_dtype(mx.bfloat16)
    # Eight bits of mantissa through six convolutions.
    y = model(mx.array(x.swapaxes(1, 2), mx.bfloat16)).astype(mx.float32)
    assert_close(_neutral(y), expected, 0.1)


def test_absent_device_is_named():
    if mx.is_available(mx.gpu):
        assert tcnzoo.create(tcn(), "mlx", device="gpu")
        return
    with pytest.raises(tcnzoo.InputError, match="device 'gpu' was asked for, but MLX finds none"):
        tcnzoo.create(tcn(), "mlx", device="gpu")
