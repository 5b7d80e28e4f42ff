"""tcnzoo convert and inspect."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_safetensors
from tcnzoo.cli import app

SPEC = {"kind": "tcn", "in_channels": 3, "channels": [5, 7], "kernel_size": 2, "norm": "batch_norm"}


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def checkpoint(tmp_path):
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", seed=4), tmp_path / "model")
    return tmp_path / "model"


def test_there_and_back_keeps_every_bit(checkpoint, tmp_path):
    assert run("convert", checkpoint, tmp_path / "a.npz").exit_code == 0
    assert run("convert", tmp_path / "a.npz", tmp_path / "back").exit_code == 0
    spec, weights = read_checkpoint(checkpoint)
    spec_back, back = read_checkpoint(tmp_path / "back")
    assert spec_back == spec
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array)


def test_convert_tells_what_it_did(checkpoint, tmp_path):
    result = run("convert", checkpoint, tmp_path / "a.npz", "--json")
    found = json.loads(result.stdout)
    assert (found["from_format"], found["to_format"]) == ("tcnzoo", "mlx")
    spec, weights = read_checkpoint(checkpoint)
    assert found["tensors"] == len(weights)
    assert tcnzoo.load_spec(found["spec"]) == spec
    text = run("convert", checkpoint, tmp_path / "b.npz").stdout
    assert "b.npz (mlx)" in " ".join(text.split())


def test_convert_asks_for_the_format_of_an_ambiguous_ending(checkpoint, tmp_path):
    target = tmp_path / "a.safetensors"
    result = run("convert", checkpoint, target)
    assert result.exit_code == 2
    assert "name the format" in result.stderr
    assert run("convert", checkpoint, target, "--to", "mlx").exit_code == 0


def test_convert_keeps_what_is_there_unless_told(checkpoint, tmp_path):
    target = tmp_path / "a.npz"
    target.write_bytes(b"mine")
    result = run("convert", checkpoint, target)
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert target.read_bytes() == b"mine"
    assert run("convert", checkpoint, target, "--overwrite").exit_code == 0


def test_hints_are_values(checkpoint, tmp_path):
    plain = tmp_path / "plain.npz"
    _, weights = read_checkpoint(checkpoint)
    stored = {k: w.transpose(0, 2, 1) if w.ndim == 3 else w for k, w in weights.items()}
    np.savez(plain, **stored)
    spec = json.dumps(SPEC)
    args = ("--from", "mlx", "--set", f"spec={spec}")
    assert run("convert", plain, tmp_path / "back", *args).exit_code == 0
    _, back = read_checkpoint(tmp_path / "back")
    np.testing.assert_array_equal(back["blocks.1.conv1.weight"], weights["blocks.1.conv1.weight"])


def test_inspect_lists_every_tensor(checkpoint, tmp_path):
    run("convert", checkpoint, tmp_path / "a.npz")
    result = run("inspect", tmp_path / "a.npz")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = json.loads(run("inspect", tmp_path / "a.npz", "--json").stdout)
    rows = {row["used_as"]: row for row in found["tensors"]}
    spec, weights = read_checkpoint(checkpoint)
    assert rows.keys() == weights.keys()
    assert rows["blocks.1.conv1.weight"]["shape"] == [7, 2, 5]
    assert tcnzoo.load_spec(found["spec"]) == spec


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_nothing_there_is_a_sentence(command, tmp_path):
    target = [tmp_path / "out"] if command == "convert" else []
    result = run(command, tmp_path / "nothing.pt", *target)
    assert result.exit_code == 2
    assert "nothing at" in result.stderr
    assert result.stdout == ""


def test_an_unknown_format_is_suggested(checkpoint, tmp_path):
    result = run("convert", checkpoint, tmp_path / "a.npz", "--to", "mxl")
    assert result.exit_code == 2
    assert "did you mean 'mlx'?" in result.stderr


def test_what_was_assumed_stands_first(tmp_path):
    """In the first lines of what is printed, and before the model in JSON."""
    codes = np.random.default_rng(0).standard_normal((1, 7, 5)).astype(np.float32)
    names = {"embed": codes, "embed_avg": codes, "cluster_size": codes[:, :, 0]}
    path = tmp_path / "codes.safetensors"
    write_safetensors(path, {f"_codebook.{name}": one for name, one in names.items()}, {})
    for command in (("convert", path, tmp_path / "ours"), ("inspect", path)):
        text = " ".join(run(*command).stdout.split())
        assert "assumed heads=1," in text
        assert text.index("assumed heads=1,") < text.index(" model vector_quantizer")
        extra = ("--overwrite",) if command[0] == "convert" else ()
        document = json.loads(run(*command, *extra, "--json").stdout)
        assert document["assumed"]["heads"] == 1
        assert list(document).index("assumed") < list(document).index("spec")
