"""Exit codes and sentences of the command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app

COMMANDS = [
    "list", "describe", "init", "convert", "inspect", "parity",
    "predict", "stream", "bench", "doctor", "demo", "export", "train", "cross-validate", "simulate",
    "segment", "demo-behaviour", "detect", "compare",
]  # fmt: skip


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of 3 channels that streams, and signals that fit and do not fit."""
    spec = {"kind": "tcn", "in_channels": 3, "channels": [5, 7], "kernel_size": 3}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "model")
    generator = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", generator.standard_normal((3, 37)))
    np.save(tmp_path / "turned.npy", generator.standard_normal((37, 3)))
    np.save(tmp_path / "vector.npy", generator.standard_normal(3))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:200])
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "bad.safetensors").write_bytes(b"not a state")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    "args, sentence",
    [
        ("describe tcn-bsae", "unknown model 'tcn-bsae'; did you mean 'tcn-base'?"),
        ("describe tcn-base --set chanels=[3]", "'chanels'; did you mean 'channels'?"),
        ("describe tcn-base --set channels", "--set takes name=value, but got 'channels'"),
        ("describe tcn-base --set channels=[3", "--set channels: '[3' is not a YAML value"),
        ("describe deepepi --input-length 3", "needs at least 5 steps, but 3 came"),
        ("describe nothing.yaml", "no spec at 'nothing.yaml'"),
        ("describe", "describe takes a model"),
        ("predict nothing --input x.npy", "no checkpoint at 'nothing'"),
        ("predict model --input nothing.npy", "no file at 'nothing.npy'"),
        ("predict model --input turned.npy", "its axes are the other way round"),
        ("predict model --input vector.npy", "must be (channels, time) or (batch, channels, time)"),
        ("predict model --input text.npy", "must hold real numbers"),
        ("predict model --input cut.npy", "is not a .npy array"),
        ("predict model --input ragged.csv", "line 3 is not 2 numbers"),
        ("predict model --input x.mat", "a signal is a .npy or .csv file, but got 'x.mat'"),
        ("predict model --input x.npy --output y.mat", "a signal is a .npy or .csv file"),
        ("predict model --input x.npy --backend troch", "'troch'; did you mean 'torch'?"),
        ("predict model --input x.npy --dtype int8", "computes in"),
        ("stream model --input x.npy --state-in bad.safetensors", "not a whole safetensors file"),
        ("stream model --input x.npy --state-in model/model.safetensors", "no streaming state"),
        ("stream model --input x.npy --state-in x.npy", "a state is a .safetensors file"),
        ("stream model --input x.npy --state-in no.safetensors", "no file at 'no.safetensors'"),
        ("parity tcn-base --backends ,", "--backends takes names separated by commas"),
        ("parity model --set dropout=0", "--set changes presets and spec files"),
        ("bench tcn-base --chunks 1,x", "--chunks takes numbers of samples"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(args, sentence, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = run(*args.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_that_cannot_stream_is_refused(tmp_path):
    run("init", "deepepi", tmp_path / "model")
    np.save(tmp_path / "x.npy", np.zeros((1, 200)))
    result = run("stream", tmp_path / "model", "--input", tmp_path / "x.npy", "--backend", "numpy")
    assert result.exit_code == 2
    assert "this model cannot stream: pool" in result.stderr


def test_a_state_of_another_model_is_refused(folder):
    args = ("--input", folder / "x.npy", "--backend", "numpy")
    state = folder / "state.safetensors"
    assert run("stream", folder / "model", *args, "--state-out", state).exit_code == 0
    other = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}
    tcnzoo.save(tcnzoo.create(other, "numpy"), folder / "other")
    result = run("stream", folder / "other", *args, "--state-in", state)
    assert result.exit_code == 2
    assert "the state must have the 1 arrays of this model" in result.stderr


@pytest.mark.parametrize("args", ["nothing", "describe --nothing", "init tcn-base", ""])
def test_usage_errors_are_exit_code_2(args):
    assert run(*args.split()).exit_code == 2


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("init", "tcn-base", tmp_path / "file" / "inside")
    assert result.exit_code == 2
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_output_that_is_not_finite_is_told(folder):
    np.save(folder / "x.npy", np.full((3, 37), np.nan))
    result = run("predict", folder / "model", "--input", folder / "x.npy", "--backend", "numpy")
    assert result.exit_code == 0
    assert "warning: the output holds NaN" in result.stderr


def started(*args):
    """Start `python -m tcnzoo` in a process of its own."""
    command = [sys.executable, "-m", "tcnzoo", *map(str, args)]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root)


def test_as_a_program():
    out, err = started("list", "--json").communicate(timeout=60)
    assert out.startswith(b"[")
    assert err == b""


def test_as_a_program_errors_have_no_traceback():
    process = started("describe", "nothing")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(b"tcnzoo: error: unknown model 'nothing'")
    assert b"Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("args", [["describe", "--schema"], ["describe", "tcn-eeg-encoder"]])
def test_a_closed_pipe_is_tidy(args):
    with started(*args) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_an_interrupt_is_tidy(monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tcnzoo.cli.checks.run_bench", interrupted)
    result = run("bench", "tcn-base")
    assert result.exit_code == 130
    assert (result.stdout, result.stderr) == ("", "tcnzoo: interrupted\n")


def test_a_framework_that_does_not_import_is_a_sentence(monkeypatch):
    def broken(*args, **options):
        raise ImportError("libfoo.so is missing")

    monkeypatch.setattr("tcnzoo.cli.checks.run_bench", broken)
    result = run("bench", "tcn-base")
    assert result.exit_code == 2
    assert "cannot be imported (libfoo.so is missing); see: tcnzoo doctor" in result.stderr
