"""Options of a training run that are wrong are refused before a step is taken or a file written."""

import numpy as np
import pytest

from tcnzoo.backends import numpy as plain
from tcnzoo.errors import InputError
from tcnzoo.training import ensemble, session, train
from tcnzoo.training.data.dataset import ArrayDataset
from tcnzoo.training.evaluation import Evaluation
from tcnzoo.training.losses import Bce, CrossEntropy, Focal, Mse, Term
from tcnzoo.training.metric_names import metric_names
from tests.support.runs import PlainStepper, config_of, document_of, write_data


@pytest.fixture(autouse=True)
def plain_steps(monkeypatch):
    """Steps of no framework, in the backend numpy."""
    monkeypatch.setattr(plain, "stepper", PlainStepper, raising=False)
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)


def refused(folder, sentence, **changes):
    """Refused with nothing written beside the data."""
    with pytest.raises(InputError, match=sentence):
        train(config_of(folder, **changes))
    assert [one.name for one in folder.iterdir()] == ["data.npz"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("early_stopping", {"metric": "val_foo"}),
        ("checkpoint", {"metric": "val_foo"}),
        ("schedule", {"kind": "plateau", "metric": "val_foo"}),
    ],
)
def test_a_metric_that_no_evaluation_has_is_refused_first(tmp_path, field, value):
    sentence = f"training.{field}: an evaluation has no 'val_foo'; did you mean 'val_f1'"
    refused(tmp_path, sentence, training={field: value})


def test_a_metric_of_validation_needs_validation_data(tmp_path):
    data = document_of(tmp_path)["data"] | {"split": {"by": "example", "val": 0.0, "test": 0.0}}
    sentence = "has no 'val_loss', since no validation data are set aside; did you mean 'train_loss"
    refused(tmp_path, sentence, training={"early_stopping": {"metric": "val_loss"}}, data=data)


def test_a_metric_that_the_labels_leave_undefined_is_refused_first(tmp_path):
    path = write_data(tmp_path)
    with np.load(path) as held:
        arrays = dict(held)
    np.savez(path, **(arrays | {"y": np.zeros_like(arrays["y"])}))
    told = {"checkpoint": {"metric": "val_auroc", "mode": "max"}}
    refused(tmp_path, "'val_auroc' needs examples of every class", training=told)


def test_a_metric_that_predictions_leave_undefined_waits(tmp_path):
    # No example is called positive, so there is no precision; the run goes on.
    told = {"checkpoint": {"metric": "val_precision", "mode": "max"}}
    outcome = train(config_of(tmp_path, training=told))
    assert (outcome.ended, outcome.best) == ("finished", None)
    assert "val_precision" not in outcome.metrics


@pytest.mark.parametrize("balance", ["group", "both"])
def test_a_balance_that_the_data_cannot_give_is_refused_first(tmp_path, balance):
    data = document_of(tmp_path)["data"] | {"balance": balance}
    refused(tmp_path, "the data have no group for each example to balance by", data=data)


def test_a_run_that_cannot_be_written_is_refused_first(tmp_path):
    output = str(tmp_path / "data.npz" / "run")
    refused(tmp_path, "cannot be written: .*data.npz' is not a folder", output=output)
    refused(tmp_path, "data.npz' is a file; name a folder", output=str(tmp_path / "data.npz"))


@pytest.mark.parametrize("quantile", [-0.1, 0.0, 1.0, 2.0, float("nan")])
def test_a_quantile_is_looked_at_before_a_fold_is_trained(tmp_path, quantile):
    def fails(*_, **__):
        raise AssertionError("trained")

    with pytest.raises(InputError, match="the quantile must lie between 0 and 1"):
        ensemble.cross_validate(config_of(tmp_path), 3, quantile=quantile, train=fails)


@pytest.mark.parametrize(
    "folds, sentence",
    [(0, "needs 3 folds or more, but got 0"), (2, "or more, but got 2"), (5, "part of the data")],
)
def test_folds_that_the_groups_cannot_fill_are_refused_before_one_is_trained(
    tmp_path, folds, sentence
):
    path = write_data(tmp_path)
    with np.load(path) as held:
        arrays = dict(held)
    np.savez(path, **arrays, group=np.arange(len(arrays["y"])) % 4)
    data = document_of(tmp_path)["data"] | {"split": {"by": "group"}}

    def fails(*_, **__):
        raise AssertionError("trained")

    with pytest.raises(InputError, match=sentence):
        ensemble.cross_validate(config_of(tmp_path, data=data), folds, train=fails)
    assert [one.name for one in tmp_path.iterdir()] == ["data.npz"]


def test_folds_that_exist_are_found_before_one_is_trained(tmp_path):
    (tmp_path / "run" / "fold-2").mkdir(parents=True)
    (tmp_path / "run" / "fold-2" / "mine.txt").write_text("mine")

    def fails(*_, **__):
        raise AssertionError("trained")

    with pytest.raises(InputError, match="fold-2' exists already"):
        ensemble.cross_validate(config_of(tmp_path), 3, train=fails)


# The names that are known beforehand are those that come


def evaluated(losses, y, output, **more):
    """Names that an evaluation has."""
    dataset = ArrayDataset({"x": np.zeros((len(output), 3, 5)), "y": y, **more})
    evaluation = Evaluation(losses, dataset)
    batch = {"x": np.zeros((len(output), 3, 5)), "y": y, **more}
    terms = {one.name or one.kind: 0.5 for one in losses} | {"loss": 0.5}
    evaluation.add(batch, terms, output)
    return {f"val_{name}" for name in evaluation.result()}, dataset


@pytest.mark.parametrize(
    "losses, y, channels",
    [
        ([CrossEntropy()], np.arange(12) % 2, 2),
        ([CrossEntropy()], np.arange(12) % 3, 3),
        ([Focal(activation="softmax")], np.arange(12) % 4, 4),
        ([Bce()], (np.arange(12) % 2.0)[:, None], 1),
        ([Bce()], np.eye(12)[:, :3], 3),
        ([Mse(name="far")], np.arange(24.0).reshape(12, 2), 2),
        ([Mse(), CrossEntropy()], np.arange(12) % 2, 2),
    ],
)
def test_the_names_known_beforehand_are_those_that_come(losses, y, channels):
    output = np.random.default_rng(3).standard_normal((12, channels))
    found, dataset = evaluated(losses, y, output)
    known = metric_names(losses, {None: (channels,)}, dataset)
    events = {f"val_{name}" for name in ("event_sensitivity", "event_false_share")}
    assert found <= set(known)
    assert set(known) - found <= {"train_loss", "val_false_alarms_per_hour", *events}


def test_events_have_names_too():
    y, events = np.arange(12) % 2, np.arange(12)
    output = np.random.default_rng(3).standard_normal((12, 2))
    found, dataset = evaluated([CrossEntropy()], y, output, event=events)
    assert "val_event_sensitivity" in found
    assert found <= set(metric_names([CrossEntropy()], {None: (2,)}, dataset))


def test_without_validation_there_is_the_training_loss_alone():
    assert metric_names([CrossEntropy()], {None: (2,)}, None) == ("train_loss",)


def test_a_run_of_terms_has_losses_alone():
    dataset = ArrayDataset({"x": np.zeros((2, 3, 5)), "y": np.zeros(2, np.int64)})
    names = metric_names([Term(output="nll", name="nll")], {None: (2,)}, dataset)
    assert names == ("train_loss", "val_loss", "val_nll")
