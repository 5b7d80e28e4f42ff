"""Chains of Keras layers in and out, held against Keras's own outputs."""

import io
import json
import zipfile

import h5py
import pytest

from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import SpecError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise
from tests.support.keras_files import chain, filled, keras, ours, output

layers = keras.layers

NETS = {
    "same": lambda: chain(
        (None, 3),
        layers.Conv1D(4, 3, strides=2, padding="same", activation="relu", name="First-Conv"),
        layers.Conv1D(5, 4, strides=3, padding="same", use_bias=False),
        layers.MaxPooling1D(3, strides=2, padding="same"),
    ),
    "causal": lambda: chain(
        (None, 3),
        layers.Conv1D(4, 3, dilation_rate=2, padding="causal", activation="silu"),
        layers.Conv1D(6, 2, strides=2, groups=2, padding="causal"),
        layers.Conv1D(5, 4, padding="same", dilation_rate=3, activation="gelu"),
    ),
    "depthwise": lambda: chain(
        (None, 3),
        layers.DepthwiseConv1D(3, depth_multiplier=2, activation=layers.LeakyReLU(0.2)),
        layers.DepthwiseConv1D(2, strides=2, dilation_rate=2, padding="same"),
        layers.SeparableConv1D(5, 4, depth_multiplier=3, padding="same", activation="elu"),
        layers.Conv1D(10, 3, groups=5, padding="same"),
    ),
    "norms": lambda: chain(
        (None, 3),
        layers.BatchNormalization(epsilon=0.02, momentum=0.9, center=False, name="first"),
        layers.Conv1D(4, 2),
        layers.BatchNormalization(scale=False, name="second"),
        layers.LayerNormalization(epsilon=0.01),
        layers.LayerNormalization(scale=False, center=False, name="bare"),
        layers.Dropout(0.3),
        layers.SpatialDropout1D(0.2, name="spatial"),
        layers.GlobalAveragePooling1D(),
        layers.BatchNormalization(),
    ),
    "pools": lambda: chain(
        (None, 3),
        layers.AveragePooling1D(3, strides=2, padding="same"),
        layers.MaxPooling1D(2, strides=1, padding="same"),
        layers.UpSampling1D(3),
        layers.ZeroPadding1D((1, 2)),
        layers.Cropping1D((3, 1)),
        layers.AveragePooling1D(2),
        layers.GlobalMaxPooling1D(keepdims=True),
        layers.Conv1D(4, 1),
    ),
    "flat": lambda: chain(
        (20, 3),
        layers.Reshape((20, 3)),
        layers.Conv1D(4, 3),
        layers.Flatten(),
        layers.Flatten(),
        layers.Dense(5, activation="tanh"),
        layers.Dense(2, use_bias=False),
        layers.Softmax(),
    ),
    "nested": lambda: chain(
        (None, 3),
        layers.Conv1D(4, 3),
        keras.Sequential(
            [layers.Conv1D(5, 2), keras.Sequential([layers.Conv1D(4, 2)]), layers.ReLU(6.0)]
        ),
        layers.Conv1D(2, 3),
    ),
    "functional": lambda: _functional(),
    "vectors": lambda: chain(
        (3,), layers.Dense(5, activation="selu"), layers.BatchNormalization(), layers.Dense(2)
    ),
}
LENGTHS = {"flat": (20,), "vectors": (None,)}


def _functional():
    x = keras.Input((None, 3))
    y = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3, name="float")(x))
    return filled(keras.Model(x, layers.Dense(2, activation="log_softmax")(y)))


def signals(name):
    """Signals of an even and an odd length, or vectors."""
    lengths = LENGTHS.get(name, (20, 21))
    return [noise(2, 3) if steps is None else noise(2, 3, steps) for steps in lengths]


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Save and convert a net, once: (folder with file.keras and ours, model, report)."""
    done = {}

    def carry(name):
        if name not in done:
            folder, model = tmp_path_factory.mktemp(name), NETS[name]()
            model.save(folder / "file.keras")
            report = convert(folder / "file.keras", folder / "ours")
            assert report.from_format == "keras-sequential"
            done[name] = folder, model, report
        return done[name]

    return carry


@pytest.mark.parametrize("name", NETS)
def test_reference_gives_the_output_of_keras(name, carried):
    folder, model, _ = carried(name)
    for x in signals(name):
        assert_close(ours(folder / "ours", "numpy", x), output(model, x))


@pytest.mark.parametrize("name", NETS)
def test_the_way_back_keeps_every_bit(name, carried, tmp_path):
    folder, model, _ = carried(name)
    convert(folder / "ours", tmp_path / "back.keras", to_format="keras-sequential")
    back = keras.models.load_model(tmp_path / "back.keras")
    for x in signals(name):
        assert_close(output(back, x), output(model, x), 1e-6)
    convert(tmp_path / "back.keras", tmp_path / "again", from_format="keras-sequential")
    spec, weights = read_checkpoint(folder / "ours")
    again, same = read_checkpoint(tmp_path / "again")
    assert_same_bits(dict(zip(weights, same.values(), strict=True)), weights)
    assert [one.kind for _, one in again.walk()] == [one.kind for _, one in spec.walk()]


@pytest.mark.parametrize("name", NETS)
def test_backend_gives_the_output_of_keras(name, native, carried):
    folder, model, _ = carried(name)
    for x in signals(name):
        assert_close(ours(folder / "ours", native, x), output(model, x))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_with_a_stride_pads_by_the_length(size, stride, backend, tmp_path):
    model = chain((None, 2), layers.Conv1D(3, size, strides=stride, padding="same"))
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    for length in (1, 6, 7, 8):
        x = noise(2, 2, length)
        assert_close(ours(tmp_path / "ours", backend, x), output(model, x), label=str(length))


@pytest.mark.parametrize("name", [
    "relu", "relu6", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus", "softmax",
    "log_softmax", "hard_sigmoid", "hard_silu", "leaky_relu", "linear",
])  # fmt: skip
def test_activations_by_name(name, tmp_path):
    model = chain((None, 3), layers.Conv1D(4, 2, activation=name), layers.Activation(name))
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    x = 4.0 * noise(2, 3, 9)
    assert_close(ours(tmp_path / "ours", "numpy", x), output(model, x))


def test_other_files_of_a_model_hold_the_same(carried, tmp_path):
    folder, model, report = carried("norms")
    expected = read_checkpoint(folder / "ours")
    model.save(tmp_path / "net.h5")
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    convert(tmp_path / "net.h5", tmp_path / "legacy")
    hints = {"config": str(tmp_path / "net.json")}
    found = convert(tmp_path / "net.weights.h5", tmp_path / "alone", hints=hints)
    assert found.from_format == "keras-sequential"
    assert found.assumed == report.assumed
    for name in ("legacy", "alone"):
        spec, weights = read_checkpoint(tmp_path / name)
        assert spec == expected[0]
        assert_same_bits(weights, expected[1])


def test_weights_alone_are_read_with_the_spec_of_what_we_wrote(carried, tmp_path):
    folder, _, _ = carried("depthwise")
    convert(folder / "ours", tmp_path / "net.weights.h5", to_format="keras-sequential")
    question = inspect(tmp_path / "net.weights.h5")
    assert question.spec is None
    assert "--set spec=NAME_OR_FILE" in question.missing
    hints = {"spec": str(folder / "ours")}
    convert(tmp_path / "net.weights.h5", tmp_path / "again", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], read_checkpoint(folder / "ours")[1])


def test_what_a_file_leaves_out_and_what_we_do_is_said(carried):
    _, _, report = carried("norms")
    whole = "drops single values in training, where Keras drops whole channels or steps"
    assert report.assumed == {
        "first.bias": 0.0,
        "second.weight": 1.0,
        "bare.weight": 1.0,
        "bare.bias": 0.0,
        "spatial.rate": whole,
    }
    norm = report.spec.layers["first"]
    assert (norm.eps, norm.momentum) == (0.02, 0.1)


def test_training_state_is_dropped_and_regularisers_are_said_to_be(tmp_path):
    model = chain(
        (9, 3), layers.Conv1D(4, 2, kernel_regularizer="l2", bias_constraint="non_neg", name="a")
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"net.{ending}")
        report = convert(tmp_path / f"net.{ending}", tmp_path / ending)
        assert set(report.dropped.values()) == {"state of the optimiser"}
        assert len(report.used) == 2
        reason = "left out: only training uses it"
        assert report.assumed == {"a.kernel_regularizer": reason, "a.bias_constraint": reason}


def test_names_are_kept_where_they_can_be(carried):
    _, _, report = carried("same")
    assert list(report.spec.layers)[:2] == ["first_conv", "first_conv_activation"]
    _, _, report = carried("functional")
    assert next(iter(report.spec.layers)) == "float"


def test_layers_whose_names_we_write_alike_stay_apart(tmp_path):
    model = chain(
        (None, 3), *(layers.Conv1D(3, 1, name=name) for name in ("A.b", "a-b", "_1", "path"))
    )
    model.save(tmp_path / "net.keras")
    report = convert(tmp_path / "net.keras", tmp_path / "ours")
    assert list(report.spec.layers) == ["a_b", "a_b_2", "layer_1", "path_layer"]


@pytest.mark.parametrize("types", ["float16", "bfloat16", "float64", ("bfloat16", "float16")])
def test_types_survive_both_ways(types, tmp_path):
    first, second = (types, types) if isinstance(types, str) else types
    model = chain(
        (None, 3),
        layers.Conv1D(4, 2, dtype=first),
        layers.BatchNormalization(dtype=first),
        layers.Dense(2, dtype=second),
    )
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.keras", to_format="keras-sequential")
    convert(tmp_path / "back.keras", tmp_path / "again")
    weights = read_checkpoint(tmp_path / "ours")[1]
    assert {str(array.dtype) for array in weights.values()} == {first, second}
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights)


# Files of Keras 2


def _as_keras_2(source, target):
    """Write a .keras file anew as Keras 2.13 would: other groups, other words."""
    with zipfile.ZipFile(source) as opened:
        config = json.loads(opened.read("config.json"))
        content = io.BytesIO(opened.read("model.weights.h5"))
    for layer in config["config"]["layers"]:
        layer["config"]["batch_input_shape"] = layer["config"].pop("batch_shape", None)
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["axis"] = [2]
        if layer["class_name"] == "LeakyReLU":
            layer["config"]["alpha"] = layer["config"].pop("negative_slope")
    written, old = io.BytesIO(), "_layer_checkpoint_dependencies"
    with h5py.File(content) as held, h5py.File(written, "w") as file:
        for name, group in held["layers"].items():
            # It counts every layer with variables twice.
            stem, _, number = name.rpartition("_")
            name = f"{stem}_{2 * int(number)}" if number.isdigit() else name
            for index, values in group["vars"].items():
                file[f"{old}/{name}/vars/{index}"] = values[()]
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
        opened.writestr("config.json", json.dumps(config))
        opened.writestr("model.weights.h5", written.getvalue())


def test_a_file_of_keras_2_is_read(tmp_path):
    model = chain(
        (None, 3),
        layers.Conv1D(4, 2),
        layers.LeakyReLU(0.2),
        layers.Conv1D(4, 3),
        layers.BatchNormalization(),
        layers.Conv1D(4, 1),
    )
    model.save(tmp_path / "new.keras")
    _as_keras_2(tmp_path / "new.keras", tmp_path / "old.keras")
    convert(tmp_path / "old.keras", tmp_path / "ours")
    x = noise(2, 3, 9)
    assert_close(ours(tmp_path / "ours", "numpy", x), output(model, x))


def test_a_word_that_keras_2_meant_otherwise_is_refused(tmp_path):
    chain((None, 3), layers.Conv1D(4, 2, activation="hard_sigmoid")).save(tmp_path / "new.keras")
    _as_keras_2(tmp_path / "new.keras", tmp_path / "old.keras")
    sentence = refusal(tmp_path / "old.keras", kind=SpecError)
    assert "'hard_sigmoid', which in Keras before 3 is another function than since" in sentence
