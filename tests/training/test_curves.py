"""Curves of several runs side by side, and the command `curves`."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tcnzoo.cli import app
from tcnzoo.errors import InputError
from tcnzoo.training.run_comparison import Gap, draw_runs, gaps, logged, read_run
from tests.support.compare import assert_refused
from tests.support.runs import config_of

LOSSES = [4.0, 2.0, 1.0, 0.5]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes the directory of a run that has logged some losses, from step 1, and accuracies."""
    monkeypatch.chdir(tmp_path)

    def made(name, losses, backend="torch", accuracy=()):
        folder = Path(name)
        folder.mkdir()
        told = config_of(tmp_path, backend=backend, training={"precision": "64-true"})
        text = yaml.safe_dump(told.model_dump(mode="json"), sort_keys=False)
        (folder / "config.yaml").write_text(text)
        lines = [
            {"kind": "step", "step": step, "epoch": 0, "loss": loss}
            for step, loss in enumerate(losses, start=1)
        ]
        lines += [
            {"kind": "evaluation", "step": 2 * step, "epoch": 0, "val_accuracy": value}
            for step, value in enumerate(accuracy, start=1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        return folder

    return made


def test_the_largest_difference_and_where_it_is(make):
    runs = [make("a", LOSSES), make("b", [4.0, 2.2, 1.05, 0.5, 0.1]), make("c", LOSSES)]
    found = gaps([read_run(one) for one in runs], ["loss"])
    assert [gap.run for gap in found] == [str(runs[1]), str(runs[2])]
    assert (found[0].steps, found[0].step, found[0].last) == (4, 2, (0.5, 0.5))
    assert found[0].largest == pytest.approx(0.2 / 2.2)
    assert found[1] == Gap(str(runs[2]), "loss", 4, 0.0, 1, (0.5, 0.5))


def test_nought_in_one_run_is_all_the_difference_and_in_both_none(make):
    runs = [make("a", LOSSES, accuracy=[0.0, 0.5]), make("b", LOSSES, accuracy=[0.0, 0.0])]
    (gap,) = gaps([read_run(one) for one in runs], ["val_accuracy"])
    assert (gap.largest, gap.step, gap.steps) == (1.0, 4, 2)


def test_defaults_are_those_that_are_there(make):
    runs = [read_run(make(name, LOSSES)) for name in "ab"]
    assert logged(runs, ("loss", "val_loss")) == ["loss"]
    assert (runs[0].backend, runs[0].precision) == ("torch", "64-true")


def run(*args):
    """Run the command in this process."""
    return CliRunner().invoke(app, ["curves", *(str(arg) for arg in args)])


def test_the_command_tells_and_draws(make, tmp_path):
    runs = [make("a", LOSSES), make("b", [x * (1 + 1e-9) for x in LOSSES], backend="keras")]
    picture = tmp_path / "curves.png"
    result = run(*runs, "--output", picture)
    assert result.exit_code == 0, result.output
    assert "1.0e-09" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = run(*runs, "--output", picture)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_one_run_is_drawn_and_has_nothing_beside_it(make):
    one = make("a", LOSSES)
    result = run(one, "--output", "a.png")
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path("a.png").is_file()
    assert "two runs are needed, but got 1" in run(one).stderr


@pytest.mark.parametrize("tolerance, code", [(1e-8, 0), (1e-10, 1)])
def test_a_tolerance_decides(make, tolerance, code):
    runs = [make("a", LOSSES), make("b", [x * (1 + 1e-9) for x in LOSSES])]
    result = run(*runs, "--tolerance", tolerance, "--json")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    assert document["held"] == (code == 0)
    assert document["gaps"][0]["largest"] == pytest.approx(1e-9, rel=1e-6)


def test_curves_over_each_other_are_all_to_be_seen(make, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    runs = [read_run(make(name, LOSSES)) for name in "ab"]
    draw_runs(runs, tmp_path / "both.png", ["loss"])
    pixels = (image.imread(tmp_path / "both.png")[..., :3] * 255).round().astype(int)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (np.abs(pixels - colour).sum(axis=-1) < 10).sum() > 200


def test_what_cannot_be_compared(make, tmp_path):
    one, other = make("a", LOSSES), make("b", LOSSES)
    empty = make("c", [])
    assert_refused(InputError, f"the run {str(empty)!r} has logged nothing yet", read_run, empty)
    sentence = f"{str(tmp_path)!r} is not the directory of a run: it has no config.yaml"
    assert_refused(InputError, sentence, read_run, tmp_path)
    (empty / "metrics.jsonl").unlink()
    assert_refused(InputError, f"the run {str(empty)!r} has logged nothing yet", read_run, empty)
    (empty / "config.yaml").write_text("backend: torch")
    sentence = "the configuration lacks 'model': a preset, a spec file or a spec"
    assert_refused(InputError, sentence, read_run, empty)
    read = [read_run(one), read_run(other)]
    sentence = "there is nothing to compare: two runs are needed, but got 1"
    assert_refused(InputError, sentence, gaps, read[:1])
    sentence = f"the run {str(one)!r} has logged no 'los'; did you mean 'loss'?"
    assert_refused(InputError, sentence, gaps, read, ["los"])
    late = make("d", [])
    line = {"kind": "step", "step": 9, "epoch": 0, "loss": 1.0}
    (late / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    sentence = f"{str(one)!r} and {str(late)!r} have logged 'loss' at no step in common"
    assert_refused(InputError, sentence, gaps, [read[0], read_run(late)], ["loss"])
    sentence = "one picture holds up to 5 runs, but got 6"
    assert_refused(InputError, sentence, draw_runs, read * 3, tmp_path / "x.png", ["loss"])
    assert not (tmp_path / "x.png").exists()
