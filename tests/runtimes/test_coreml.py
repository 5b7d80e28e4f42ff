"""Core ML packages: what they hold, everywhere; what they predict, on macOS only."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.exporters.calm import calm
from tcnzoo.runtimes.protocol import get_exporter
from tcnzoo.specs.folding import fold
from tests.parity.test_presets import LENGTHS
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import assert_close, assert_refused, noise, weights_of
from tests.support.exported import ran, written
from tests.support.tcns import tcn

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(find_spec("coremltools") is None, reason="needs coremltools")

ON_MACOS = pytest.mark.skipif(sys.platform != "darwin", reason="Core ML predicts on macOS only")
PRESETS = ("tcn-base", "deepepi", "tcn-se-gated")
TYPES = {"float32": np.float32, "float16": np.float16}
SOME = (
    "activation-gelu_tanh", "conv1d-causal-circular", "conv1d-s2-d3-g3",
    "conv_transpose1d-same-k5-s2-d2", "pool-adaptive_max-5", "pad-circular-2-3",
    "window_pool-average-same_upper-4-2", "graph-vector-add",
)  # fmt: skip


def loaded(path):
    """A package as coremltools reads it back."""
    with calm():
        import coremltools

        return coremltools.models.MLModel(str(path), skip_model_load=True)


def features(described):
    """Name -> (shape, type) of inputs or outputs."""
    types = [(one.name, one.type.multiArrayType) for one in described]
    names = types[0][1].ArrayDataType if types else None
    return {name: (tuple(one.shape), names.Name(one.dataType)) for name, one in types}


def constants(path):
    """All float tensors of a package's program."""
    import coremltools.optimize.coreml as inside

    with calm():
        found = inside.get_weights_metadata(loaded(path), weight_threshold=0)
        return [np.asarray(one.val) for one in found.values()]


@pytest.mark.parametrize(
    "name, precision", [*((one, "float32") for one in PRESETS), ("tcn-base", "float16")]
)
def test_package_holds_the_weights_of_a_preset(name, precision, tmp_path):
    spec = tcnzoo.load_spec(name)
    shape = (2, *spec.signal_shape(LENGTHS[name]))
    path, _ = written("coreml", spec, shape, tmp_path, dynamic=False, precision=precision)
    description = loaded(path).get_spec().description
    output = (2, *spec.output_shape(shape[1:]))
    assert features(description.input) == {"x": (shape, "FLOAT32")}
    assert features(description.output) == {"output": (output, "FLOAT32")}
    _, weights = fold(spec, weights_of(spec))
    held = constants(path)
    for wanted, array in weights.items():
        if array.ndim < 2:
            continue  # small vectors lie in the program itself, biases merged
        rounded = array.astype(TYPES[precision])
        alike = [one for one in held if one.size == array.size and one.dtype == rounded.dtype]
        assert any(np.array_equal(one.ravel(), rounded.ravel()) for one in alike), wanted


@pytest.mark.parametrize("name", SOME)
def test_block_converts(name, tmp_path):
    spec, shape = BLOCKS[name]
    path, _ = written("coreml", spec, shape, tmp_path, dynamic=False)
    output = (shape[0], *tcnzoo.load_spec(spec).output_shape(shape[1:]))
    found = loaded(path).get_spec().description
    assert features(found.output) == {"output": (output, "FLOAT32")}


def test_inputs_and_outputs_are_named(tmp_path):
    spec = {"kind": "temporal_block", "in_channels": 3, "channels": 5, "kernel_size": 3}
    spec |= {"embeddings": [4, {"channels": 2, "per_step": True}]}
    path, _ = written("coreml", spec, SIGNAL, tmp_path, dynamic=False)
    found = loaded(path).get_spec().description
    assert {name: shape for name, (shape, _) in features(found.input).items()} == {
        "x": (2, 3, 37), "embedding_0": (2, 4), "embedding_1": (2, 2, 37)
    }  # fmt: skip
    assert list(features(found.output)) == ["output", "out"]


def test_report_says_that_nothing_was_compared(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    path = tmp_path / "a.mlpackage"
    report = tcnzoo.export(tcn(norm="batch_norm"), path, input_length=37)
    assert report.comparisons == ()
    assert report.notes == (
        "takes inputs of shape (1, 3, 37) only",
        "not compared: Core ML predicts on macOS only",
    )
    assert sorted(one.name for one in path.iterdir()) == ["Data", "Manifest.json"]
    assert report.size == sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    assert str(path) in report.command
    assert [one.name for one in tmp_path.iterdir()] == ["a.mlpackage"]


def test_a_package_is_replaced_only_when_asked_for(tmp_path):
    path = tmp_path / "a.mlpackage"
    tcnzoo.export(conv1d(), path)
    with pytest.raises(InputError, match="exists already"):
        tcnzoo.export(conv1d(), path)
    (path / "Data" / "old").write_text("x")
    tcnzoo.export(conv1d(), path, overwrite=True)
    assert not (path / "Data" / "old").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["a.mlpackage"]


def test_what_cannot_be_converted_leaves_nothing(monkeypatch, tmp_path):
    def refuse(*args, package_dir, **options):
        Path(package_dir).mkdir()
        raise NotImplementedError("no such operator\nand more")

    monkeypatch.setattr("coremltools.convert", refuse)
    sentence = "coremltools cannot convert this conv1d: no such operator"
    assert_refused(SpecError, sentence, tcnzoo.export, conv1d(), tmp_path / "a.mlpackage")
    assert not list(tmp_path.iterdir())


def test_int8_is_refused(tmp_path):
    sentence = "export to 'coreml' writes float32, float16, but not 'int8'"
    options = {"precision": "int8", "representative": noise(2, 3, 9)}
    path = tmp_path / "a.mlpackage"
    assert_refused(InputError, sentence, tcnzoo.export, conv1d(), path, **options)


def test_can_run_tells_the_platform(monkeypatch):
    exporter = get_exporter("coreml")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert exporter.can_run() is None
    monkeypatch.setattr(sys, "platform", "win32")
    assert exporter.can_run() == "Core ML predicts on macOS only"


@ON_MACOS
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-4), ("float16", 5e-3)])
@pytest.mark.parametrize("name", PRESETS)
def test_prediction_equals_reference(name, precision, tolerance, tmp_path):
    shape = (1, *tcnzoo.load_spec(name).signal_shape(LENGTHS[name]))
    path, options = written("coreml", name, shape, tmp_path, dynamic=False, precision=precision)
    assert_close(*ran("coreml", name, path, options, shape), tolerance=tolerance)
