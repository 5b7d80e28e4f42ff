"""Metrics of an evaluation pass: against counting by hand, whatever the batches were."""

from types import SimpleNamespace

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tcnzoo.training.data.dataset import Subset
from tcnzoo.training.evaluation import Evaluation
from tcnzoo.training.event_metrics import event_scores
from tcnzoo.training.losses import Bce, CrossEntropy, Focal, Mse, Term
from tcnzoo.training.scores import classification, softmax, sweep
from tests.support.compare import noise

LOGITS = noise(40, 2)
LABELS = (noise(40, seed=1) + LOGITS[:, 1] > 0).astype(int)


def evaluated(losses, batches, dataset=None):
    """An evaluation over (batch, output) pairs, all with the loss 2 and its double."""
    found = Evaluation(losses, dataset)
    for batch, output in batches:
        found.add({"x": np.zeros((len(output), 1, 1)), **batch}, {"loss": 2.0, "two": 4.0}, output)
    return found


def pairs(labels, scores):
    """The area under the curve, by asking every pair of a positive and a negative."""
    above = [
        float(a > b) + 0.5 * float(a == b) for a in scores[labels == 1] for b in scores[labels == 0]
    ]
    return np.mean(above)


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(activation="softmax")])
def test_two_classes(loss):
    cuts = (slice(0, 7), slice(7, 31), slice(31, 40))
    found = evaluated([loss], [({"y": LABELS[cut]}, LOGITS[cut]) for cut in cuts])
    predicted = (LOGITS[:, 1] > LOGITS[:, 0]).astype(int)
    tp, fp = ((predicted == 1) & (LABELS == 1)).sum(), ((predicted == 1) & (LABELS == 0)).sum()
    tn, fn = ((predicted == 0) & (LABELS == 0)).sum(), ((predicted == 0) & (LABELS == 1)).sum()
    expected = {
        "loss": 2.0,
        "two": 4.0,
        "accuracy": (tp + tn) / 40,
        "sensitivity": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "auroc": pairs(LABELS, LOGITS[:, 1] - LOGITS[:, 0]),
    }
    assert found.result() == pytest.approx(expected, abs=1e-12)
    assert found.is_binary


def test_a_loss_is_the_mean_over_examples_not_batches():
    found = Evaluation([Mse()])
    found.add({"x": np.zeros((3, 1)), "y": np.zeros((3, 1))}, {"loss": 1.0}, np.ones((3, 1)))
    found.add({"x": np.zeros((1, 1)), "y": np.zeros((1, 1))}, {"loss": 5.0}, np.full((1, 1), 3.0))
    assert found.result() == pytest.approx({"loss": 2.0, "mse": 3.0, "mae": 1.5})


def test_more_classes():
    logits, labels = noise(60, 3, seed=2), np.arange(60) % 3
    found = evaluated([CrossEntropy()], [({"y": labels}, logits)])
    result, predicted = found.result(), logits.argmax(axis=1)
    recall = [np.mean(predicted[labels == c] == c) for c in range(3)]
    f1 = [
        2
        * ((predicted == c) & (labels == c)).sum()
        / ((predicted == c).sum() + (labels == c).sum())
        for c in range(3)
    ]
    probabilities = softmax(logits)
    auroc = [pairs((labels == c).astype(int), probabilities[:, c]) for c in range(3)]
    assert result["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert result["f1"] == pytest.approx(np.mean(f1))
    assert result["auroc"] == pytest.approx(np.mean(auroc))
    assert not found.is_binary
    assert found.classes == ("0", "1", "2")


def test_steps_count_unless_a_mask_or_ignore_takes_them_out():
    logits, labels = noise(4, 2, 5), (noise(4, 5, seed=3) > 0).astype(int)
    mask = np.ones((4, 5))
    mask[1, 3:], labels[2, 0] = 0, 9
    kept = (mask > 0) & (labels != 9)
    found = evaluated([CrossEntropy(mask="m", ignore=9)], [({"y": labels, "m": mask}, logits)])
    right = logits.argmax(axis=1) == labels
    assert found.result()["accuracy"] == pytest.approx(right[kept].mean())
    assert len(found.labels) == kept.sum() == 17


def test_a_mask_of_examples_takes_out_all_of_their_steps():
    logits, labels = noise(4, 2, 5), np.ones((4, 5), int)
    batch = {"y": labels, "m": np.array([1.0, 0.0, 1.0, 0.0])}
    found = evaluated([CrossEntropy(mask="m")], [(batch, logits)])
    assert found.result()["accuracy"] == pytest.approx((logits.argmax(1) == 1)[::2].mean())


def test_nll_is_summed_over_channels_and_averaged_over_steps():
    z, y = noise(2, 3, 4), (noise(2, 3, 4, seed=4) > 0).astype(float)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = evaluated([Bce(mask="m")], [({"y": y, "m": mask}, z)])
    p = 1 / (1 + np.exp(-z))
    each = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    assert found.result()["nll"] == pytest.approx(each[mask == 1].sum() / 6)
    assert not found.is_binary
    assert not found.is_classes


def test_one_channel_of_ones_and_zeros_is_two_classes():
    z, y = noise(30, 1), (noise(30, 1, seed=5) > 0).astype(float)
    result = evaluated([Bce()], [({"y": y}, z)]).result()
    assert result["accuracy"] == pytest.approx(((z > 0) == (y > 0)).mean())
    assert result["auroc"] == pytest.approx(pairs(y[:, 0], z[:, 0]))


@pytest.mark.parametrize("loss", [Bce(), Mse()])
@pytest.mark.parametrize("steps", [(), (5,)])
def test_targets_of_one_channel_may_come_without_it(loss, steps):
    z, y = noise(6, 1, *steps), (noise(6, 1, *steps, seed=6) > 0).astype(float)
    one, other = (evaluated([loss], [({"y": target}, z)]).result() for target in (y, y[:, 0]))
    assert one == other
    assert len(one) > 3


def test_large_logits_do_not_overflow():
    z = np.array([[1e4], [-1e4], [1e4]])
    found = evaluated([Bce()], [({"y": np.array([[1.0], [0.0], [0.0]])}, z)])
    assert found.probabilities.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert found.result()["accuracy"] == pytest.approx(2 / 3)


def test_what_the_data_do_not_define_is_left_out():
    found = classification(np.zeros(3, int), np.array([[0.9, 0.1]] * 3))
    assert found == {"accuracy": 1.0, "specificity": 1.0}


def test_outputs_are_taken_by_name_and_terms_are_only_losses():
    batch = {"y": LABELS, "x": LOGITS}
    outputs = {"logits": LOGITS, "penalty": np.array(1.0)}
    found = Evaluation([Term(output="penalty"), CrossEntropy(output="logits")])
    found.add(batch, {"loss": 1.0}, outputs)
    assert "accuracy" in found.result()
    only = Evaluation([Term(output="penalty")])
    only.add(batch, {"loss": 1.0}, outputs)
    assert only.result() == {"loss": 1.0}
    with pytest.raises(InputError, match="has outputs logits, penalty, but no 'logit'$"):
        Evaluation([CrossEntropy(output="logit")]).add(batch, {}, outputs)


def test_thresholds():
    positive = np.array([0.1, 0.5, 0.5, 0.9])
    rows = sweep(np.array([0, 0, 1, 1]), positive, (0.0, 0.5, 0.6, 1.0))
    assert [(row["tp"], row["fp"], row["tn"], row["fn"]) for row in rows] == [
        (2, 2, 0, 0),
        (2, 1, 1, 0),
        (1, 0, 2, 1),
        (0, 0, 2, 2),
    ]
    assert [row["precision"] for row in rows] == [0.5, 2 / 3, 1.0, None]


# Labels and probabilities of windows. Event 1 ends with an alarm, and event 3 begins with one.
EVENTS = [
    ([0, 1, 1], [0.7, 0.95, 0.2]),
    ([0, 0, 0, 0], [0.6, 0.7, 0.1, 0.8]),
    ([1], [0.4]),
    ([0, 0], [0.55, 0.3]),
    ([0, 0], [0.2, 0.45]),
    ([1, 1], [0.9, 0.9]),
]
NUMBER = np.concatenate([[place] * len(p) for place, (_, p) in enumerate(EVENTS)])
OF_EVENTS = np.concatenate([labels for labels, _ in EVENTS])
POSITIVE = np.concatenate([p for _, p in EVENTS])


def test_events_are_found_where_any_window_is():
    scores = event_scores(NUMBER + 7, OF_EVENTS, POSITIVE, 5.0)
    assert scores.labels.tolist() == [1, 0, 1, 0, 0, 1]
    assert scores.scores.tolist() == [0.95, 0.8, 0.4, 0.55, 0.45, 0.9]
    half = scores.at(0.5)
    assert (half.sensitivity, half.false_share) == pytest.approx((2 / 3, 2 / 3))
    # Windows 0 and 1 of event 1 are one alarm; its last window and the first of event 3 are two
    # more, in 8 windows of 5 s.
    assert half.false_per_hour == pytest.approx(3 / (8 * 5 / 3600))
    none = scores.within(0.0)
    assert (none.threshold, none.false_share) == (0.801, 0.0)
    assert none.sensitivity == pytest.approx(2 / 3)
    assert scores.within(0.34).threshold == pytest.approx(0.551)
    assert scores.within(1.0).sensitivity == 1.0
    summary = scores.summary()
    assert summary["event_sensitivity"] == pytest.approx(2 / 3)


def test_an_alarm_that_no_threshold_avoids():
    scores = event_scores(np.array([0, 1]), np.array([1, 0]), np.array([0.5, 1.0]), None)
    found = scores.within(0.0)
    assert found.threshold > 1.0
    assert (found.sensitivity, found.false_share, found.false_per_hour) == (0.0, 0.0, None)


def test_alarms_before_and_after_a_gap_are_two():
    positive, nobody = np.full(4, 0.9), np.zeros(4, int)
    for runs, alarms in (([0, 0, 0, 0], 1), ([0, 0, 1, 1], 2), (None, 1)):
        given = None if runs is None else np.array(runs)
        found = event_scores(nobody, nobody, positive, 5.0, given).at(0.5)
        assert found.false_per_hour == pytest.approx(alarms * 3600 / 20)
        assert found.false_share == 1.0


def test_evaluation_knows_the_gaps_between_its_windows():
    logits = np.stack([np.zeros(6), np.ones(6)], axis=1)
    batch = {"y": np.array([0, 0, 0, 0, 0, 1]), "event": np.array([3, 3, 3, 3, 3, 4])}
    whole = SimpleNamespace(classes=("other", "seizure"), seconds=5.0)
    for runs, alarms in (({}, 1), ({"run": np.array([7, 7, 8, 9, 9, 10])}, 3)):
        found = evaluated([CrossEntropy()], [(batch | runs, logits)], whole).result()
        assert found["false_alarms_per_hour"] == pytest.approx(alarms * 3600 / 25)


def test_evaluation_knows_the_events_of_its_windows():
    logits = np.stack([np.log(1 - POSITIVE), np.log(POSITIVE)], axis=1)
    whole = SimpleNamespace(classes=("other", "seizure"), seconds=5.0)
    part = Subset(whole, np.arange(len(OF_EVENTS)))
    cuts = (slice(0, 4), slice(4, None))
    batches = [({"y": OF_EVENTS[cut], "event": NUMBER[cut]}, logits[cut]) for cut in cuts]
    found = evaluated([CrossEntropy()], batches, part)
    assert found.classes == ("other", "seizure")
    assert found.result()["event_false_share"] == pytest.approx(2 / 3)
    assert found.result()["false_alarms_per_hour"] == pytest.approx(270)
