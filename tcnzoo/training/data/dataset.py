"""Examples that a training run takes by number, from any storage."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tcnzoo.arrays import Array, to_numpy, to_real
from tcnzoo.errors import InputError
from tcnzoo.training.data.augment import Augment

Generator = np.random.Generator
# Groups above this number are counted in a description, not listed.
LISTED = 50
Batch = dict[str, Array]


class Dataset(Protocol):
    """Examples by number.

    Attributes:
        classes: names of the classes in their order, or None where targets are not classes.
        seconds: from one window to the next of a recording; None where that is unknown.
    """

    classes: tuple[str, ...] | None
    seconds: float | None

    def __len__(self) -> int:
        """How many examples there are."""

    def batch(self, indices: Array, rng: Generator | None = None) -> Batch:
        """Make a batch of some examples.

        Args:
            indices: their numbers, (batch,).
            rng: for augmentation; None for the examples as they are.
        Returns:
            `x` (batch, channels, time) float32, `y`, and all other arrays of the examples.
        """

    @property
    def groups(self) -> Array | None:
        """Name of the group (a user, an event) of each example, (examples,), or None."""

    @property
    def labels(self) -> Array | None:
        """Class of each example, (examples,), or None without classes or with one a step."""

    def describe(self) -> dict[str, Any]:
        """Shapes and counts, for a report."""


class ArrayDataset:
    """Examples in arrays, one along the first axis; mapped files stay on disk."""

    seconds: float | None = None

    def __init__(
        self,
        arrays: Mapping[str, Array],
        *,
        classes: Sequence[str] | None = None,
        groups: Array | None = None,
        augment: Augment | None = None,
    ) -> None:
        """Keep the arrays.

        Args:
            arrays: `x`, `y` and all other arrays of a batch.
            classes: names of the classes.
            groups: names, (examples,).
            augment: of training examples.
        Raises:
            InputError: no `x` or `y`, or arrays of different numbers of examples.
        """
        for name in ("x", "y"):
            if name not in arrays:
                raise InputError(f"the data need an array {name!r}, but have {', '.join(arrays)}")
        self.arrays = dict(arrays)
        self.classes = None if classes is None else tuple(classes)
        self._groups, self._augment = groups, augment
        counts = {name: len(array) for name, array in arrays.items()}
        if groups is not None:
            counts["group"] = len(groups)
        for name, count in counts.items():
            if count != counts["x"]:
                raise InputError(f"x has {counts['x']} examples, but {name} has {count}")

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.arrays["x"])

    def batch(self, indices: Array, rng: Generator | None = None) -> Batch:
        """Copy some rows out of the arrays."""
        batch = {name: to_numpy(array[indices]) for name, array in self.arrays.items()}
        batch["x"] = to_real(batch["x"], name="x")
        if batch["y"].dtype.kind == "f":
            batch["y"] = to_real(batch["y"], name="y")
        if rng is not None and self._augment is not None:
            batch["x"] = self._augment(batch["x"], rng)
        return batch

    @property
    def groups(self) -> Array | None:
        """Name of the group of each example."""
        return self._groups

    @property
    def labels(self) -> Array | None:
        """The targets, where they are one class for each example."""
        y = self.arrays["y"]
        return np.asarray(y) if y.ndim == 1 and y.dtype.kind in "iu" else None

    def describe(self) -> dict[str, Any]:
        """Shapes, and how many examples each label and group has."""
        shapes = {name: list(array.shape[1:]) for name, array in self.arrays.items()}
        return {"shapes": shapes} | counts_of(self)


class MadeDataset:
    """Examples that a function makes from compact arrays, one batch at a time."""

    seconds: float | None = None

    def __init__(
        self,
        arrays: Mapping[str, Array],
        make: Callable[[Mapping[str, Array]], Batch],
        augment: Augment | None = None,
    ) -> None:
        """Keep the arrays, equal in their first axis, and the function from rows to a batch."""
        self.classes: tuple[str, ...] | None = None
        self._arrays, self._make, self._augment = dict(arrays), make, augment

    def __len__(self) -> int:
        """How many examples there are."""
        return len(next(iter(self._arrays.values())))

    def batch(self, indices: Array, rng: Generator | None = None) -> Batch:
        """Make the examples."""
        batch = self._make({name: array[indices] for name, array in self._arrays.items()})
        if rng is not None and self._augment is not None:
            batch["x"] = self._augment(batch["x"], rng)
        return batch

    @property
    def groups(self) -> Array | None:
        """None: every example stands for itself."""
        return None

    @property
    def labels(self) -> Array | None:
        """None: targets are a sequence or a number."""
        return None

    def describe(self) -> dict[str, Any]:
        """Number of examples, labels and groups."""
        return counts_of(self)


class Subset:
    """Some examples of a data set, under new numbers."""

    def __init__(self, whole: Dataset, indices: Array) -> None:
        """Keep the numbers of the examples in `whole`."""
        self.whole, self.indices = whole, np.asarray(indices)
        self.classes, self.seconds = whole.classes, whole.seconds

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.indices)

    def batch(self, indices: Array, rng: Generator | None = None) -> Batch:
        """A batch of the whole data set, by the numbers there."""
        return self.whole.batch(self.indices[indices], rng)

    @property
    def groups(self) -> Array | None:
        """As in the whole, of these examples."""
        groups = self.whole.groups
        return None if groups is None else groups[self.indices]

    @property
    def labels(self) -> Array | None:
        """As in the whole, of these examples."""
        labels = self.whole.labels
        return None if labels is None else labels[self.indices]

    def describe(self) -> dict[str, Any]:
        """The description of the whole, with counts of these examples."""
        return self.whole.describe() | counts_of(self)


def counts_of(dataset: Dataset) -> dict[str, Any]:
    """Numbers of examples: all, of each label, and of each group if these are few."""
    facts: dict[str, Any] = {"examples": len(dataset)}
    labels, groups = dataset.labels, dataset.groups
    if labels is not None:
        values, counts = np.unique(labels, return_counts=True)
        facts["labels"] = {_name(dataset, v): int(n) for v, n in zip(values, counts, strict=True)}
    if groups is not None:
        values, counts = np.unique(groups, return_counts=True)
        each = {str(name): int(count) for name, count in zip(values, counts, strict=True)}
        facts["groups"] = each if len(each) <= LISTED else len(each)
    return facts


def _name(dataset: Dataset, label: Any) -> str:
    """Name of a class."""
    known = dataset.classes is not None and 0 <= int(label) < len(dataset.classes)
    return dataset.classes[int(label)] if known and dataset.classes is not None else str(label)


def check_labels(dataset: Dataset, classes: int, part: str = "data") -> None:
    """Check every label with the number of classes.

    Args:
        dataset: one without labels passes.
        classes: labels are 0 to classes - 1.
        part: name of the data in the error message.
    Raises:
        InputError: a label outside the classes.
    """
    labels = dataset.labels
    if labels is None or not len(labels):
        return
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"labels must be 0 to {classes - 1}, one of {classes} classes, but example {first} of "
            f"{part} has label {labels[first]}"
        )
