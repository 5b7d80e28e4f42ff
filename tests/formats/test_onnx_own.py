"""ONNX files of our own: read back to the bit, and read as a stranger's where they say nothing."""

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import WeightError
from tcnzoo.formats.protocol import convert, get_format
from tcnzoo.runtimes.export import export
from tcnzoo.specs.folding import fold
from tests.support.checkpoints import SPEC
from tests.support.compare import assert_close, assert_same_bits, noise, reference, weights_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.support.onnx_graphs import run  # noqa: E402

SMALL = tcnzoo.load_spec(
    {
        "kind": "sequential",
        "layers": {
            "first": {"kind": "conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 3},
            "normed": {"kind": "batch_norm", "channels": 4, "eps": 1e-3},
            "up": {
                "kind": "conv_transpose1d", "in_channels": 4, "out_channels": 5,
                "kernel_size": 4, "stride": 2,
            },
            "relu": {"kind": "activation", "name": "relu"},
            "pool": {"kind": "pool"},
            "dense": {"kind": "dense", "in_features": 5, "out_features": 2},
        },
    }
)  # fmt: skip


def written(spec, folder, dtype=np.float32):
    """A checkpoint directory with weights of one float type, and these."""
    weights = {name: array.astype(dtype) for name, array in weights_of(spec).items()}
    write_checkpoint(folder / "start", spec, weights)
    return weights


def back(path, folder):
    """Spec and weights of an .onnx file, and the report of reading it."""
    report = convert(path, folder / "back")
    return *read_checkpoint(folder / "back"), report


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_files_of_ours_are_read_to_the_bit(dtype, tmp_path):
    weights = written(SMALL, tmp_path, dtype)
    assert not convert(tmp_path / "start", tmp_path / "a.onnx").left_out
    spec, found, report = back(tmp_path / "a.onnx", tmp_path)
    assert spec == SMALL
    assert_same_bits(found, weights)
    assert not report.assumed
    assert report.from_format == "onnx"


def test_every_kind_of_tensor_comes_back(tmp_path):
    weights = written(SPEC, tmp_path)
    left_out = convert(tmp_path / "start", tmp_path / "a.onnx").left_out
    assert set(left_out) == {name for name in weights if name.endswith(("weight_g", "weight_v"))}
    assert all("folded into the kernel" in reason for reason in left_out.values())
    spec, found, _ = back(tmp_path / "a.onnx", tmp_path)
    folded, expected = fold(SPEC, weights, batch_norm=False)
    assert spec == folded
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16])
def test_types_that_are_not_kept_are_named(dtype, tmp_path):
    weights = written(SMALL, tmp_path, dtype)
    left_out = convert(tmp_path / "start", tmp_path / "a.onnx").left_out
    assert left_out == {
        name: f"written as float32 instead of {np.dtype(dtype)}" for name in weights
    }
    _, found, _ = back(tmp_path / "a.onnx", tmp_path)
    assert_same_bits(found, {name: array.astype(np.float32) for name, array in weights.items()})


@pytest.mark.parametrize(
    "options", [{"rank": 4}, {"streaming": True}, {"dynamic": False}, {"precision": "float16"}]
)
def test_what_export_writes_is_read(options, tmp_path):
    kept = {name: layer for name, layer in SMALL.layers.items() if name != "pool"}
    spec = SMALL.model_copy(update={"layers": kept}) if "streaming" in options else SMALL
    weights = written(spec, tmp_path)
    export(tmp_path / "start", tmp_path / "a.onnx", fold=False, **options)
    found, again, _ = back(tmp_path / "a.onnx", tmp_path)
    dtype = options.get("precision", "float32")
    assert found == spec
    assert_same_bits(again, {name: array.astype(dtype) for name, array in weights.items()})


def test_a_quantised_file_is_refused(tmp_path):
    written(SMALL, tmp_path)
    signals = noise(4, 3, 16).astype(np.float32)
    export(tmp_path / "start", tmp_path / "a.onnx", precision="int8", representative=signals)
    with pytest.raises(WeightError, match=r"\(DequantizeLinear\) is not supported"):
        convert(tmp_path / "a.onnx", tmp_path / "back")


def test_a_file_that_was_changed_is_refused(tmp_path):
    written(SMALL, tmp_path)
    convert(tmp_path / "start", tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    del model.graph.initializer[0]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(WeightError, match=r"the first 'first.weight', are not in it any more"):
        convert(tmp_path / "a.onnx", tmp_path / "back")


@pytest.mark.parametrize("name", ["deepepi", "tcn-base", "tcn-eeg-encoder"])
def test_our_graphs_are_read_as_those_of_strangers(name, tmp_path):
    spec = tcnzoo.load_spec(name)
    weights = written(spec, tmp_path)
    convert(tmp_path / "start", tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "strange.onnx")
    x = noise(2, spec.input_channels, max(64, spec.min_length())).astype(np.float32)
    report = convert(tmp_path / "strange.onnx", tmp_path / "ours")
    expected = tcnzoo.predict(reference(spec, weights), x)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, expected)
    assert_close(run(tmp_path / "strange.onnx", x), expected)
    assert report.spec != spec


def test_a_file_of_ours_takes_no_hints(tmp_path):
    written(SMALL, tmp_path)
    convert(tmp_path / "start", tmp_path / "a.onnx")
    with pytest.raises(tcnzoo.errors.InputError, match="takes no hint 'length'; it takes none"):
        convert(tmp_path / "a.onnx", tmp_path / "back", hints={"length": 3})


def test_tensors_are_the_initializers(tmp_path):
    weights = written(SMALL, tmp_path)
    convert(tmp_path / "start", tmp_path / "a.onnx")
    held = get_format("onnx").tensors(tmp_path / "a.onnx")
    assert_same_bits({name: held[name] for name in weights}, weights)
