"""Two processes of mx.distributed, over sockets of this machine, against one with all examples."""

import contextlib
import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.models.backend import get_backend
from tcnzoo.training import session, train
from tcnzoo.training.losses import Mse
from tcnzoo.training.optimizers import Sgd
from tcnzoo.training.stepper import Plan, SingleProcess
from tests.support.quantizers import quantizer, signal
from tests.support.runs import CHANNELS, config_of, losses_of, write_data
from tests.support.train_oracles import uncompiled

mx = pytest.importorskip("mlx.core")

SIZE = 2
# 19 examples to train on: two full batches of 8 and one of 3, of which one process has 1.
EXAMPLES = 25
MODEL = {
    "kind": "sequential",
    "layers": {
        "conv": {"kind": "conv1d", "in_channels": CHANNELS, "out_channels": 5, "kernel_size": 3},
        "norm": {"kind": "batch_norm", "channels": 5},
        "act": {"kind": "activation", "name": "relu"},
        "pool": {"kind": "pool"},
        "after": {"kind": "batch_norm", "channels": 5},
        "head": {"kind": "dense", "in_features": 5, "out_features": 2},
    },
}
TOLD = {"epochs": 2, "accumulate": 2, "clip_norm": 0.5, "checkpoint": {"every_steps": 3}}
# Sums in another order; what the test is there to show is a thousand times as large.
TOLERANCE = 1e-5

SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_distributed_mlx import in_each

in_each(Path(sys.argv[1]))
"""


def in_each(folder):
    """What each of the two processes does."""
    from tcnzoo.backends.mlx.processes import processes

    given = processes()
    found = {"ordered": ordered(given), "slope": slope(given)}
    mx.disable_compile()  # as in `interpreted`
    told = told_of(folder, 4, "two")
    session.draw_curves = lambda folder: None
    first = train(told)
    given.agree([0.0])  # so that the first process has written
    outcome = train(told, resume=True, **{"training.epochs": 3})
    copy.deepcopy(outcome.model)
    found["steps"] = [first.steps, outcome.steps]
    found["agreed"] = given.agree([1.5 + given.rank, np.nan, np.inf, -1e300 * (given.rank + 1)])
    found |= quantised(given.rank)
    np.savez(folder / f"found{given.rank}.npz", **found)


def told_of(folder, batch_size, output):
    """A run of MODEL, without dropout, whose masks are each process's own."""
    config = config_of(
        folder,
        model=MODEL,
        backend="mlx",
        # Adam would take the rounding of a small gradient for a whole step.
        optimizer={"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        output=str(folder / output),
        training=TOLD,
    )
    data = config.data.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"data": data})


def ordered(given):
    """Two sums, which MLX would come to in another order in each process."""

    def both(row):
        one, ten = given.gathered(row).sum(), given.gathered(10 * row).sum()
        return (one - 2 * ten if given.rank else -2 * ten + one, {}), {}

    (value, _), _ = mx.compile(given.in_order(both))(mx.array([1.0]))
    return value.item()


def slope(given):
    """The gradient to a weight of (w + 2w)^2 in 3 examples here, 5 there, in a compiled step."""

    def loss(weights):
        return mx.square(given.gathered((1 + given.rank) * weights["w"]).sum()), {}

    examples = 5 if given.rank else 3
    _, slopes = mx.compile(given.value_and_grad(loss, examples))({"w": mx.array([0.5])})
    return slopes["w"].item() * examples


def stepper(**last):
    """A stepper of a small model that ends as told."""
    layers = {
        "conv": {"kind": "conv1d", "in_channels": 5, "out_channels": 5, "kernel_size": 1},
        **last,
    }
    model = tcnzoo.create({"kind": "sequential", "layers": layers}, "mlx")
    return get_backend("mlx").stepper(model, Plan(Sgd(lr=0.1), (Mse(),)))


CODEBOOKS = {
    "running": quantizer(),
    "restarting": quantizer(dead_code_threshold=2.0),
    "clustered": quantizer(kmeans_iterations=2),
}


def quantised(*ranks):
    """Codebooks that two steps have moved, by the values of some processes together."""
    found = {}
    for kind, spec in CODEBOOKS.items():
        given = stepper(vq=spec)
        for step in range(2):
            x = np.concatenate([signal(3, 5, 8, seed=2 * step + rank) for rank in ranks])
            given.step([{"x": x, "y": np.zeros_like(x)}], 0.0, 0)
        held = tcnzoo.get_weights(given.model)
        found |= {f"{kind}.{name}": held[name] for name in held if name.startswith("vq.")}
    return found


@pytest.fixture(autouse=True)
def interpreted():
    """Steps without mx.compile, whose kernels would take a minute to build."""
    with uncompiled("mlx"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have run `in_each`."""
    folder = tmp_path_factory.mktemp("two")
    write_data(folder, EXAMPLES)
    (folder / "each.py").write_text(SCRIPT)
    (folder / "hosts.json").write_text(json.dumps([[f"127.0.0.1:{port}"] for port in ports()]))
    started = [start(folder, rank) for rank in range(SIZE)]
    try:
        texts = [process.communicate(timeout=600)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert [process.returncode for process in started] == [0] * SIZE, "\n".join(texts)
    return folder


def ports():
    """Free ports, one for each process."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(SIZE)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start(folder, rank):
    """One process, as mlx.launch starts it."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MLX_RANK": str(rank),
        "MLX_HOSTFILE": str(folder / "hosts.json"),
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", str(folder / "each.py"), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_are_one_with_the_doubled_batch(folder, monkeypatch):
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)
    one = train(told_of(folder, 8, "one"), **{"training.epochs": 3})
    expected, found = losses_of(one.directory), losses_of(folder / "two")
    assert list(found) == list(expected) == list(range(1, 7))
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=TOLERANCE)
    mine = read_checkpoint(one.directory / "checkpoints" / "last")[1]
    theirs = read_checkpoint(folder / "two" / "checkpoints" / "last")[1]
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_allclose(
            theirs[name], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name
        )


def test_only_the_first_process_writes(folder):
    sessions = json.loads((folder / "two" / "environment.json").read_text())
    assert [(session["processes"], session["step"]) for session in sessions] == [(2, 0), (2, 4)]
    lines = (folder / "two" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6 + 3  # steps and evaluations, each once


def test_gradients_are_of_the_losses_of_both_processes(folder):
    found = [np.load(folder / f"found{rank}.npz")["slope"] for rank in range(SIZE)]
    # 8 (3w)^2, where 3w has a part of each: 8 * 2 * 3w times 1 and 2, at w = 0.5.
    np.testing.assert_allclose(found, [24.0, 48.0], rtol=1e-6)


def test_every_process_is_told_the_same(folder):
    for rank in range(SIZE):
        found = np.load(folder / f"found{rank}.npz")
        assert found["steps"].tolist() == [4, 6]
        np.testing.assert_array_equal(found["agreed"], [1.5, np.nan, np.inf, -1e300])


def test_sums_are_taken_in_one_order_in_every_process(folder):
    for rank in range(SIZE):
        assert np.load(folder / f"found{rank}.npz")["ordered"] == 2.0 - 2 * 20.0


def test_codebooks_follow_the_batches_of_all_processes(folder):
    both, first = quantised(0, 1), quantised(0)
    one, other = (np.load(folder / f"found{rank}.npz") for rank in range(SIZE))
    for name, array in both.items():
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        if name.startswith("running"):
            np.testing.assert_allclose(one[name], array, rtol=TOLERANCE, atol=TOLERANCE)
            assert not np.allclose(one[name], first[name])
    # Where codes begin and begin anew they do so at values of the first process.
    assert one["clustered.vq.initialised"].item() == 1.0
    assert one["clustered.vq.cluster_size"].sum() > first["clustered.vq.cluster_size"].sum()
    assert not np.allclose(one["restarting.vq.codebook"], one["running.vq.codebook"])


def set_only(monkeypatch, names):
    """Leave of what a launcher sets just these names."""
    from tcnzoo.backends.mlx.processes import LAUNCHED

    for name in {one for some in LAUNCHED.values() for one in some}:
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("names", [{}, {"MLX_RANK": "0"}, {"MLX_RANK": "0", "MLX_WORLD_SIZE": "1"}])
def test_one_process_is_alone(monkeypatch, names):
    set_only(monkeypatch, names)
    assert isinstance(stepper().world, SingleProcess)


def test_one_process_of_mlx_launch_is_alone(monkeypatch, tmp_path):
    # What mlx.launch writes for one host.
    (tmp_path / "hosts").write_text("\n")
    set_only(monkeypatch, {"MLX_RANK": "0", "MLX_HOSTFILE": str(tmp_path / "hosts")})
    assert isinstance(stepper().world, SingleProcess)


def test_processes_that_cannot_join_are_refused(monkeypatch, tmp_path):
    # Each would train by itself and write where the others do.
    set_only(monkeypatch, {"MLX_RANK": "0", "MLX_HOSTFILE": str(tmp_path / "absent")})
    with pytest.raises(InputError, match="one of several, but MLX cannot join them by 'ring'"):
        stepper()
