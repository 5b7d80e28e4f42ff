"""OpenSeizureDetector's DeepEpi net in Keras, held against Keras's own probabilities."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, detect_format
from tcnzoo.zoo.foreign.osd import deepepi_document
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of
from tests.support.keras_files import chain, keras, ours, output
from tests.support.osd_nets import DENSE, FILTERS, code_strides, keras_net

layers = keras.layers

# One sample beyond what the strides need, so that a wrong one shows.
SIGNAL = (3, 1, 60)


def expected_spec(**options):
    """What the net of the test is, by name."""
    sizes = {"filters": FILTERS, "dense": DENSE, "dense_dropout": 0.025} | options
    return tcnzoo.load_spec(deepepi_document("keras", softmax=True, **sizes))


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """The net saved in both ways and converted: (folder, its own output)."""
    folder, model = tmp_path_factory.mktemp("osd"), keras_net(length=60)
    for ending in ("keras", "h5"):
        model.save(folder / f"net.{ending}")
        report = convert(folder / f"net.{ending}", folder / ending)
        assert report.from_format == "osd-keras"
        assert not report.dropped
        assert not report.assumed
    return folder, output(model, noise(*SIGNAL))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_the_net_is_read_with_its_own_constants(ending, carried):
    folder, _ = carried
    spec, _ = read_checkpoint(folder / ending)
    assert spec == expected_spec()
    assert spec.layers["conv1"].norm.eps == spec.layers["dense4"].norm.eps == 1e-3
    assert [spec.layers[f"conv{place}"].stride for place in range(1, 7)] == code_strides(6)


def test_both_files_hold_the_same_bits(carried):
    folder, _ = carried
    assert_same_bits(read_checkpoint(folder / "h5")[1], read_checkpoint(folder / "keras")[1])


def test_backend_gives_the_probabilities_of_keras(backend, carried):
    folder, expected = carried
    assert_close(ours(folder / "keras", backend, noise(*SIGNAL)), expected)


def test_with_the_eps_of_torch_the_probabilities_would_be_others(tmp_path):
    # Why eps stays a field. Movement of 0.03 g around the mean is what a first convolution sees.
    model, scale = keras_net(length=60), 0.03
    conv, norm = model.layers[1:3]
    conv.bias.assign(scale * conv.bias)
    norm.moving_mean.assign(scale * norm.moving_mean)
    norm.moving_variance.assign(scale**2 * norm.moving_variance)
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    x = scale * noise(*SIGNAL)
    expected = output(model, x)
    spec, weights = read_checkpoint(tmp_path / "ours")
    document = spec.model_dump(mode="json")
    for layer in document["layers"].values():
        if layer.get("norm"):
            layer["norm"]["eps"] = 1e-5
    other = tcnzoo.create(document, "numpy", weights=weights, dtype="float64")
    assert_close(ours(tmp_path / "ours", "numpy", x), expected)
    wrong = np.abs(tcnzoo.predict(other, x) - expected).max()
    assert wrong > 5e-3, f"eps 1e-5 moves a probability by {wrong:.1e} only"


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_the_way_back_keeps_every_bit(ending, carried, tmp_path):
    folder, expected = carried
    target = tmp_path / f"back.{ending}"
    report = convert(folder / "keras", target, to_format="osd-keras")
    assert not report.left_out
    assert detect_format(target).NAME == "osd-keras"
    assert_close(output(keras.models.load_model(target), noise(*SIGNAL)), expected, 1e-6)
    convert(target, tmp_path / "again")
    spec, weights = read_checkpoint(folder / "keras")
    again, same = read_checkpoint(tmp_path / "again")
    assert again == spec
    assert_same_bits(same, weights)


def test_the_preset_of_the_origin_has_its_size(tmp_path):
    filters, dense = (16, *[32] * 11, 64, 64), (64, 64, 32, 16)
    model = keras_net(filters=filters, dense=dense, length=750)
    model.save(tmp_path / "net.keras")
    report = convert(tmp_path / "net.keras", tmp_path / "ours")
    assert report.spec == tcnzoo.load_spec(deepepi_document("keras", softmax=True))
    assert tcnzoo.count_params(report.spec) == (97_362, 1_344)
    x = noise(2, 1, 750)
    assert_close(ours(tmp_path / "ours", "numpy", x), output(model, x))


def test_dropouts_strides_and_classes_are_those_of_the_file(tmp_path):
    keras_net(strides=[1, 2, 1, 1, 1, 2], classes=3, conv_dropout=0.1, dense_dropout=0.0).save(
        tmp_path / "net.keras"
    )
    report = convert(tmp_path / "net.keras", tmp_path / "ours")
    options = {"strides": [1, 2, 1, 1, 1, 2], "classes": 3}
    assert report.spec == expected_spec(conv_dropout=0.1, dense_dropout=0.0, **options)


OTHERS = {
    "without norms": lambda: chain(
        (None, 1), layers.Conv1D(3, 5, activation="relu"), layers.GlobalAveragePooling1D(),
        layers.Dense(2, activation="softmax"),
    ),
    "with padding": lambda: chain(
        (None, 1), layers.Conv1D(3, 5, padding="same"), layers.BatchNormalization(), layers.ReLU(),
        layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax"),
    ),
    "with another activation": lambda: chain(
        (None, 1), layers.Conv1D(3, 5), layers.BatchNormalization(), layers.ELU(),
        layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax"),
    ),
    "with logits": lambda: chain(
        (None, 1), layers.Conv1D(3, 5), layers.BatchNormalization(), layers.ReLU(),
        layers.GlobalAveragePooling1D(), layers.Dense(2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_chain_is_left_to_keras_sequential(name, tmp_path):
    OTHERS[name]().save(tmp_path / "net.keras")
    assert detect_format(tmp_path / "net.keras").NAME == "keras-sequential"
    sentence = refusal(tmp_path / "net.keras", "osd-keras", SpecError)
    assert sentence.startswith("osd-keras holds a DeepEpi net, which is convolutions with padding")


def test_the_net_can_be_read_layer_by_layer(carried, tmp_path):
    folder, expected = carried
    report = convert(folder / "net.keras", tmp_path / "flat", from_format="keras-sequential")
    assert {layer.kind for layer in report.spec.layers.values()} == {
        "conv1d", "batch_norm", "activation", "pool", "dense", "dropout",
    }  # fmt: skip
    assert_close(ours(tmp_path / "flat", "numpy", noise(*SIGNAL)), expected)


def test_a_net_of_logits_is_not_written(tmp_path):
    spec = tcnzoo.load_spec("deepepi")
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(SpecError, match=r"a dense layer with softmax, but it has dense$"):
        convert(tmp_path / "start", tmp_path / "net.keras", to_format="osd-keras")
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


def test_weights_alone_and_hints_are_refused(carried, tmp_path):
    folder, _ = carried
    model = keras.models.load_model(folder / "net.keras")
    model.save_weights(tmp_path / "net.weights.h5")
    sentence = refusal(tmp_path / "net.weights.h5", "osd-keras", WeightError)
    assert "holds weights alone; read it as keras-sequential, with its spec" in sentence
    with pytest.raises(InputError, match="osd-keras is a whole model, but .* weights alone"):
        convert(folder / "keras", tmp_path / "back.weights.h5", to_format="osd-keras")
    assert not (tmp_path / "back.weights.h5").exists()
    with pytest.raises(InputError, match="takes no hint 'strides'"):
        convert(folder / "net.keras", tmp_path / "x", hints={"strides": [1]})
