"""Keras models that are no chain of known layers: refused with one sentence, by name."""

import contextlib
import json

import numpy as np
import pytest

from tcnzoo.errors import InputError, SpecError, TcnzooError
from tcnzoo.formats.protocol import convert
from tests.support.checkpoints import refusal, rewritten
from tests.support.keras_files import chain, keras

layers = keras.layers


def configured(path, change):
    """Change the configuration of a .keras file, whose layers are after the input."""

    def change_all(held):
        config = json.loads(held["config.json"])
        change(config["config"]["layers"])
        held["config.json"] = json.dumps(config).encode()

    return rewritten(path, change_all)


@pytest.fixture
def small(tmp_path):
    """A small net of its own."""
    path = tmp_path / "net.keras"
    chain((None, 3), layers.Conv1D(4, 2, name="a"), layers.BatchNormalization(name="b")).save(path)
    return path


def _layer(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": {"name": "odd", **config}}


@pytest.mark.parametrize(
    "kind, config, sentence",
    [
        ("Lambda", {"function": "x"}, "'odd' is a Lambda, which holds code; it was not run"),
        ("LSTM", {}, "'odd' is a LSTM of keras.layers, which is none of Activation, "),
        ("Masking", {}, "'odd' is a Masking of keras.layers"),
        ("TCN", {}, "'odd' is a TCN, which is keras-tcn's; read the file as format keras-tcn"),
        ("ReLU", {"max_value": 3.0}, "a ReLU with max_value 3.0, negative_slope 0.0 and thresh"),
        ("Softmax", {"axis": 1}, "'odd' must be a softmax over axis -1, but has 1"),
        ("Activation", {"activation": "mish"}, "'odd' has activation 'mish'; known are elu, "),
        ("Reshape", {"target_shape": [2, 2]}, "'odd' reshapes to [2, 2]; only what flattens"),
        ("BatchNormalization", {"axis": 1}, "must normalise channels (axis -1), but has axis 1"),
        ("BatchNormalization", {"renorm": True}, "'odd' has renorm True, which is not read"),
        ("LayerNormalization", {"axis": [1, 2]}, "(axis -1), but has axis [1, 2]"),
        ("Flatten", {"data_format": "channels_first"}, "has data_format 'channels_first'"),
        ("Cropping1D", {"cropping": [1]}, "must be two whole numbers, but is [1]"),
        ("Dropout", {"rate": "much"}, "rate of layer 'odd' must be a number, but is 'much'"),
        ("UpSampling1D", {"size": 0}, "size of layer 'odd' must be a whole number of at least 1"),
        ("MaxPooling1D", {"pool_size": 2, "padding": "full"}, "must be valid, causal or same"),
    ],
)
def test_a_layer_without_counterpart_is_refused_by_name(kind, config, sentence, small):
    configured(small, lambda held: held.append(_layer(kind, **config)))
    assert sentence in refusal(small, "keras-sequential", SpecError)


def test_a_class_that_only_has_the_name_of_keras_own_is_refused(small):
    configured(small, lambda held: held[1].update(module="mine", registered_name="mine>Conv1D"))
    assert "'a' is a Conv1D of mine, which is none of" in refusal(small, kind=SpecError)


def test_a_function_that_only_has_a_name_of_keras_is_refused(small):
    function = {"module": "builtins", "class_name": "function", "config": "relu"}
    configured(small, lambda held: held[1]["config"].update(activation=function))
    assert "'a' has activation 'relu'; known are" in refusal(small, kind=SpecError)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda held: held[1]["config"].update(filters=5), "must have shape (5, 3, 2)"),
        (lambda held: held[1]["config"].update(use_bias=False), "vars/1' of"),
        (lambda held: held.pop(), "is no part of the model"),
        (lambda held: held.append(_layer("Dense", units=2)), "must hold the kernel of layer 'odd'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, sentence, small):
    configured(small, change)
    assert sentence in refusal(small)


def test_norms_without_tensors_claim_no_memory(small):
    wide = {"batch_shape": [None, 5, 10**12]}
    norm = _layer("LayerNormalization", scale=False, center=False)
    held = [_layer("InputLayer", **wide), norm]
    configured(small, lambda layers: layers.__setitem__(slice(None), held))
    assert "claims norms of 2000000000000 channels, more than it has bytes" in refusal(small)


def _branching():
    x = keras.Input((8, 3))
    y = layers.Conv1D(3, 1, name="fork")(x)
    return keras.Model(x, layers.Add(name="join")([layers.ReLU(name="c")(y), y]))


def _shared():
    x = keras.Input((8, 3))
    twice = layers.Conv1D(3, 1, name="twice")
    return keras.Model(x, twice(twice(x)))


def _two_outputs():
    x = keras.Input((8, 3))
    y = layers.Conv1D(3, 1)(x)
    return keras.Model(x, [y, layers.ReLU()(y)])


def _always_training():
    x = keras.Input((8, 3))
    return keras.Model(x, layers.Dropout(0.5, name="drop")(x, training=True))


@pytest.mark.parametrize(
    "build, sentence",
    [
        (_branching, "layer 'join' (Add) reads from 2"),
        (_shared, "layer 'twice' is used more than once"),
        (_two_outputs, "must have one of output_layers"),
        (_always_training, "layer 'drop' is called with training=True"),
    ],
)
def test_what_is_no_chain_is_refused(build, sentence, tmp_path):
    build().save(tmp_path / "net.keras")
    assert sentence in refusal(tmp_path / "net.keras", kind=SpecError)


def test_hints_that_do_not_belong_are_refused(small, tmp_path):
    with pytest.raises(InputError, match="says what its model is; leave the hint spec out"):
        convert(small, tmp_path / "x", hints={"spec": "deepepi"})
    keras.models.load_model(small).save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(InputError, match="no file at 'nowhere.json'"):
        convert(tmp_path / "net.weights.h5", tmp_path / "x", hints={"config": "nowhere.json"})
    assert not (tmp_path / "x").exists()


def test_damage_anywhere_is_refused_or_harmless(small, tmp_path):
    data, generator = small.read_bytes(), np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 6)):
            damaged[place] = generator.integers(256)
        small.write_bytes(damaged)
        for name in (None, "keras-sequential"):
            with contextlib.suppress(TcnzooError):
                convert(small, tmp_path / "target", from_format=name, overwrite=True)


def test_nonsense_in_the_configuration_is_refused_or_harmless(small, tmp_path):
    original, generator = small.read_bytes(), np.random.default_rng(6)
    nonsense = [None, [], {}, "x", -1, 0, 2.5, 1e30, [None], {"config": {}}, True, 10**30]
    for _ in range(60):
        small.write_bytes(original)

        def spoil(held):
            layer = held[generator.integers(len(held))]
            place = layer["config"] if generator.random() < 0.8 else layer
            keys = sorted(place)
            place[keys[generator.integers(len(keys))]] = nonsense[generator.integers(len(nonsense))]

        configured(small, spoil)
        with contextlib.suppress(TcnzooError):
            convert(small, tmp_path / "target", from_format="keras-sequential", overwrite=True)
