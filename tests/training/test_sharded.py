"""A model whose parameters two processes share, against one process with the doubled batch."""

import json

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.training import session, train
from tcnzoo.training.checkpoints import Checkpoints
from tests.support.compare import assert_close, assert_refused
from tests.support.processes import two_processes
from tests.support.runs import CHANNELS, STEPS, config_of, losses_of, write_data
from tests.support.train_oracles import plan_of, stepper_of
from tests.training.test_distributed import EXAMPLES, TOLERANCE, told_of

pytest.importorskip("torch")

TWO = """
import sys
from pathlib import Path
import numpy as np
import torch
import tcnzoo
from tcnzoo.training import session, train
from tests.training.test_distributed import told_of
from tests.training.test_sharded import steps_of_two

steps_of_two(sys.argv[1])
session.draw_curves = lambda folder: None
for epochs, strategy in ((2, "fsdp"), (3, "ddp"), (4, "fsdp")):
    wanted = {"training.epochs": epochs, "training.strategy": strategy}
    outcome = train(told_of(Path(sys.argv[1]), 4, "two"), resume=epochs > 2, **wanted)
assert (outcome.steps, outcome.ended) == (12, "finished")
assert {type(one) for one in outcome.model.parameters()} == {torch.nn.Parameter}
if torch.distributed.get_rank() == 0:
    # The other process has ended or will: whoever goes on with the model is alone with it.
    tcnzoo.predict(outcome.model, np.ones((1, 3, 20), np.float32))
"""

# Even numbers of rows, so that two processes hold exactly half each; the bias of `conv` is lost.
SHARED = {
    "kind": "sequential",
    "layers": {
        "tcn": {
            "kind": "tcn",
            "in_channels": CHANNELS,
            "channels": [6, 4],
            "kernel_size": 3,
            "norm": "weight_norm",
            "dropout": 0.0,
        },
        "conv": {
            "kind": "conv1d",
            "in_channels": 4,
            "out_channels": 6,
            "kernel_size": 3,
        },
        "norm": {"kind": "batch_norm", "channels": 6},
        "pool": {"kind": "pool"},
        "head": {"kind": "dense", "in_features": 6, "out_features": 2},
    },
}
OPTIMIZERS = {
    "adamw": {"kind": "adamw", "lr": 0.01},
    "adamw in float64": {"kind": "adamw", "lr": 0.01},
    "sgd": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
}
TYPES = dict.fromkeys(OPTIMIZERS, "float32") | {"adamw in float64": "float64"}
# Sums in another order, of float32 and of float64.
NEAR = {"float32": TOLERANCE, "float64": 1e-13}
MICRO = (5, 4)  # examples of the micro-batches of a step, of both processes together
INPUT = np.linspace(-1, 1, 2 * CHANNELS * STEPS, dtype=np.float32).reshape(2, CHANNELS, STEPS)


def micro_batches(step, rank, size):
    """The part of one of so many processes in the micro-batches of a step."""
    found = []
    for examples in MICRO:
        generator = np.random.default_rng([step, examples])
        x = generator.standard_normal((examples, CHANNELS, STEPS)).astype(np.float32)
        mine = np.array_split(np.arange(examples), size)[rank]
        found.append({"x": x[mine], "y": generator.integers(0, 2, examples)[mine]})
    return found


def stepper_by(name, strategy="ddp"):
    """The model and its stepper, with one parameter frozen."""
    model = tcnzoo.create(SHARED, "torch", seed=5, dtype=TYPES[name])
    plan = plan_of(
        OPTIMIZERS[name],
        {"kind": "cross_entropy"},
        clip_value=0.05,
        clip_norm=0.1,
        frozen=frozenset({"tcn.blocks.0.conv1.bias"}),
        strategy=strategy,
        precision="64-true" if TYPES[name] == "float64" else "32-true",
    )
    return model, stepper_of("torch", model, plan)


def steps_by(stepper, rank=0, size=1):
    """Norms of the gradients of three steps."""
    found = [stepper.step(micro_batches(step, rank, size), 0.01, step) for step in range(3)]
    return np.array([float(values["gradient_norm"]) for values in found])


def steps_of_two(folder):
    """What one of two processes does: train, and put down what it then holds."""
    from tcnzoo.backends.torch.kernels import packed

    for name in OPTIMIZERS:
        model, stepper = stepper_by(name, "fsdp")
        world = stepper.world
        shares = [one.to_local().numel() for one in model.parameters()]
        first = tcnzoo.predict(model, INPUT)
        norms = steps_by(stepper, world.rank, world.size)
        moments = [
            one.to_local().numel()
            for held in stepper.optimizer.state.values()
            for one in held.values()
            if one.dim()
        ]
        stepper.evaluate(micro_batches(0, 0, 1)[0])  # leaves the model in evaluation mode
        after = tcnzoo.predict(model, INPUT)
        trained, state = tcnzoo.get_weights(model), stepper.state()
        tcnzoo.set_weights(model, tcnzoo.get_weights(tcnzoo.create(SHARED, "torch", seed=5)))
        back = tcnzoo.predict(model, INPUT)
        kept = any(packed.cached(part) for part in model.modules())
        assert kept == (TYPES[name] == "float32")
        tcnzoo.set_weights(model, trained)
        stepper.load_state(state)
        np.savez(
            f"{folder}/{name}-{world.rank}.npz",
            **{f"weight:{key}": value for key, value in trained.items()},
            **{f"state:{key}": value for key, value in state.items()},
            **{f"again:{key}": value for key, value in stepper.state().items()},
            **{"norms": norms, "first": first, "after": after, "back": back},
            **{"shares": shares, "moments": moments},
        )
        kernels = [packed.cached(part) for part in model.modules()]
        assert not any(kernels), "kernels of other weights"
        world.leave()
        assert_close(tcnzoo.get_weights(model), trained, 0.0)
        with pytest.raises(InputError, match="'fsdp' shards a model once, but this one has been"):
            stepper_of("torch", model, stepper.plan)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have taken steps and trained `two`, and one process `one`."""
    folder = tmp_path_factory.mktemp("sharded")
    write_data(folder, EXAMPLES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "draw_curves", lambda folder: None)
        with two_processes(folder, TWO):
            train(told_of(folder, 8, "one"), **{"training.epochs": 4})
    return folder


@pytest.fixture(scope="module")
def held(folder):
    """What each process holds after its steps, by optimiser and rank."""
    return {
        (name, rank): dict(np.load(folder / f"{name}-{rank}.npz"))
        for name in OPTIMIZERS
        for rank in (0, 1)
    }


def entries(held, kind):
    """What was put down of a kind, by name."""
    return {key.partition(":")[2]: held[key] for key in held if key.startswith(f"{kind}:")}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_two_processes_are_those_of_one(held, name):
    model, stepper = stepper_by(name)
    first = tcnzoo.predict(model, INPUT)
    norms, near = steps_by(stepper), NEAR[TYPES[name]]
    for rank in (0, 1):
        found = held[name, rank]
        assert_close(found["norms"], norms, near)
        assert_close(found["first"], first, near)
        assert_close(found["after"], tcnzoo.predict(model, INPUT), near)
        assert_close(entries(found, "weight"), tcnzoo.get_weights(model), near)
        state = stepper.state()
        assert_close({key: entries(found, "state")[key] for key in state}, state, near)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_moments_go_in_as_they_came_out(held, name):
    for rank in (0, 1):
        found = held[name, rank]
        assert_close(found["back"], found["first"], 0.0)
        assert np.abs(found["after"] - found["first"]).max() > 0.01
        assert_close(entries(found, "again"), entries(found, "state"), 0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_process_holds_half_of_parameters_and_moments(held, name):
    table = tcnzoo.load_spec(SHARED).params()
    whole = [int(np.prod(one.shape)) for one in table.values() if one.trainable]
    slots = 1 if name == "sgd" else 2
    frozen = table["tcn.blocks.0.conv1.bias"].shape[0]
    for rank in (0, 1):
        assert 2 * held[name, rank]["shares"] == pytest.approx(np.array(whole), abs=0)
        assert 2 * held[name, rank]["moments"].sum() == slots * (sum(whole) - frozen)


def test_a_run_that_is_sharded_and_not_is_one_with_the_doubled_batch(folder):
    expected, found = losses_of(folder / "one"), losses_of(folder / "two")
    assert list(found) == list(expected) == list(range(1, 13))
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=TOLERANCE)
    _, weights, state, _ = Checkpoints(folder / "one" / "checkpoints").load()
    _, their_weights, their_state, progress = Checkpoints(folder / "two" / "checkpoints").load()
    assert any(name.endswith("running_var") for name in weights)
    assert_close(their_weights, weights, TOLERANCE)
    assert_close({name: their_state[name] for name in state}, state, TOLERANCE)
    assert progress.step == 12
    sessions = json.loads((folder / "two" / "environment.json").read_text())
    assert [session["step"] for session in sessions] == [0, 6, 9]


def test_what_two_processes_wrote_goes_on_in_one(folder, monkeypatch):
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)
    longer = {"training.epochs": 5}
    train(told_of(folder, 8, "one"), resume=True, **longer)
    with pytest.warns(UserWarning, match="goes on with another configuration: data.batch_size"):
        train(told_of(folder, 8, "two"), resume=True, **longer)
    expected, found = losses_of(folder / "one"), losses_of(folder / "two")
    assert len(found) == 15
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=TOLERANCE)


def test_one_process_has_nothing_to_share(tmp_path):
    config = config_of(tmp_path, backend="torch", training={"strategy": "fsdp"})
    with pytest.raises(InputError) as caught:
        train(config)
    assert str(caught.value) == (
        "strategy 'fsdp' needs several processes, as torchrun starts for torch"
    )
    assert not (tmp_path / "run").exists()


def test_a_precision_that_sharding_has_not():
    from tcnzoo.backends.torch.sharding import check_shardable

    sentence = (
        "strategy 'fsdp' takes precision 32-true, 64-true, bf16-mixed, but is given '16-mixed'"
    )
    model = tcnzoo.create(SHARED, "torch")
    assert_refused(InputError, sentence, check_shardable, model, "16-mixed")


@pytest.mark.parametrize(
    "spec, paths",
    [
        (SHARED, ["tcn.blocks.0", "tcn.blocks.1", "tcn", "conv", "norm", "head"]),
        ("tcn-jsb", ["blocks.0", "blocks.1"]),
    ],
)
def test_blocks_and_layers_are_gathered_by_themselves(spec, paths):
    from tcnzoo.backends.torch.sharding import groups

    assert [one.path for one in groups(tcnzoo.create(spec, "torch"))] == paths
