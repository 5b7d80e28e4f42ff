"""tcnzoo export."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.runtimes import report
from tests.support.cases import conv1d
from tests.support.compare import noise

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SPEC = {
    "kind": "sequential",
    "layers": {
        "a": {**conv1d(), "kind": "conv_block", "norm": "batch_norm", "activation": "relu"},
        "pool": {"kind": "pool"},
        "head": {"kind": "dense", "in_features": 5, "out_features": 2},
    },
}


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def checkpoint(tmp_path):
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", seed=4), tmp_path / "model")
    np.save(tmp_path / "x.npy", noise(2, 3, 37))
    return tmp_path / "model"


def test_export_tells_what_it_did(checkpoint, tmp_path):
    target = tmp_path / "a.onnx"
    args = ("export", checkpoint, target, "--input", tmp_path / "x.npy")
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert f"size {target.stat().st_size:,} bytes" in text
    assert "random 1 x 3 x 37" in text
    assert "2 x 3 x 37" in text
    assert f'onnxruntime as ort s = ort.InferenceSession("{target}")' in text
    found = json.loads(run(*args, "--overwrite", "--json").stdout)
    assert found["passed"]
    assert [row["shape"] for row in found["comparisons"]] == [*[[1, 3, 37]] * 3, [2, 3, 37]]
    assert max(row["relative"] for row in found["comparisons"]) < 1e-5


def test_lines_of_the_command_are_not_wrapped(checkpoint, tmp_path):
    result = run("export", checkpoint, tmp_path / "a.onnx", "--rank", 4)
    report = json.loads(
        run("export", checkpoint, tmp_path / "a.onnx", "--rank", 4, "--overwrite", "--json").stdout
    )
    assert report["command"] in result.stdout


def test_default_name_is_the_source_s(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", checkpoint, "--to", "onnx").exit_code == 0
    assert (tmp_path / "model.onnx").is_file()
    assert "exists already" in run("export", checkpoint, "--to", "onnx").stderr
    result = run("export", checkpoint)
    assert result.exit_code == 2
    assert "name the runtime (--to) or a file to write" in result.stderr


def test_options_reach_the_file(checkpoint, tmp_path):
    target = tmp_path / "a.onnx"
    args = ("--static", "--input-length", 21, "--batch-size", 2, "--precision", "float16")
    assert run("export", checkpoint, target, *args).exit_code == 0
    (port,) = onnxruntime.InferenceSession(target).get_inputs()
    assert (port.shape, port.type) == ([2, 3, 21], "tensor(float16)")
    streams = {"kind": "dense", "in_features": 3, "out_features": 2}
    (tmp_path / "dense.json").write_text(json.dumps(streams))
    args = ("--vectors", "--overwrite", "--seed", 3)
    assert run("export", tmp_path / "dense.json", target, *args).exit_code == 0
    assert onnxruntime.InferenceSession(target).get_inputs()[0].shape == ["batch", 3]
    assert run("export", "tcn-base", target, "--overwrite", "--streaming").exit_code == 0
    assert len(onnxruntime.InferenceSession(target).get_inputs()) == 9


def test_int8_takes_representative_signals(checkpoint, tmp_path):
    np.save(tmp_path / "r.npy", noise(40, 3, 37))
    args = ("--precision", "int8", "--representative", tmp_path / "r.npy", "--json")
    result = run("export", checkpoint, tmp_path / "a.onnx", *args)
    found = json.loads(result.stdout)
    assert [row["shape"][0] for row in found["comparisons"]] == [500, 40]
    assert all(0.5 < row["agreement"] <= 1 for row in found["comparisons"])
    assert found["tolerance"] is None


def test_check_with_an_export(checkpoint, tmp_path):
    target, args = tmp_path / "a.onnx", ("--to", "onnx", "--rank", 4, "--check", "hailo")
    result = run("export", checkpoint, target, *args)
    assert result.exit_code == 0
    assert "nothing that the compiler is known to refuse" in result.stdout
    again = run("export", checkpoint, target, "--overwrite", "--check", "hailo", "--json")
    assert again.exit_code == 1
    found = json.loads(again.stdout)
    assert found["passed"]
    assert {row["operator"] for row in found["violations"]} == {
        "input",
        "Conv",
        "GlobalAveragePool",
    }


def test_check_of_a_file_writes_nothing(checkpoint, tmp_path):
    target = tmp_path / "a.onnx"
    run("export", checkpoint, target)
    before = sorted(tmp_path.iterdir())
    result = run("export", target, "--check", "hailo")
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    assert "/a.conv/Conv" in text
    assert "--rank 4" in text
    assert sorted(tmp_path.iterdir()) == before
    run("export", checkpoint, target, "--rank", 4, "--overwrite")
    assert json.loads(run("export", target, "--check", "hailo", "--json").stdout) == {
        "violations": []
    }


def test_beyond_tolerance_is_exit_1(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(report.TOLERANCES, "float32", 0.0)
    monkeypatch.setattr(report, "ROOM", 0.0)
    result = run("export", checkpoint, tmp_path / "a.onnx")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


@pytest.mark.parametrize(
    "args, words",
    [
        (("--to", "onxn"), "unknown export 'onxn'; did you mean 'onnx'?"),
        (("--check", "halo"), "unknown check 'halo'; did you mean 'hailo'?"),
        (("--precision", "int8"), "give representative data"),
        (("--rank", "5"), "has no rank 5"),
        (("--streaming",), "this model cannot stream"),
    ],
)
def test_bad_options_are_one_sentence(args, words, checkpoint, tmp_path):
    result = run("export", checkpoint, tmp_path / "a.onnx", *args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a.onnx").exists()
