"""The command `train`."""

import json

import pytest
import yaml
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.backends import numpy as plain
from tcnzoo.cli import app
from tcnzoo.training import session
from tests.support.runs import SPEC, PlainStepper, document_of, plain_lines


@pytest.fixture(autouse=True)
def _no_framework(monkeypatch):
    monkeypatch.setattr(plain, "stepper", PlainStepper, raising=False)
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)


@pytest.fixture
def path(tmp_path):
    """A configuration of 18 steps."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document_of(tmp_path), sort_keys=False))
    return path


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, ["train", *(str(arg) for arg in args)])


def test_it_trains_and_tells_where_the_files_are(path):
    result = run(path)
    assert result.exit_code == 0, result.output
    assert "finished after 18 steps, 3 epochs" in result.stdout
    assert str(path.parent / "run") in "".join(result.stdout.split())
    assert "val_loss" in result.stdout
    model = tcnzoo.load(path.parent / "run" / "checkpoints" / "best", backend="numpy")
    assert tcnzoo.count_params(model) == tcnzoo.count_params(SPEC)


def test_json_is_all_on_stdout(path):
    result = run(path, "--json", "--set", "training.epochs=2", "--set", "seed=4")
    document = json.loads(result.stdout)
    assert (document["steps"], document["ended"]) == (12, "finished")
    assert document["metrics"].keys() >= {"train_loss", "val_loss", "val_accuracy"}
    assert result.stderr == ""


def test_a_trial_keeps_nothing(path):
    before = sorted(path.parent.iterdir())
    result = run(path, "--fast-dev-run")
    assert result.exit_code == 0, result.output
    assert "none kept" in result.stdout
    assert "finished after 2 steps" in result.stdout
    assert sorted(path.parent.iterdir()) == before


def test_a_run_is_taken_up_from_its_directory(path):
    run(path, "--set", "training.epochs=1")
    refused = run(path)
    assert refused.exit_code == 2
    assert "exists already; go on with resume" in refused.stderr
    result = run(path.parent / "run", "--resume", "--set", "training.epochs=2", "--json")
    assert json.loads(result.stdout)["steps"] == 12
    lines = plain_lines(path.parent / "run")
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 13))


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--set", "training.epoch=1"], "unknown field 'epoch' at 'training'; did you mean"),
        (["--set", "optimizer.kind=adan"], "unknown kind 'adan' at 'optimizer'; did you mean"),
        (["--set", "epochs"], "--set takes name=value, but got 'epochs'"),
        (["--backend", "torhc"], "unknown backend 'torhc'; did you mean 'torch'?"),
        (["--set", "data.path=none.npz"], "none.npz"),
        (["--set", "model=deepepi"], "expects 1 channels"),
        (["--set", "init=nowhere"], "no checkpoint at 'nowhere'"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(path, args, sentence):
    before = sorted(path.parent.iterdir())
    result = run(path, *args)
    assert result.exit_code == 2
    assert result.stderr.startswith("tcnzoo: error: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert sorted(path.parent.iterdir()) == before


def test_a_configuration_that_is_not_there_is_told(tmp_path):
    result = run(tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "no configuration (.yaml or .json)" in result.stderr


def test_help_names_the_options():
    text = run("--help").stdout
    for option in ("--backend", "--set", "--fast-dev-run", "--resume", "--json"):
        assert option in text
