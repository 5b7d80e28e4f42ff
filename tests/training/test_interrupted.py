"""Runs that are cut short, ended by a scheduler, or started twice: `last` stays whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.training import session, train
from tcnzoo.training.checkpoints import Checkpoints
from tcnzoo.training.progress import Progress
from tests.support.compare import assert_same_bits, weights_of
from tests.support.processes import printed_by, run_script, wait_until_begun
from tests.support.runs import PlainStepper, config_of, document_of

TINY = tcnzoo.load_spec({"kind": "dense", "in_features": 3, "out_features": 2})
SAVES = """
import sys
from pathlib import Path
from tcnzoo.training.checkpoints import Checkpoints
from tcnzoo.training.progress import Progress
from tests.support.compare import weights_of
from tests.support.processes import killed_at
from tests.training.test_interrupted import TINY


def save(folder, seed):
    Checkpoints(folder, ("best", "last")).save(TINY, weights_of(TINY, seed), {}, Progress(step=5),
                                               best=seed == 0)


for point in range(1, 200):
    folder = Path(sys.argv[1]) / f"at {point}"
    save(folder, 0)
    if not killed_at(point, lambda: save(folder, 1)):
        break
print("ended", point)
"""


@pytest.fixture
def plain(monkeypatch):
    """Training of no framework, without figures."""
    monkeypatch.setattr(session.get_backend("numpy"), "stepper", PlainStepper, raising=False)
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)


def test_a_step_that_is_saved_again_never_leaves_last_without_a_checkpoint(tmp_path):
    count = int(printed_by(SAVES, tmp_path).split()[-1])
    assert count > 10
    found = []
    for point in range(1, count):
        kept = Checkpoints(tmp_path / f"at {point}", ("best", "last"))
        # As it is after the kill, with nothing put right by us, for whoever follows the link.
        weights = read_checkpoint(kept.folder / "last")[1]
        seed = int((weights["weight"] == weights_of(TINY, 1)["weight"]).all())
        assert_same_bits(weights, weights_of(TINY, seed))
        assert kept.load()[3].step == 5
        found.append(seed)
        kept.take_up(kept.newest())
        assert_same_bits(kept.load()[1], weights_of(TINY, seed))
        assert not [one for one in kept.folder.rglob(".*")]
    assert found == sorted(found)
    assert {0, 1} == set(found)


def test_a_step_that_is_saved_again_takes_the_place_of_the_first(tmp_path):
    kept = Checkpoints(tmp_path, ("best", "last", "every"))
    for seed in range(4):
        kept.save(TINY, weights_of(TINY, seed), {}, Progress(step=5), best=False)
        assert_same_bits(kept.load()[1], weights_of(TINY, seed))
        assert len([one for one in tmp_path.iterdir() if not one.is_symlink()]) == 1
    kept.save(TINY, weights_of(TINY, 4), {}, Progress(step=6), best=True)
    assert len([one for one in tmp_path.iterdir() if not one.is_symlink()]) == 2


def cut(folder, what):
    """Leave a finished run as a kill at the wrong moment left it."""
    kept = folder / "run" / "checkpoints"
    real = Path(os.path.realpath(kept / "last"))
    if what == "no link":
        (kept / "last").unlink()
    elif what == "moved aside":  # as earlier versions did before they saved a step again
        (kept / ".writing-abc").mkdir()
        real.rename(kept / ".writing-abc" / "before")
        (kept / ".writing-abc" / real.name).mkdir()  # half written
    elif what == "nothing whole":
        for path in kept.glob("*/progress.json"):
            path.unlink()
        (kept / "last").unlink()
    elif what == "never saved":
        shutil.rmtree(kept)


@pytest.mark.parametrize("what", ["no link", "moved aside"])
def test_a_run_goes_on_from_the_checkpoint_that_is_left(what, tmp_path, plain):
    whole = train(config_of(tmp_path, output=str(tmp_path / "whole"), training={"epochs": 5}))
    first = train(config_of(tmp_path, training={"epochs": 3}))
    cut(tmp_path, what)
    with pytest.warns(UserWarning, match="checkpoints/last' is missing; the run goes on from"):
        after = train(config_of(tmp_path, training={"epochs": 5}), resume=True)
    assert (first.steps, after.steps) == (18, 30)
    assert_same_bits(tcnzoo.get_weights(after.model), tcnzoo.get_weights(whole.model))
    assert not [one for one in after.directory.rglob(".*")]


def test_a_run_does_not_begin_again_over_remains_of_checkpoints(tmp_path, plain):
    train(config_of(tmp_path))
    cut(tmp_path, "nothing whole")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(tcnzoo.InputError, match="holds remains of checkpoints, but none that"):
        train(config_of(tmp_path), resume=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_begins_again_for_lack_of_a_checkpoint_warns(tmp_path, plain):
    train(config_of(tmp_path))
    cut(tmp_path, "never saved")
    with pytest.warns(UserWarning, match="before its first checkpoint, after 18 steps .* step 0"):
        train(config_of(tmp_path), resume=True)


# A run whose third step waits until it is told to go on.
SLOW = """
import signal, sys, time
from pathlib import Path
from tcnzoo.backends import numpy as plain
from tcnzoo.cli import main
from tcnzoo.training import session
from tests.support.runs import PlainStepper

# A shell that starts the tests in the background lets them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
step = PlainStepper.step


def slow(self, *args):
    if self.count == 8 and not (folder / "go").exists():
        (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return step(self, *args)


PlainStepper.step = slow
plain.stepper = PlainStepper
session.draw_curves = lambda folder: None
sys.argv = ["tcnzoo", "train", str(folder / "config.yaml"), "--resume", "--json"]
main()
"""


def begun(folder):
    """A run in another process, which is taking its ninth step, after a checkpoint of the sixth."""
    (folder / "config.yaml").write_text(yaml.safe_dump(document_of(folder), sort_keys=False))
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_begun(process, folder)
    return process


def test_a_run_has_one_process(tmp_path, plain):
    process = begun(tmp_path)
    try:
        message = rf"run' is being trained by another process \(process {process.pid} on"
        with pytest.raises(tcnzoo.InputError, match=message):
            train(config_of(tmp_path), resume=True)
        with pytest.raises(tcnzoo.InputError, match="run' exists already; go on with resume"):
            train(config_of(tmp_path))
        (tmp_path / "go").touch()
        printed = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    assert json.loads(printed[0])["steps"] == 18
    assert train(config_of(tmp_path), resume=True).steps == 18


def test_a_process_that_was_overtaken_does_not_go_on(tmp_path, plain, monkeypatch):
    # Another process takes the run up and ends it while this one reads its data.
    train(config_of(tmp_path, training={"epochs": 1}))
    load, done = session.load_data, []

    def late(*args):
        if not done:
            done.append(True)
            train(config_of(tmp_path), resume=True)
        return load(*args)

    monkeypatch.setattr(session, "load_data", late)
    with pytest.raises(tcnzoo.InputError, match="another process has trained in .* meanwhile"):
        train(config_of(tmp_path), resume=True)


@pytest.mark.parametrize(
    "number, code, word",
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_ends_training_and_keeps_its_checkpoint(number, code, word, tmp_path, plain):
    process = begun(tmp_path)
    try:
        process.send_signal(number)
        _, printed = process.communicate(timeout=600)
    finally:
        process.kill()
    assert (process.returncode, printed) == (code, f"tcnzoo: {word}\n")
    assert not [one for one in (tmp_path / "run").rglob(".*")]
    config = config_of(tmp_path)
    assert session.RunDirectory(config).checkpoints.load()[3].step == 6
    whole = train(config_of(tmp_path, output=str(tmp_path / "whole")))
    after = train(config, resume=True)
    assert_same_bits(tcnzoo.get_weights(after.model), tcnzoo.get_weights(whole.model))


def test_a_signal_in_the_middle_of_a_write_leaves_nothing_of_it(tmp_path):
    text = """
import os, signal, sys
from pathlib import Path
import tcnzoo
from tcnzoo.files import safetensors
from tcnzoo.cli import main

folder = Path(sys.argv[1])
pieces = safetensors.pieces


def ended(array):
    yield from pieces(array)
    os.kill(os.getpid(), signal.SIGTERM)


safetensors.pieces = ended
sys.argv = ["tcnzoo", "init", "tcn-base", str(folder / "net")]
main()
"""
    done = run_script(text, tmp_path)
    assert (done.returncode, done.stderr) == (143, "tcnzoo: terminated\n")
    assert not [*tmp_path.iterdir()]
