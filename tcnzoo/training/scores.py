"""Metrics of predictions, by scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.training.needs import needed

POSITIVE = 1
# Metrics of each kind of target: two classes, more, ones and zeros, values.
BINARY = ("accuracy", "sensitivity", "f1", "specificity", "precision", "auroc")
CLASSES = ("accuracy", "balanced_accuracy", "f1", "auroc")
MULTILABEL = ("nll", "f1")
REGRESSION = ("mse", "mae")


def classification(labels: Array, probabilities: Array) -> dict[str, float]:
    """Metrics of classes.

    Args:
        labels: (n,).
        probabilities: (n, classes); the largest one is the prediction.
    Returns:
        accuracy; of two classes sensitivity, specificity, precision, f1 and auroc of class 1; of
        more, balanced_accuracy, and f1 and auroc as the mean over classes, each against the rest.
    """
    metrics = needed("sklearn.metrics", "computing metrics")
    predicted, count = probabilities.argmax(axis=1), probabilities.shape[1]
    scores = {"accuracy": metrics.accuracy_score(labels, predicted)}
    present = np.unique(labels)
    if count > 2:
        scores["balanced_accuracy"] = metrics.recall_score(
            labels, predicted, labels=present, average="macro", zero_division=0.0
        )
        scores["f1"] = metrics.f1_score(labels, predicted, average="macro", zero_division=0.0)
        if len(present) == count:
            scores["auroc"] = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
        return _floats(scores)
    if POSITIVE in present:
        scores["sensitivity"] = metrics.recall_score(labels, predicted)
        scores["f1"] = metrics.f1_score(labels, predicted)
    if 0 in present:
        scores["specificity"] = metrics.recall_score(labels, predicted, pos_label=0)
    if (predicted == POSITIVE).any():
        scores["precision"] = metrics.precision_score(labels, predicted)
    if len(present) == 2:
        scores["auroc"] = metrics.roc_auc_score(labels, probabilities[:, POSITIVE])
    return _floats(scores)


def multilabel(target: Array, logits: Array) -> dict[str, float]:
    """Metrics of several ones and zeros at each step.

    Args:
        target: (steps, channels).
        logits: as `target`.
    Returns:
        nll, the binary cross-entropies in nat summed over channels, their mean over steps; f1 of
        all ones together.
    """
    metrics = needed("sklearn.metrics", "computing metrics")
    each = np.logaddexp(0.0, logits) - target * logits
    ones, predicted = target.ravel() > 0.5, logits.ravel() > 0.0
    return _floats(
        {
            "nll": each.sum(axis=-1).mean(),
            "f1": metrics.f1_score(ones, predicted, zero_division=0.0),
        }
    )


def regression(target: Array, output: Array) -> dict[str, float]:
    """Mean squared and mean absolute error of values, (n, channels)."""
    metrics = needed("sklearn.metrics", "computing metrics")
    expected, other = (
        np.asarray(each, np.float64).reshape(len(each), -1) for each in (target, output)
    )
    return _floats(
        {
            "mse": metrics.mean_squared_error(expected, other),
            "mae": metrics.mean_absolute_error(expected, other),
        }
    )


def confusion(labels: Array, predicted: Array, classes: int) -> Array:
    """How often each class (rows) was taken for each (columns)."""
    metrics = needed("sklearn.metrics", "computing metrics")
    counts: Array = metrics.confusion_matrix(labels, predicted, labels=range(classes))
    return counts


def sweep(labels: Array, positive: Array, thresholds: Sequence[float]) -> list[dict[str, Any]]:
    """Two classes at each threshold: what is at least as probable counts as positive.

    Args:
        labels: (n,), 0 or 1.
        positive: (n,), probability of class 1.
        thresholds: to try.
    Returns:
        for each, `threshold`, the counts tp, fp, tn, fn, and sensitivity, specificity, precision,
        accuracy and f1; None for a division by 0.
    """
    ones, zeros = (np.sort(positive[labels == value]) for value in (POSITIVE, 0))
    points: list[dict[str, Any]] = []
    for threshold in thresholds:
        fn, tn = (int(np.searchsorted(ordered, threshold)) for ordered in (ones, zeros))
        tp, fp = len(ones) - fn, len(zeros) - tn
        points.append(
            {
                "threshold": threshold,
                **{"tp": tp, "fp": fp, "tn": tn, "fn": fn},
                "sensitivity": _ratio(tp, tp + fn),
                "specificity": _ratio(tn, tn + fp),
                "precision": _ratio(tp, tp + fp),
                "accuracy": _ratio(tp + tn, len(labels)),
                "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            }
        )
    return points


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Array) -> Array:
    """Probability of each logit."""
    probabilities: Array = np.exp(-np.logaddexp(0.0, -logits))
    return probabilities


def _ratio(part: int, whole: int) -> float | None:
    """A share, or None of 0."""
    return part / whole if whole else None


def _floats(scores: Mapping[str, Any]) -> dict[str, float]:
    """Scores as Python floats."""
    return {name: float(value) for name, value in scores.items()}
