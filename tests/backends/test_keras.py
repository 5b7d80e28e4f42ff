"""Keras models behave as keras.Model: fit, evaluate, save and load, compile, clone."""

import h5py
import keras
import numpy as np
import pytest

import tcnzoo
from tcnzoo.backends.keras.block import BLOCKS as KINDS
from tests.support.cases import BLOCKS
from tests.support.compare import (
    assert_close,
    assert_same_bits,
    noise,
    reference,
    rows_for,
    weights_of,
)
from tests.support.tcns import tcn

SPECS = {
    "tcn": tcn(norm="weight_norm", gate=True, activation="gelu"),
    "tcn-se": tcn(norm="batch_norm", squeeze_excitation="cumulative", padding_mode="reflect"),
    "strided": BLOCKS["conv_block-strided"][0],
    "transposed": BLOCKS["conv_transpose1d-same-k5-s2-d2"][0],
    "nested": BLOCKS["sequential-nested"][0],
}


def _model(spec, **options):
    return tcnzoo.create(spec, "keras", weights=weights_of(spec), **options)


def _signal(batch, channels, length):
    """Channels last, as Keras models take it."""
    return noise(batch, channels, length).astype(np.float32).swapaxes(1, 2)


def _neutral(y):
    return np.asarray(y).swapaxes(1, 2)


def _expected(spec, x, weights=None):
    model = reference(spec, weights_of(spec) if weights is None else weights)
    return tcnzoo.predict(model, _neutral(x))


@pytest.mark.parametrize("name", SPECS)
def test_called_model_gives_what_predict_gives_channels_last(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    assert isinstance(model, keras.Model)
    assert_close(_neutral(model(x)), _expected(SPECS[name], x))


def test_keras_own_predict():
    model, x = _model(SPECS["tcn"]), _signal(5, 3, 21)
    assert_close(_neutral(model.predict(x, batch_size=2, verbose=0)), _expected(SPECS["tcn"], x))


def test_trained_and_kept_variables_are_those_of_the_table():
    model = _model(SPECS["tcn-se"])
    table = model.tcnzoo.params
    assert len(model.trainable_weights) == sum(param.trainable for param in table.values())
    assert len(model.non_trainable_weights) == sum(not param.trainable for param in table.values())
    assert model.count_params() == sum(tcnzoo.count_params(SPECS["tcn-se"]))


@pytest.mark.parametrize("name, jit_compile", [("block", False), ("strided", True)])
def test_fit_lowers_the_loss(name, jit_compile):
    # One block each: tracing the training step takes seconds for a stack.
    keras.utils.set_random_seed(0)
    spec = {**SPECS["tcn-se"], "channels": [4]} if name == "block" else SPECS[name]
    model, x = _model(spec), _signal(8, 3, 21)
    target = np.tanh(noise(*model(x).shape))
    before = tcnzoo.get_weights(model)
    model.compile(keras.optimizers.Adam(0.01), loss="mse", jit_compile=jit_compile)
    history = model.fit(x, target, batch_size=4, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.85 * history[0]
    after = tcnzoo.get_weights(model)
    assert [key for key in after if np.array_equal(after[key], before[key])] == []
    assert_close(tcnzoo.predict(model, _neutral(x)), _expected(spec, x, after))
    assert model.evaluate(x, target, verbose=0) == pytest.approx(
        np.mean((_neutral(target) - _expected(spec, x, after)) ** 2), rel=1e-4
    )


def test_fit_with_embeddings():
    spec = tcn("add", norm="layer_norm")
    model, x = _model(spec), _signal(4, 3, 21)
    rows = [row.astype(np.float32).swapaxes(1, -1) for row in rows_for(spec, 4, 21)]
    model.compile("sgd", loss="mse")
    inputs = {"x": x, "embeddings": rows}
    history = model.fit(inputs, np.zeros((4, 21, 6)), batch_size=2, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("name", SPECS)
def test_saved_model_loads_equal(name, tmp_path):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(model(x)))
    assert loaded.tcnzoo.spec == model.tcnzoo.spec
    assert_same_bits(tcnzoo.get_weights(loaded), tcnzoo.get_weights(model))


def test_saved_weights_load_into_another_model(tmp_path):
    model = _model(SPECS["tcn-se"])
    model.save_weights(tmp_path / "model.weights.h5")
    other = tcnzoo.create(SPECS["tcn-se"], "keras", seed=5)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same_bits(tcnzoo.get_weights(other), tcnzoo.get_weights(model))


def test_training_goes_on_after_loading(tmp_path):
    model, x = _model({**SPECS["strided"], "dropout": 0.0}), _signal(4, 3, 21)
    target = np.zeros(model(x).shape)
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    model.fit(x, target, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    losses = [
        one.fit(x, target, epochs=2, verbose=0, shuffle=False).history["loss"]
        for one in (model, loaded)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_as_a_layer_of_a_functional_model():
    inputs = keras.Input((None, 3))
    outputs = keras.layers.GlobalAveragePooling1D()(_model(SPECS["tcn"])(inputs))
    model, x = keras.Model(inputs, outputs), _signal(2, 3, 21)
    assert outputs.shape == (None, 6)
    assert_close(np.asarray(model(x)), _expected(SPECS["tcn"], x).mean(axis=2))


def test_the_dtype_that_was_asked_for_beats_the_global_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x = _model(SPECS["strided"]), _signal(2, 3, 21)
        assert_close(_neutral(model(x)), _expected(SPECS["strided"], x))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {variable.dtype for variable in model.weights} == {"float32"}


def test_absent_device_is_named():
    if any("GPU" in device.upper() for device in keras.distribution.list_devices()):
        pytest.skip("there is a GPU here")
    with pytest.raises(tcnzoo.InputError, match="backend 'keras' has cpu:0 here, but not 'gpu:3'"):
        tcnzoo.create(tcn(), "keras", device="gpu:3")


def test_parts_are_attributes_and_absent_ones_are_none():
    model = _model(tcn(norm="layer_norm", skip_connections=True, output_projection=2))
    parts = dict(model.root.walk())
    assert {path: part.path for path, part in parts.items()} == {path: path for path in parts}
    assert model.root.output is parts["output"]
    assert model.root.output_activation is None
    assert model.root.blocks[0].norm1 is parts["blocks.0.norm1"]
    assert model.root.blocks[0].se is None


def test_keras_files_list_each_part_once_under_parts(tmp_path):
    model = _model(SPECS["strided"])
    model.save_weights(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert list(file["layers/conv_block"]) == ["parts", "vars"]
        assert sorted(file["vars"]) == sorted(model.tcnzoo.params)


def test_a_kind_without_a_block_is_named(monkeypatch):
    monkeypatch.delitem(KINDS, "conv1d")
    with pytest.raises(tcnzoo.SpecError, match="backend 'keras' has no block of kind 'conv1d'"):
        tcnzoo.create(tcn(), "keras")


def test_a_part_that_the_class_does_not_declare_is_refused(monkeypatch):
    monkeypatch.delitem(KINDS["conv_block"].declared, "norm")
    with pytest.raises(TypeError, match="ConvBlock declares no part 'norm'"):
        _model(SPECS["strided"])
