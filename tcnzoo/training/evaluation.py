"""An evaluation pass: a model over a data set, and its losses and metrics there."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.models.outputs import Output
from tcnzoo.training.data.dataset import Batch, Dataset
from tcnzoo.training.event_metrics import EventScores, event_scores
from tcnzoo.training.losses import (
    AnyLoss,
    Bce,
    CrossEntropy,
    Focal,
    TargetLoss,
    Term,
    leading_loss,
    takes_classes,
)
from tcnzoo.training.prefetch import prefetched
from tcnzoo.training.scores import (
    POSITIVE,
    classification,
    multilabel,
    regression,
    sigmoid,
    softmax,
)
from tcnzoo.training.stepper import Stepper


class Evaluation:
    """Collects the batches of an evaluation pass, in the order of the data.

    The first loss of classes, else the first with a target, decides what the targets are: classes
    (cross-entropy and softmax focal), ones and zeros (BCE and sigmoid focal) or values. Its mask
    and its `ignore` apply to the metrics, too.

    Attributes:
        classes: names of the classes, where targets are classes and their number is known.
    """

    def __init__(self, losses: Sequence[AnyLoss], dataset: Dataset | None = None) -> None:
        """Begin without a batch; `dataset` has the names of classes and the seconds of windows."""
        self._loss = leading_loss(losses)
        self._names = None if dataset is None else dataset.classes
        self._seconds = None if dataset is None else dataset.seconds
        self._sums: dict[str, float] = {}
        self._examples = 0
        self._targets: list[Array] = []
        self._outputs: list[Array] = []
        self._events: list[Array] = []
        self._runs: list[Array] = []

    def add(self, batch: Batch, terms: Mapping[str, float], output: Output) -> None:
        """Take a batch, its losses, and the model's neutral output for it.

        Raises:
            InputError: the output lacks what the loss is of.
        """
        count = len(batch["x"])
        self._examples += count
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + count * float(value)
        if self._loss is None or isinstance(self._loss, Term):
            return
        target, values = batch[self._loss.target], _chosen(output, self._loss.output)
        if not takes_classes(self._loss) and target.ndim == values.ndim - 1:
            target = np.expand_dims(target, 1)  # of one channel, without that axis
        kept = _kept(self._loss, batch, target)
        if takes_classes(self._loss):
            values = np.moveaxis(values, 1, -1)
        elif values.ndim >= 3:
            values, target = np.moveaxis(values, 1, -1), np.moveaxis(target, 1, -1)
        counted = np.broadcast_to(kept, values.shape[:-1])
        self._outputs.append(values[counted])
        self._targets.append(target[counted])
        if "event" in batch and values.ndim == 2:
            self._events.append(batch["event"][counted])
            self._runs.append(batch.get("run", batch["event"])[counted])

    @property
    def is_finite(self) -> bool:
        """Whether no output is NaN or infinite; else there are no metrics of them."""
        return all(bool(np.isfinite(output).all()) for output in self._outputs)

    @property
    def is_classes(self) -> bool:
        """Whether targets are classes, or ones and zeros of one channel."""
        return takes_classes(self._loss) if self._loss and self._targets else False

    @property
    def is_binary(self) -> bool:
        """Whether there is one probability of being positive for each example or step."""
        if not self._targets or not isinstance(self._loss, Bce | Focal) or self.is_classes:
            return self.is_classes and self._outputs[0].shape[-1] == 2
        return bool(self._outputs[0].shape[-1] == 1)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        count = self._outputs[0].shape[-1] if self.is_classes else 2
        known = self._names is not None and len(self._names) == count
        return self._names if known and self._names else tuple(map(str, range(count)))

    @property
    def labels(self) -> Array:
        """Class of everything that counts, (n,)."""
        targets = np.concatenate(self._targets)
        return (targets if self.is_classes else targets[..., 0]).astype(np.int64)

    @property
    def probabilities(self) -> Array:
        """Probabilities, (n, classes), float64."""
        logits = self._logits
        if self.is_classes:
            return softmax(logits)
        positive = sigmoid(logits[..., 0])
        return np.stack([1.0 - positive, positive], axis=-1)

    @property
    def _logits(self) -> Array:
        """The outputs that count, (n, channels), float64."""
        return np.concatenate(self._outputs).astype(np.float64)

    @property
    def events(self) -> EventScores | None:
        """Scores of events, where windows come from events and there are two classes."""
        if not self._events or not self.is_binary:
            return None
        events, positive = np.concatenate(self._events), self.probabilities[:, POSITIVE]
        return event_scores(
            events, self.labels, positive, self._seconds, np.concatenate(self._runs)
        )

    def losses(self) -> dict[str, float]:
        """The mean of each loss over the examples; `loss` is their weighted sum."""
        return {name: total / max(self._examples, 1) for name, total in self._sums.items()}

    def result(self) -> dict[str, float]:
        """Losses and metrics by name; a metric that these data do not define is left out.

        Raises:
            BackendMissing: scikit-learn is not installed.
        """
        losses = self.losses()
        if not self._targets or not self.is_finite:
            return losses
        if self.is_classes or self.is_binary:
            metrics = losses | classification(self.labels, self.probabilities)
            events = self.events
            return metrics if events is None else metrics | events.summary()
        target, output = np.concatenate(self._targets), self._logits
        if isinstance(self._loss, Bce | Focal):
            return losses | multilabel(target, output)
        return losses | regression(target, output)


def evaluate(
    stepper: Stepper, dataset: Dataset, losses: Sequence[AnyLoss], size: int
) -> Evaluation:
    """Run a model in evaluation mode over all examples of a data set, in their order.

    Args:
        stepper: of the model.
        dataset: train, val or test.
        losses: of the plan.
        size: examples of a batch.
    """
    evaluation = Evaluation(losses, dataset)
    with prefetched(_batches(dataset, size)) as batches:
        for batch in batches:
            evaluation.add(batch, *stepper.evaluate(batch))
    return evaluation


def _batches(dataset: Dataset, size: int) -> Iterator[Batch]:
    """All examples in their order, not augmented."""
    for start in range(0, len(dataset), size):
        yield dataset.batch(np.arange(start, min(start + size, len(dataset))), None)


def _chosen(output: Output, name: str | None) -> Array:
    """The output that a loss takes."""
    if isinstance(output, Mapping):
        if name is None or name not in output:
            raise InputError(f"the model has outputs {', '.join(output)}, but no {name!r}")
        return np.asarray(output[name])
    return np.asarray(output)


def _kept(loss: TargetLoss, batch: Batch, target: Array) -> Array:
    """Which examples or steps count: (batch,), or (batch, time)."""
    steps = target.shape if takes_classes(loss) else (*target.shape[:1], *target.shape[2:])
    kept = np.ones(steps, bool)
    if loss.mask is not None:
        mask = batch[loss.mask] > 0
        kept &= mask.reshape(mask.shape + (1,) * (kept.ndim - mask.ndim))
    if isinstance(loss, CrossEntropy | Focal) and loss.ignore is not None:
        kept &= target != loss.ignore
    return kept
