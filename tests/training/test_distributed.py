"""Two processes under torchrun against one with the doubled batch."""

import json

import numpy as np
import pytest

from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.training import session, train
from tests.support.processes import two_processes
from tests.support.runs import SPEC, config_of, losses_of, write_data

pytest.importorskip("torch")

# 45 examples to train on: five full batches of 8 and one of 5, of which one process has 3.
EXAMPLES = 59
TOLD = {
    "epochs": 3,
    "accumulate": 2,
    "clip_norm": 0.5,
    "freeze": ["head.*"],
    "freeze_epochs": 1,
    "checkpoint": {"every_steps": 4},
}
# Sums in another order; what the test is there to show is a thousand times as large.
TOLERANCE = 1e-5

TWO = """
import sys
from pathlib import Path
from tcnzoo.training import session, train
from tests.training.test_distributed import told_of

session.draw_curves = lambda folder: None
outcome = train(told_of(Path(sys.argv[1]), 4, "two"))
outcome = train(told_of(Path(sys.argv[1]), 4, "two"), resume=True, **{"training.epochs": 4})
assert (outcome.steps, outcome.ended) == (12, "finished")
"""


def told_of(folder, batch_size, output):
    """A model with batch norm, without dropout, whose masks are each process's own."""
    spec = json.loads(json.dumps(SPEC))
    spec["layers"]["tcn"]["dropout"] = 0.0
    config = config_of(
        folder, model=spec, backend="torch", output=str(folder / output), training=TOLD
    )
    data = config.data.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"data": data})


def test_two_processes_are_one_with_the_doubled_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)
    write_data(tmp_path, EXAMPLES)
    with two_processes(tmp_path, TWO):
        one = train(told_of(tmp_path, 8, "one"), **{"training.epochs": 4})
    expected, found = losses_of(one.directory), losses_of(tmp_path / "two")
    assert list(found) == list(expected) == list(range(1, 13))
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=TOLERANCE)
    mine = read_checkpoint(one.directory / "checkpoints" / "last")[1]
    theirs = read_checkpoint(tmp_path / "two" / "checkpoints" / "last")[1]
    assert any(name.endswith("running_var") for name in mine)
    for name, array in mine.items():
        np.testing.assert_allclose(
            theirs[name], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name
        )
    sessions = json.loads((tmp_path / "two" / "environment.json").read_text())
    assert [(session["processes"], session["step"]) for session in sessions] == [(2, 0), (2, 9)]
