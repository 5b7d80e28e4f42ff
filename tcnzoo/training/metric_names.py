"""Names of the metrics that a run will have, known before its first step."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs import Shape
from tcnzoo.training.config import Training
from tcnzoo.training.data.dataset import Dataset
from tcnzoo.training.event_metrics import EVENT_METRICS
from tcnzoo.training.losses import (
    AnyLoss,
    Bce,
    CrossEntropy,
    Focal,
    leading_loss,
    loss_names,
    takes_classes,
)
from tcnzoo.training.schedule import Mode, Plateau
from tcnzoo.training.scores import BINARY, CLASSES, MULTILABEL, REGRESSION, classification


def best_by(training: Training, validated: bool) -> tuple[str, Mode]:
    """The metric of the best checkpoint, and whether less or more of it is better."""
    if training.checkpoint.metric is not None:
        return training.checkpoint.metric, training.checkpoint.mode
    if training.early_stopping is not None:
        return training.early_stopping.metric, training.early_stopping.mode
    return ("val_loss" if validated else "train_loss"), "min"


def metric_names(
    losses: Sequence[AnyLoss], shapes: Mapping[str | None, Shape], dataset: Dataset | None
) -> tuple[str, ...]:
    """Names of all that an evaluation may have.

    Args:
        losses: of the run.
        shapes: of each output that a loss names, without the batch axis.
        dataset: the validation part, or None.
    """
    if dataset is None:
        return ("train_loss",)
    names = ["loss", *loss_names(losses)]
    loss = leading_loss(losses)
    if loss is not None:
        channels = shapes[loss.output][0]
        logits = isinstance(loss, Bce | Focal) and not takes_classes(loss)
        if takes_classes(loss) and channels > 2:
            names += CLASSES
        elif takes_classes(loss) or (logits and channels == 1):
            names += [*BINARY, *EVENT_METRICS]
        else:
            names += MULTILABEL if logits else REGRESSION
    return "train_loss", *(f"val_{name}" for name in dict.fromkeys(names))


def check_metrics(
    training: Training,
    losses: Sequence[AnyLoss],
    shapes: Mapping[str | None, Shape],
    dataset: Dataset | None,
) -> None:
    """Check that every metric in a configuration is one of those that evaluations have.

    Args:
        training: of the configuration.
        losses, shapes, dataset: see `metric_names`.
    Raises:
        InputError: a metric that no evaluation has, or that the validation data leave undefined.
    """
    names = metric_names(losses, shapes, dataset)
    undefined = _undefined(losses, shapes, dataset)
    for field, name in _wanted(training):
        if name not in names:
            aside = "" if dataset else ", since no validation data are set aside"
            raise InputError(
                f"training.{field}: an evaluation has no {name!r}{aside}{suggestion(name, names)}"
            )
        if name in undefined:
            raise InputError(
                f"training.{field}: {name!r} needs examples of every class, but the validation "
                f"data lack some; choose another metric or split"
            )


def _wanted(training: Training) -> Iterator[tuple[str, str]]:
    """(field, metric) of each field that names one."""
    if isinstance(training.schedule, Plateau):
        yield "schedule", training.schedule.metric
    if training.early_stopping is not None:
        yield "early_stopping", training.early_stopping.metric
    if training.checkpoint.metric is not None:
        yield "checkpoint", training.checkpoint.metric


def _undefined(
    losses: Sequence[AnyLoss], shapes: Mapping[str | None, Shape], dataset: Dataset | None
) -> Collection[str]:
    """Metrics of classes that the labels of the validation data cannot define."""
    loss, labels = leading_loss(losses), None if dataset is None else dataset.labels
    if labels is None or not isinstance(loss, CrossEntropy | Focal) or not takes_classes(loss):
        return ()
    if loss.mask is not None or loss.ignore is not None or loss.target != "y":
        return ()
    count = shapes[loss.output][0]
    # Predictions of every class, so that a missing metric is due to the labels.
    probabilities = np.eye(count)[np.arange(len(labels)) % count]
    defined = classification(labels, probabilities)
    every = CLASSES if count > 2 else BINARY
    return {f"val_{name}" for name in every if name not in defined} - {"val_precision"}
