"""The loop by itself: order, rates, freezing, stopping, failures and files."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.backends import numpy as plain
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.files.safetensors import read_safetensors
from tcnzoo.training import checkpoints, curves, prefetch, session, train
from tcnzoo.training.batches import Step
from tcnzoo.training.failing import check_finite
from tests.support.compare import assert_refused, assert_same_bits
from tests.support.runs import PlainStepper, config_of, losses_of, plain_lines, write_data

IN_EPOCH = 6


@pytest.fixture
def steppers(monkeypatch):
    """Every stepper that a run makes; none of a framework."""
    made = []

    def stepper(model, plan):
        made.append(PlainStepper(model, plan))
        return made[-1]

    monkeypatch.setattr(plain, "stepper", stepper, raising=False)
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)  # half of the time
    return made


def numbers_of(stepper):
    """Sum of the signals of each step's batches."""
    return [sum(float(one["x"].sum()) for one in call["batches"]) for call in stepper.calls]


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own(tmp_path, steppers):
    train(config_of(tmp_path))
    sizes = [[len(one["x"]) for one in call["batches"]] for call in steppers[0].calls]
    assert sizes == [[7], [7], [7], [7], [7], [5]] * 3
    first, second = (numbers_of(steppers[0])[at : at + IN_EPOCH] for at in (0, IN_EPOCH))
    assert sum(first) == pytest.approx(sum(second), abs=1e-3)
    assert first != second


def test_the_same_seed_gives_the_same_batches_and_another_does_not(tmp_path, steppers):
    for output, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(config_of(tmp_path, output=str(tmp_path / output), seed=seed))
    one, same, other = map(numbers_of, steppers)
    assert one == same
    assert one != other
    seeds = [call["seed"] for call in steppers[0].calls]
    assert len(set(seeds)) == len(seeds)


def test_accumulated_steps_take_the_same_examples(tmp_path, steppers):
    train(config_of(tmp_path, training={"accumulate": 4}))
    train(config_of(tmp_path, output=str(tmp_path / "single")))
    assert [len(call["batches"]) for call in steppers[0].calls] == [4, 2] * 3
    together, single = map(numbers_of, steppers)
    assert together[0] == pytest.approx(sum(single[:4]))
    assert together[1] == pytest.approx(sum(single[4:6]))


def test_a_run_of_steps_ends_within_an_epoch(tmp_path, steppers):
    outcome = train(config_of(tmp_path, training={"epochs": None, "steps": 8}))
    assert (outcome.steps, outcome.epochs, outcome.ended) == (8, 1, "finished")
    assert len(steppers[0].calls) == 8


def test_rates_follow_the_schedule(tmp_path, steppers):
    schedule = {"kind": "cosine", "warmup_steps": 4}
    train(config_of(tmp_path, training={"schedule": schedule}))
    rates = [call["rate"] for call in steppers[0].calls]
    expected = [0.01 * (step + 1) / 4 for step in range(4)]
    expected += [0.005 * (1 + np.cos(np.pi * step / 14)) for step in range(14)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_patterns_freeze_for_some_epochs(tmp_path, steppers):
    told = {"freeze": ["tcn.*.conv1.*", "head.bias"], "freeze_epochs": 2}
    outcome = train(config_of(tmp_path, training=told))
    calls = steppers[0].calls
    frozen = calls[0]["frozen"]
    assert "head.bias" in frozen
    assert "head.weight" not in frozen
    assert {name for name in frozen if name.startswith("tcn")}
    assert all("running" not in name for name in frozen)
    assert [call["frozen"] == frozen for call in calls] == [True] * 12 + [False] * 6
    assert calls[-1]["frozen"] == frozenset()
    assert outcome.steps == 18


def test_a_pattern_that_matches_nothing_is_refused(tmp_path, steppers):
    told = {"freeze": ["head.weigth"]}
    sentence = "training.freeze: no parameter is called 'head.weigth'; did you mean 'head.weight'?"
    assert_refused(InputError, sentence, train, config_of(tmp_path, training=told))
    told = {"freeze": ["*"]}
    sentence = "training.freeze matches every parameter, which leaves nothing to train"
    assert_refused(InputError, sentence, train, config_of(tmp_path, training=told))
    assert not (tmp_path / "run").exists()


def scripted(monkeypatch, values):
    """Let evaluations find these losses, one after the other."""
    left = iter(values)
    current = []

    def evaluate(self, batch):
        return {"loss": current[0], "cross_entropy": 1.0}, np.zeros((len(batch["x"]), 2))

    def start(*args):
        current[:] = [next(left, current[0] if current else 0.0)]
        return original(*args)

    original = session.evaluate
    monkeypatch.setattr(PlainStepper, "evaluate", evaluate)
    monkeypatch.setattr(session, "evaluate", start)


def test_early_stopping_waits_for_its_patience(tmp_path, steppers, monkeypatch):
    scripted(monkeypatch, [1.0, 0.5, 0.7, 0.45, 0.46, 0.45, 0.1])
    stopping = {"patience": 2, "min_delta": 0.02}
    told = {"epochs": 20, "early_stopping": stopping}
    outcome = train(config_of(tmp_path, training=told))
    assert (outcome.ended, outcome.epochs, outcome.best) == ("stopped early", 6, 0.45)
    assert outcome.best_step == 4 * IN_EPOCH
    again = train(config_of(tmp_path, training=told), resume=True)
    assert (again.ended, again.steps) == ("stopped early", 6 * IN_EPOCH)


def test_the_rate_goes_down_on_a_plateau(tmp_path, steppers, monkeypatch):
    scripted(monkeypatch, [1.0, 1.0, 1.0, 0.9, 0.9, 0.9])
    schedule = {"kind": "plateau", "patience": 1, "factor": 0.5}
    train(config_of(tmp_path, training={"epochs": 6, "schedule": schedule}))
    rates = [call["rate"] for call in steppers[0].calls[::IN_EPOCH]]
    assert rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.005]


def test_best_is_the_best_and_last_the_last(tmp_path, steppers, monkeypatch):
    scripted(monkeypatch, [1.0, 0.5, 0.7])
    outcome = train(config_of(tmp_path))
    folder = outcome.directory / "checkpoints"
    assert sorted(one.name for one in folder.iterdir()) == [
        "best", "last", "step-00000012", "step-00000018",
    ]  # fmt: skip
    assert os.readlink(folder / "best") == "step-00000012"
    spec, weights = read_checkpoint(folder / "best")
    assert spec.kind == "sequential"
    assert_same_bits(tcnzoo.get_weights(outcome.model), weights)
    assert (folder / "best" / "README.md").read_text().count("step-00000012") == 2


def test_every_checkpoint_can_be_kept(tmp_path, steppers):
    told = {"checkpoint": {"every_steps": 4, "every": 2, "keep": "every,last"}}
    folder = train(config_of(tmp_path, training=told)).directory / "checkpoints"
    kept = sorted(int(one.name[5:]) for one in folder.glob("step-*"))
    assert {4, 8, 12, 16, 18} <= set(kept)
    assert not (folder / "best").exists()


def test_a_run_leaves_the_files_that_it_promises(tmp_path, steppers, monkeypatch):
    monkeypatch.setattr(session, "draw_curves", curves.draw_curves)
    told = {"data.split.test": 0.1, "loggers": ["tensorboard"]}
    outcome = train(config_of(tmp_path), **told)
    names = {one.name for one in outcome.directory.iterdir()}
    assert {"config.yaml", "environment.json", "metrics.jsonl", "tensorboard"} <= names
    assert {"curves.png", "test_report.json", "test_report.txt", "confusion.png"} <= names
    lines = plain_lines(outcome.directory)
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 16))
    found = [line for line in lines if line["kind"] == "evaluation"]
    assert [line["step"] for line in found] == [5, 10, 15]
    assert {"train_loss", "val_loss", "val_accuracy"} <= found[0].keys()
    assert (
        outcome.report["metrics"]["accuracy"]
        == json.loads((outcome.directory / "test_report.json").read_text())["metrics"]["accuracy"]
    )
    sessions = json.loads((outcome.directory / "environment.json").read_text())
    assert [one["backend"] for one in sessions] == ["numpy"]


def test_tensorboard_reads_what_was_logged(tmp_path, steppers):
    # Its own reader, which holds the sums; the event loader above it would import TensorFlow.
    stub = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    events = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    outcome = train(config_of(tmp_path, loggers="tensorboard"))
    (path,) = (outcome.directory / "tensorboard").iterdir()
    reader, found = stub.PyRecordReader_New(str(path)), {}
    with contextlib.suppress(stub.errors.OutOfRangeError):
        while True:
            reader.GetNext()
            event = events.Event.FromString(reader.record())
            found |= {(one.tag, event.step): one.simple_value for one in event.summary.value}
    expected = losses_of(outcome.directory)
    logged = {step: number for (tag, step), number in found.items() if tag == "train/loss"}
    assert logged == pytest.approx(expected, rel=1e-6)
    assert ("val_loss", 18) in found


def test_a_trial_run_keeps_nothing(tmp_path, steppers):
    told = {"schedule": {"kind": "cosine", "warmup_steps": 15}, "freeze": ["head.*"]}
    config = config_of(tmp_path, training=told)
    outcome = train(config, fast_dev_run=True)
    assert outcome.steps == 2
    assert len(steppers[0].calls) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["data.npz"]


def test_a_directory_that_is_taken_is_refused(tmp_path, steppers):
    config = config_of(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    sentence = (
        f"{str(tmp_path / 'run')!r} exists already; go on with resume, or choose another output"
    )
    assert_refused(InputError, sentence, train, config)
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_with_its_batch(tmp_path, steppers, monkeypatch, bad):
    original = PlainStepper.step

    def step(self, batches, rate, seed):
        values = original(self, batches, rate, seed)
        return values | {"loss": bad} if self.count == 8 else values

    monkeypatch.setattr(PlainStepper, "step", step)
    with pytest.raises(
        InputError, match=f"the loss is {bad} at step 8 .epoch 1, examples "
    ) as error:
        train(config_of(tmp_path, training={"accumulate": 1}))
    path = tmp_path / "run" / "failed_batch.safetensors"
    assert str(path) in str(error.value)
    arrays, metadata = read_safetensors(path)
    batch = steppers[0].calls[7]["batches"][0]
    np.testing.assert_array_equal(arrays["0.x"], batch["x"])
    np.testing.assert_array_equal(arrays["0.y"], batch["y"])
    facts = json.loads(metadata["failure"])
    assert (facts["step"], facts["epoch"], len(facts["examples"])) == (8, 1, 7)
    # The checkpoint of the epoch before is whole, and a run with the cause removed goes on from it.
    assert os.readlink(tmp_path / "run" / "checkpoints" / "last") == "step-00000006"
    monkeypatch.setattr(PlainStepper, "step", original)
    assert train(config_of(tmp_path), resume=True).steps == 18


@pytest.mark.parametrize("rank, name", [(0, "failed_batch"), (2, "failed_batch-2")])
def test_every_process_leaves_its_part_of_a_bad_batch(tmp_path, rank, name):
    step = Step(({"x": np.full((1, 2), rank)},), (np.array([7 + rank]),))
    with pytest.raises(InputError, match=f"examples {7 + rank} of train.*{name}.safetensors"):
        check_finite({"loss": float("nan")}, step, 3, 0, tmp_path, rank)
    assert [one.name for one in tmp_path.iterdir()] == [f"{name}.safetensors"]
    arrays, _ = read_safetensors(tmp_path / f"{name}.safetensors")
    np.testing.assert_array_equal(arrays["0.x"], step.batches[0]["x"])


def test_a_full_disk_loses_nothing(tmp_path, steppers, monkeypatch):
    whole = train(config_of(tmp_path, output=str(tmp_path / "whole")))
    original, count = checkpoints.put_safetensors, []

    def write(path, arrays, metadata):
        count.append(path)
        if len(count) == 3:
            path.write_bytes(b"cut")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        original(path, arrays, metadata)

    monkeypatch.setattr(checkpoints, "put_safetensors", write)
    with pytest.raises(OSError, match="No space left on device"):
        train(config_of(tmp_path))
    folder = tmp_path / "run" / "checkpoints"
    assert os.readlink(folder / "last") == "step-00000012"
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]
    monkeypatch.setattr(checkpoints, "put_safetensors", original)
    after = train(config_of(tmp_path), resume=True)
    assert_same_bits(tcnzoo.get_weights(after.model), tcnzoo.get_weights(whole.model))


def test_a_metric_that_no_evaluation_has_is_named(tmp_path, steppers):
    told = {"early_stopping": {"metric": "val_acuracy", "mode": "max"}}
    sentence = "training.early_stopping: an evaluation has no 'val_acuracy'; did you mean "
    with pytest.raises(InputError, match=sentence + "'val_accuracy'"):
        train(config_of(tmp_path, training=told))


def test_a_label_outside_the_classes_is_found_before_the_first_step(tmp_path, steppers):
    path = write_data(tmp_path)
    with np.load(path) as held:
        arrays = dict(held)
    arrays["y"][17] = 2  # wherever the split puts it
    np.savez(path, **arrays)
    sentence = (
        r"^labels must be 0 to 1, one of 2 classes, but example \d+ of (train|val) has label 2$"
    )
    with pytest.raises(InputError, match=sentence):
        train(config_of(tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_backend_that_cannot_train_says_so(tmp_path):
    assert_refused(InputError, "backend 'numpy' does not train", train, config_of(tmp_path))
    assert not (tmp_path / "run").exists()


def test_init_takes_the_weights_of_another_run(tmp_path, steppers):
    before = train(config_of(tmp_path, output=str(tmp_path / "before")))
    document = config_of(tmp_path, init=str(before.directory)).model_dump(mode="json")
    layers = document["model"]["layers"]
    layers["extra"] = {"kind": "dense", "in_features": 2, "out_features": 2}
    with pytest.warns(UserWarning, match="lacks 2 tensors, as 'extra.bias'; the others are taken"):
        after = train(document, fast_dev_run=True, **{"optimizer.lr": 0.0})
    expected = read_checkpoint(before.directory / "checkpoints" / "best")[1]
    found = tcnzoo.get_weights(after.model)
    factor = np.float32(0.99) ** 2
    np.testing.assert_allclose(found["head.bias"], expected["head.bias"] * factor, rtol=1e-6)
    document["init"] = str(tmp_path / "nothing")
    with pytest.raises(InputError, match="no checkpoint at"):
        train(document, fast_dev_run=True)


def test_another_model_is_not_resumed(tmp_path, steppers):
    config = config_of(tmp_path, training={"epochs": 1})
    train(config)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        train(config, resume=True, **{"model.layers.tcn.kernel_size": 5, "training.epochs": 2})
    assert str(caught.value) == (
        f"{str(tmp_path / 'run')!r} trains another model, so it cannot be resumed: "
        "model.layers.tcn.kernel_size: 3 -> 5"
    )
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_longer_run_goes_on_and_another_rate_is_warned_of(tmp_path, steppers):
    config = config_of(tmp_path, training={"epochs": 1})
    train(config)
    assert train(config, resume=True).steps == 6
    assert train(config, resume=True, **{"training.epochs": 2}).steps == 12
    with pytest.warns(UserWarning, match=r"another configuration: optimizer.lr: 0.01 -> 0.5$"):
        outcome = train(config, resume=True, **{"optimizer.lr": 0.5, "training.epochs": 3})
    assert (outcome.steps, outcome.epochs) == (18, 3)
    assert steppers[-1].calls[0]["rate"] == 0.5


def test_prefetching_passes_errors_on_and_ends_its_thread():
    def items():
        yield 1
        yield 2
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"), prefetch.prefetched(items()) as some:
        seen.extend(some)
    assert seen == [] or seen == [1, 2]
    with prefetch.prefetched(iter(range(1000))) as some:
        assert [next(some), next(some)] == [0, 1]


KILLS = """
import os, random, signal, sys
from pathlib import Path
import sklearn.metrics  # once, and not in each process
from tcnzoo.backends import numpy as plain
from tcnzoo.training import session, train
from tests.support.runs import PlainStepper, config_of

folder = Path(sys.argv[1])
plain.stepper = PlainStepper
session.draw_curves = lambda folder: None
told = {"checkpoint": {"every_steps": 2}, "early_stopping": {"patience": 3}, "epochs": 4}
config = config_of(folder, training=told)
generator = random.Random(0)
# What writes, renames, links or removes, and each step: a process can be killed before any.
POINTS = [(os, "replace"), (os, "rename"), (os, "fsync"), (os, "symlink"), (os, "unlink"),
          (os, "rmdir"), (os, "mkdir"), (PlainStepper, "step")]


def dying(left):
    for owner, name in POINTS:
        original = getattr(owner, name)

        def call(*args, original=original, **options):
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **options)

        setattr(owner, name, call)


for attempt in range(400):
    child = os.fork()
    if child == 0:
        dying([generator.randint(5, 120)])
        train(config, resume=True)
        os._exit(0)
    generator.random()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        print("ended", os.WEXITSTATUS(status), "after", attempt)
        break
    generator.seed(attempt)
"""


def test_a_run_that_is_killed_anywhere_ends_where_it_would_have(tmp_path, steppers):
    told = {"checkpoint": {"every_steps": 2}, "early_stopping": {"patience": 3}, "epochs": 4}
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train(config_of(tmp_path / "whole", training=told))
    found = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "killed")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.stdout.startswith("ended 0"), found.stdout + found.stderr
    assert int(found.stdout.split()[-1]) > 3
    one, other = whole.directory, tmp_path / "killed" / "run"
    for name in ("last", "best"):
        mine, theirs = (folder / "checkpoints" / name for folder in (one, other))
        assert_same_bits(read_checkpoint(theirs)[1], read_checkpoint(mine)[1])
        for file in ("model.safetensors", "training.safetensors"):
            assert (theirs / file).read_bytes() == (mine / file).read_bytes()
        progress = [json.loads((place / "progress.json").read_text()) for place in (mine, theirs)]
        assert progress[0] | {"seconds": 0} == progress[1] | {"seconds": 0}
    assert plain_lines(other) == plain_lines(one)
    assert not [path for path in other.rglob(".*")]
