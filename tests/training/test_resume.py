"""Runs that are killed and taken up again, in the same framework and in another."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.training import load_config, session, train
from tests.conftest import NATIVE
from tests.support.compare import assert_same_bits
from tests.support.runs import SPEC, config_of, losses_of, plain_lines

# 5 steps an epoch, without the last batch: each further shape is compiled for seconds.
TOLD = {
    "epochs": 3,
    "clip_norm": 0.7,
    "schedule": {"kind": "cosine", "warmup_steps": 4},
    "checkpoint": {"every_steps": 4},
}
FULL = {"data.drop_last": True}
# Frameworks with dropout of their own are compared without it.
CALM = json.loads(json.dumps(SPEC))
CALM["layers"]["tcn"]["dropout"] = 0.0

SGD = {"kind": "sgd", "momentum": 0.9, "lr": 0.02}
TYPES = {"32-true": np.float32, "64-true": np.float64}

KILLED = """
import os, signal, sys
from pathlib import Path
from tcnzoo.training import logs, train
from tests.support.runs import config_of
from tests.training.test_resume import FULL, TOLD

folder, backend, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
write = logs.JsonLines.write


def dying(self, kind, step, epoch, values):
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, kind, step, epoch, values)


logs.JsonLines.write = dying
train(config_of(folder, training=TOLD, backend=backend), **FULL)
"""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)


def killed(folder, backend, step):
    """Train in a process that is killed as it notes a step."""
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), backend, str(step)],
        cwd=Path(__file__).parents[2],
        # As this process, which may have been given other threads by the fixtures.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == -signal.SIGKILL, found.stderr


def test_a_killed_run_ends_with_the_same_bits(native, tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = train(config_of(tmp_path / "whole", training=TOLD, backend=native), **FULL)
    step = int(np.random.default_rng(len(native)).integers(5, 15))
    killed(tmp_path / "killed", native, step)
    config = load_config(config_of(tmp_path / "killed", training=TOLD, backend=native), **FULL)
    at = session.RunDirectory(config).checkpoints.load()[3].step
    assert step - 4 <= at < step
    resumed = train(config, resume=True)
    assert (resumed.steps, resumed.epochs) == (15, 3)
    assert_same_bits(tcnzoo.get_weights(resumed.model), tcnzoo.get_weights(whole.model))
    one, other = (outcome.directory / "checkpoints" / "last" for outcome in (whole, resumed))
    for file in ("model.safetensors", "training.safetensors"):
        assert (other / file).read_bytes() == (one / file).read_bytes(), file
    assert plain_lines(resumed.directory) == plain_lines(whole.directory)
    sessions = json.loads((resumed.directory / "environment.json").read_text())
    assert [session["step"] for session in sessions] == [0, at]


@pytest.mark.parametrize(
    "optimizer, precision",
    [("adamw", "32-true"), ("adamw", "64-true"), (SGD, "32-true")],
    ids=["adamw", "adamw-64", "sgd"],
)
@pytest.mark.parametrize("other", [one for one in NATIVE if one != "torch"])
def test_a_run_goes_on_in_another_framework(other, tmp_path, optimizer, precision):
    pytest.importorskip("torch")
    told = {
        **TOLD,
        "epochs": 5,
        "freeze": ["head.*"],
        "freeze_epochs": 1,
        "checkpoint": {"every": 1},
        "precision": precision,
    }
    changes = {"model": CALM, "optimizer": optimizer, "backend": "torch"}
    whole = train(config_of(tmp_path, training=told, **changes), **FULL)
    part = load_config(whole.directory, output=str(tmp_path / "part"))
    stopped_after(part, 6)
    resumed = train(part, resume=True, backend=other)
    expected, found = losses_of(whole.directory), losses_of(resumed.directory)
    assert list(found) == list(expected) == list(range(1, 26))
    # 25 steps on: of float32 1e-7, and of float64 1e-16, through Adam's quotients.
    near = {"32-true": 1e-4, "64-true": 1e-11}[precision]
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=near)
    mine, theirs = (read_checkpoint(one.directory / "checkpoints" / "last")[1]
                    for one in (whole, resumed))  # fmt: skip
    for name in mine:
        assert mine[name].dtype == theirs[name].dtype == TYPES[precision]
        np.testing.assert_allclose(
            theirs[name], mine[name], rtol=10 * near, atol=near, err_msg=name
        )


def stopped_after(config, steps):
    """Train until a step, which is not taken: the last checkpoint is that of the epoch before."""

    class Stop(Exception):
        """The end."""

    step = session.Loop._step

    def counted(self, *args):
        if self.progress.step == steps:
            raise Stop
        step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Loop, "_step", counted)
        with pytest.raises(Stop):
            train(config)
