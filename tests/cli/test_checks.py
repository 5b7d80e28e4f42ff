"""tcnzoo parity, bench, doctor."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.verification import bench, doctor

SPEC = {
    "kind": "sequential",
    "layers": {
        "first": {"kind": "conv_block", "in_channels": 3, "out_channels": 5, "kernel_size": 3,
                  "norm": "batch_norm", "activation": "relu"},
        "second": {"kind": "conv1d", "in_channels": 5, "out_channels": 2, "kernel_size": 3},
    },
}  # fmt: skip


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def checkpoint(tmp_path):
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", seed=4), tmp_path / "model")
    return tmp_path / "model"


def test_parity_of_all_backends(checkpoint, backends):
    result = run("parity", checkpoint, "--backends", ",".join(backends), "--layers", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["backend"] for row in found["rows"]] == backends
    assert found["passed"]
    assert found["first_divergence"] == {}
    assert {"first.conv", "first", "second"} <= {layer["path"] for layer in found["layers"]}


def test_parity_prints_a_table_that_fits(checkpoint):
    result = run("parity", checkpoint, "--backends", "numpy", "--layers")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "numpy" in result.stdout
    assert "first.norm" in result.stdout


def test_parity_fails_and_names_the_first_layer_that_diverges(checkpoint, tmp_path):
    model = tcnzoo.load(checkpoint, "numpy")
    weights = tcnzoo.get_weights(model)
    weights["second.bias"] = weights["second.bias"] + np.float32(1e-3)
    tcnzoo.set_weights(model, weights)
    tcnzoo.save(model, tmp_path / "other")
    args = ("parity", checkpoint, tmp_path / "other", "--backends", "numpy", "--layers")
    result = run(*args)
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "numpy: the first layer that diverges is second" in result.stdout
    found = json.loads(run(*args, "--json").stdout)
    assert not found["passed"]
    assert found["first_divergence"] == {"numpy": "second"}


def test_parity_takes_overrides():
    change = ("--set", "channels=[5, 7]", "--input-length", 37)
    found = json.loads(run("parity", "tcn-base", *change, "--backends", "numpy", "--json").stdout)
    spec = tcnzoo.load_spec("tcn-base", channels=[5, 7])
    assert found["rows"][0]["trainable"] == tcnzoo.count_params(spec).trainable
    assert found["input_shape"] == [2, 8, 37]


def test_bench_times_every_task(checkpoint, backends):
    args = (checkpoint, "--rounds", 3, "--input-length", 50, "--chunks", "1,4")
    rows = json.loads(run("bench", *args, "--backends", ",".join(backends), "--json").stdout)[
        "rows"
    ]
    expected = [(task, name) for task in ("forward", "step 1", "step 4") for name in backends]
    assert [(row["task"], row["backend"]) for row in rows] == expected
    for row in rows:
        assert 0.0 < row["fastest"] <= row["milliseconds"] <= row["slowest"]


def test_bench_prints_ratios_to_the_fastest(checkpoint):
    args = (checkpoint, "--backend", "numpy", "--rounds", 1, "--input-length", 50)
    text = run("bench", *args).stdout
    assert text.count("1.00x") == 4
    assert max(map(len, text.splitlines())) <= 80


def test_bench_leaves_out_steps_of_a_model_that_cannot_stream():
    rows = bench.bench(tcnzoo.load_spec("deepepi"), ["numpy"], rounds=1)
    assert [row.task for row in rows] == ["forward"]


def test_bench_row_is_the_median():
    row = bench._row("step 4", "numpy", [3.0, 1.0, 8.0], 4)
    assert (row.milliseconds, row.fastest, row.slowest) == (3.0, 1.0, 8.0)
    assert row.samples_per_second == pytest.approx(4000 / 3)


def test_doctor_runs_every_backend(backends):
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.stdout
    found = {one["info"]["name"]: one for one in json.loads(result.stdout)["findings"]}
    for name in backends:
        assert found[name]["info"]["installed"]
        assert found[name]["error"] < 1e-5


def test_doctor_says_what_to_install(monkeypatch):
    monkeypatch.setattr(doctor, "missing_package", {"mlx": "mlx.core"}.get)
    monkeypatch.setattr(doctor, "backend_modules", lambda: ["numpy", "mlx"])
    result = run("doctor")
    assert result.exit_code == 0
    assert "mlx.core is missing: pip install 'tcnzoo[mlx]'" in result.stdout


def test_doctor_fails_for_a_backend_that_is_broken(monkeypatch):
    def broken(name):
        raise OSError("libfoo.so is missing")

    monkeypatch.setattr(doctor, "missing_package", lambda name: None)
    monkeypatch.setattr(doctor, "get_backend", broken)
    result = run("doctor")
    assert result.exit_code == 1
    assert "torch: OSError: libfoo.so is missing" in result.stdout


@pytest.mark.parametrize("sentences", [[], ["its products run on X; install Y"]])
def test_doctor_says_what_runs_in_mlx_and_what_helps(sentences, monkeypatch):
    mlx = pytest.importorskip("tcnzoo.backends.mlx")
    monkeypatch.setattr(mlx, "advice", lambda: sentences)
    monkeypatch.setattr(doctor, "backend_modules", lambda: ["mlx"])
    shown = " ".join(run("doctor").stdout.split())
    assert f"mlx: products of matrices on the CPU by {mlx.current_blas().name}" in shown
    assert ("slow: mlx: its products run on X; install Y" in shown) == bool(sentences)


def test_the_doctor_cleans_up_after_killed_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "backend_modules", lambda: ["numpy"])
    left = tmp_path / "nets" / ".tcnzoo-dead"
    (left / "files").mkdir(parents=True)
    (left / "files" / "net.pt").write_bytes(b"cut")
    result = run("doctor", tmp_path, "--json")
    assert json.loads(result.stdout)["settled"] == [str(left)]
    assert not left.exists()
    left.mkdir()
    assert "cleaned up after a write that was killed" in run("doctor", tmp_path).stdout
    assert "killed" not in run("doctor", tmp_path).stdout
    result = run("doctor", tmp_path / "none")
    assert result.exit_code == 2
    assert "no directory at" in result.stderr
