"""tcnzoo predict and stream."""

import json

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.streaming_states import read_state, write_state
from tcnzoo.cli import app

SPEC = {
    "kind": "tcn",
    "in_channels": 3,
    "channels": [5, 7],
    "kernel_size": 3,
    "gate": True,
    "squeeze_excitation": {"pool": "cumulative"},
    "output_projection": 2,
}


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def checkpoint(tmp_path):
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", seed=4), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def signal(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 37)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return x


@pytest.fixture
def expected(checkpoint, signal):
    return tcnzoo.predict(tcnzoo.load(checkpoint, "numpy"), signal[None])[0]


def test_predict_writes_the_output(backend, checkpoint, tmp_path, expected):
    args = ("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--backend", backend)
    assert run("predict", checkpoint, *args).exit_code == 0
    y = np.load(tmp_path / "y.npy")
    assert y.shape == (2, 37)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_predict_keeps_a_batch(checkpoint, tmp_path, signal, expected):
    np.save(tmp_path / "batch.npy", np.stack([signal, signal]))
    args = ("--input", tmp_path / "batch.npy", "--output", tmp_path / "y.npy", "--backend", "numpy")
    found = json.loads(run("predict", checkpoint, *args, "--json").stdout)
    assert (found["input"], found["output"]) == ([2, 3, 37], [2, 2, 37])
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy")[1], expected)


def test_csv_has_a_line_for_each_step(checkpoint, tmp_path, signal, expected):
    np.savetxt(tmp_path / "x.csv", signal.T, delimiter=",", header="a,b,c", comments="")
    args = ("--input", tmp_path / "x.csv", "--output", tmp_path / "y.csv", "--backend", "numpy")
    assert run("predict", checkpoint, *args).exit_code == 0
    y = np.loadtxt(tmp_path / "y.csv", delimiter=",")
    np.testing.assert_allclose(y.T, expected, atol=1e-6)


def test_alias_names_the_backend(checkpoint, tmp_path, signal, backends):
    if "torch" not in backends:
        pytest.skip("torch is not tested")
    args = ("--input", tmp_path / "x.npy", "--backend", "pytorch", "--json")
    assert json.loads(run("predict", checkpoint, *args).stdout)["backend"] == "torch"


def test_few_values_are_printed(tmp_path):
    run("init", "deepepi", tmp_path / "model")
    np.save(tmp_path / "x.npy", np.zeros((1, 125), dtype=np.float32))
    args = ("--input", tmp_path / "x.npy", "--backend", "numpy", "--json")
    values = json.loads(run("predict", tmp_path / "model", *args).stdout)["values"]
    model = tcnzoo.load(tmp_path / "model", "numpy")
    np.testing.assert_allclose(values, tcnzoo.predict(model, np.zeros((1, 1, 125)))[0], rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 5, 37, 100])
def test_stream_equals_predict(chunk, checkpoint, tmp_path, expected):
    args = ("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--chunk", chunk)
    found = json.loads(run("stream", checkpoint, *args, "--backend", "numpy", "--json").stdout)
    assert found["chunks"] == -(-37 // chunk)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)


def test_stream_goes_on_in_another_backend(backend, checkpoint, tmp_path, signal, expected):
    state = tmp_path / "state.safetensors"
    pieces = []
    for part, name in ((signal[:, :20], "numpy"), (signal[:, 20:], backend)):
        np.save(tmp_path / "part.npy", part)
        args = ["--input", tmp_path / "part.npy", "--output", tmp_path / "y.npy", "--chunk", 8]
        args += ["--state-in", state] if pieces else []
        result = run("stream", checkpoint, *args, "--state-out", state, "--backend", name)
        assert result.exit_code == 0, result.stderr
        pieces.append(np.load(tmp_path / "y.npy"))
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), expected, atol=1e-5)


def test_embeddings_are_cut_with_the_chunks(tmp_path, signal):
    spec = {**SPEC, "embeddings": [4, {"channels": 2, "per_step": True}]}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "model")
    generator = np.random.default_rng(1)
    rows = [generator.standard_normal((1, 4)), generator.standard_normal((1, 2, 37))]
    args = ["--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--backend", "numpy"]
    for place, row in enumerate(rows):
        np.save(tmp_path / f"e{place}.npy", row)
        args += ["--embedding", tmp_path / f"e{place}.npy"]
    assert run("stream", tmp_path / "model", *args, "--chunk", 5).exit_code == 0
    whole = tcnzoo.predict(tcnzoo.load(tmp_path / "model", "numpy"), signal[None], embeddings=rows)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), whole[0], atol=1e-5)


def test_a_bfloat16_state_survives_its_file(tmp_path):
    context = np.arange(6).reshape(1, 2, 3).astype(ml_dtypes.bfloat16)
    write_state(tmp_path / "s.safetensors", {"a.context": context, "a.skip": np.int32(3)})
    held = read_state(tmp_path / "s.safetensors")
    assert held["a.context"].dtype == context.dtype
    np.testing.assert_array_equal(held["a.context"], context)
    assert held["a.skip"].shape == ()
    assert int(held["a.skip"]) == 3
