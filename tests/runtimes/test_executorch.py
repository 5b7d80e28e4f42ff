"""ExecuTorch programs, run with its Python runtime beside the float64 reference."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.runtimes.protocol import get_exporter
from tests.parity.test_presets import LENGTHS
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import assert_close, assert_refused, noise, reference, weights_of
from tests.support.exported import ran, written
from tests.support.tcns import tcn

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(find_spec("executorch") is None, reason="needs executorch")

# XNNPACK computes in float16, layer after layer.
HALF = 5e-3
SOME = (
    "activation-gelu_tanh", "conv1d-s2-d3-g3", "conv_transpose1d-same-k5-s2-d2",
    "pool-adaptive_max-5", "pad-circular-3--2", "layer_norm-vector",
)  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_block_equals_reference(name, tmp_path):
    spec, shape = BLOCKS[name]
    path, options = written("executorch", spec, shape, tmp_path, dynamic=False)
    assert_close(*ran("executorch", spec, path, options, shape))


@pytest.mark.parametrize("name", ["tcn-base", "deepepi", "tcn-se-gated"])
def test_preset_equals_reference(name, tmp_path):
    shape = (1, *tcnzoo.load_spec(name).signal_shape(LENGTHS[name]))
    path, options = written("executorch", name, shape, tmp_path, dynamic=False)
    assert_close(*ran("executorch", name, path, options, shape))


def test_tcn_with_embeddings_equals_reference(tmp_path):
    spec = tcn("add", norm="batch_norm", gate=True, skip_connections=True)
    path, options = written("executorch", spec, SIGNAL, tmp_path, dynamic=False)
    assert_close(*ran("executorch", spec, path, options, SIGNAL))


def test_two_outputs(tmp_path):
    spec = BLOCKS["temporal_block"][0]
    path, options = written("executorch", spec, SIGNAL, tmp_path, dynamic=False)
    found, expected = ran("executorch", spec, path, options, SIGNAL)
    assert list(found) == ["output", "out"]
    assert_close(found, expected)


def test_half_precision_is_near_the_reference(tmp_path):
    options = {"input_length": 37, "precision": "float16"}
    report = tcnzoo.export(tcn(norm="batch_norm"), tmp_path / "a.pte", **options)
    random, *_ = report.comparisons
    assert 1e-5 < random.relative < HALF
    assert report.notes[1] == "XNNPACK keeps the kernels of convolutions in float32"


def test_other_shapes_are_refused(tmp_path):
    x, path = noise(2, 3, 41), tmp_path / "a.pte"
    sentence = (
        "the exported graph takes signals of shape (1, 3, 37) only, but 'input' has shape "
        "(2, 3, 41)"
    )
    options = {"input_length": 37, "inputs": x}
    assert_refused(InputError, sentence, tcnzoo.export, conv1d(), path, **options)
    assert not list(tmp_path.iterdir())


def test_a_file_without_the_method_is_refused(monkeypatch, tmp_path):
    path, options = written("executorch", conv1d(), SIGNAL, tmp_path, dynamic=False)
    monkeypatch.setattr("executorch.runtime.Program.load_method", lambda self, name: None)
    sentence = f"{str(path)!r} has no method 'forward'"
    x = noise(*SIGNAL).astype(np.float32)
    assert_refused(WeightError, sentence, get_exporter("executorch").run, path, x, options)


def test_what_cannot_be_lowered_is_one_sentence(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr("executorch.exir.to_edge_transform_and_lower", refuse)
    sentence = "ExecuTorch cannot convert this conv1d: no such operator"
    path, spec = tmp_path / "a.pte", tcnzoo.load_spec(conv1d())
    assert_refused(SpecError, sentence, tcnzoo.export, spec, path)
    assert not list(tmp_path.iterdir())


def test_command_runs_the_file(tmp_path):
    x = noise(1, 3, 37)
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(conv1d(), tmp_path / "it's.pte", inputs=x)
    assert report.passed
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = float(done.stdout.partition("[[[")[2].partition(",")[0])
    expected = tcnzoo.predict(tcnzoo.create(conv1d(), "numpy"), x)[0, 0, 0]
    assert first == pytest.approx(expected, abs=1e-3)  # printed with four digits


@pytest.mark.parametrize("level", [0.0, 100.0, 1e3, 1e4])
def test_a_layer_norm_keeps_its_numbers_around_an_offset(level, normed):
    path, options, spec = normed
    x = (noise(1, 64, 50) + level).astype(np.float32)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x)
    # Not more where the offset is large: the mean is taken off before anything is squared.
    assert_close(get_exporter("executorch").run(path, x, options), expected)


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """A layer norm that has been written: path, options and spec."""
    spec = {"kind": "layer_norm", "channels": 64}
    folder = tmp_path_factory.mktemp("normed")
    path, options = written("executorch", spec, (1, 64, 50), folder, dynamic=False)
    return path, options, tcnzoo.load_spec(spec)
