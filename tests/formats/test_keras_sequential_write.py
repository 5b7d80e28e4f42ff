"""Our models as chains of Keras layers, and what Keras has no layer for."""

import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.errors import SpecError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.compare import assert_close, noise, weights_of
from tests.support.keras_files import keras, ours, output


def written(spec, folder, ending="keras"):
    """Write a spec with weights; return (report, the Keras model)."""
    spec = tcnzoo.load_spec(spec)
    write_checkpoint(folder / "start", spec, weights_of(spec))
    report = convert(folder / "start", folder / f"net.{ending}", to_format="keras-sequential")
    return report, keras.models.load_model(folder / f"net.{ending}")


def conv(**fields):
    """The document of a convolution from 3 to 4 channels."""
    sizes = {"in_channels": 3, "out_channels": 4, "kernel_size": 3}
    return {"kind": "conv1d", **sizes, "padding": "valid", **fields}


def test_composite_blocks_become_their_layers(tmp_path):
    block = conv(kind="conv_block", norm="batch_norm", activation="relu6", dropout=0.1)
    dense = {"kind": "dense_block", "in_features": 4, "out_features": 2, "norm": "layer_norm"}
    inner = {"kind": "sequential", "layers": {"b": block, "pool": {"kind": "pool"}}}
    spec = {"kind": "sequential", "layers": {"a": inner, "d": {**dense, "activation": "tanh"}}}
    report, model = written(spec, tmp_path)
    assert [layer.name for layer in model.layers] == [
        "a_b_conv", "a_b_norm", "a_b_activation", "a_b_dropout", "a_pool",
        "d_dense", "d_norm", "d_activation",
    ]  # fmt: skip
    assert model.get_layer("a_b_norm").epsilon == 1e-5
    assert model.get_layer("a_b_norm").momentum == 0.9
    assert not report.left_out
    x = noise(2, 3, 9)
    assert_close(output(model, x), ours(tmp_path / "start", "numpy", x))


def test_weight_norm_is_written_as_its_kernel(tmp_path):
    report, model = written(conv(weight_norm=True), tmp_path, "h5")
    assert set(report.left_out) == {"weight_v", "weight_g"}
    x = noise(2, 3, 9)
    assert_close(output(model, x), ours(tmp_path / "start", "numpy", x))


@pytest.mark.parametrize("length", [4, 5])
def test_a_flatten_that_takes_several_lengths_becomes_a_reshape(length, tmp_path):
    strided = {**conv(stride=2, padding="same_upper"), "kernel_size": 2}
    flat = {"kind": "flatten", "length": 3, "order": "time"}
    spec = {"kind": "sequential", "layers": {"a": strided, "flat": flat}}
    _, model = written(spec, tmp_path)
    x = noise(2, 3, length + 1)
    assert_close(output(model, x), ours(tmp_path / "start", "numpy", x))
    report = convert(tmp_path / "net.keras", tmp_path / "again")
    assert report.spec == tcnzoo.load_spec(spec)


@pytest.mark.parametrize(
    "spec, sentence",
    [
        (conv(padding="same", stride=2), "has padding 'same' with stride 2, which no layer of"),
        (conv(padding="causal", padding_mode="reflect"), "'reflect', but Keras pads with zeros"),
        (conv(stride=2, dilation=2), "has stride 2 and dilation 2, and Keras refuses the two"),
        ({"kind": "tcn", "in_channels": 3, "channels": [4]}, "'tcn' is a tcn, which no layer of"),
        ({"kind": "glu"}, "'glu' is a glu, which no layer of Keras is"),
        ({"kind": "pool", "mode": "last"}, "is a pool 'last', which Keras has not"),
        (
            {"kind": "pool", "mode": "adaptive_max", "output_size": 3},
            "a pool 'adaptive_max' of output_size 3, which Keras has not",
        ),
        ({"kind": "upsample", "factor": 2, "mode": "linear"}, "but Keras repeats steps"),
        ({"kind": "pad", "left": 1, "mode": "replicate"}, "'replicate', but Keras with zeros"),
        (
            {"kind": "window_pool", "mode": "max", "size": 3, "padding": "same"},
            "has padding 'same' with stride 3",
        ),
        (
            {"kind": "window_pool", "mode": "average", "size": 3, "stride": 1, "padding": "same",
             "count_padding": True},
            "counts the padding of its windows",
        ),
        ({"kind": "flatten", "length": 2}, "flattens channel by channel"),
        ({"kind": "activation", "name": "gelu_tanh"}, "'gelu_tanh', for which Keras has no layer"),
        ({"kind": "activation", "name": "relu"}, "takes any number of channels"),
    ],
)  # fmt: skip
def test_what_keras_has_not_is_refused(spec, sentence, tmp_path):
    spec = tcnzoo.load_spec(spec)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(SpecError) as raised:
        convert(tmp_path / "start", tmp_path / "net.keras", to_format="keras-sequential")
    assert sentence in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_our_own_files_are_not_taken(ending, tmp_path):
    spec = tcnzoo.load_spec(conv())
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    convert(tmp_path / "start", tmp_path / f"own.{ending}")
    assert inspect(tmp_path / f"own.{ending}").format == "keras"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, *args, **options):
        raise OSError("no space")

    spec = tcnzoo.load_spec(conv())
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(OSError, match="no space"):
        convert(tmp_path / "start", tmp_path / "net.keras", to_format="keras-sequential")
    assert [path.name for path in tmp_path.iterdir()] == ["start"]
