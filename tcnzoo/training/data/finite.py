"""Values that are NaN or infinite in the examples of a training run, and where they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.dataset import Batch, Dataset, Subset

# What the axes after the first are, by their number.
AXES = ((), ("channel",), ("channel", "step"), ("channel", "device", "step"))


def check_finite_examples(dataset: Dataset, part: str, size: int) -> None:
    """Check every number of a part of the data before it is used.

    Args:
        dataset: the part.
        part: its name, for the error message.
        size: examples in memory at a time.
    Raises:
        InputError: a value that is NaN or infinite: its array, example, channel and step.
    """
    for start in range(0, len(dataset), size):
        indices = np.arange(start, min(start + size, len(dataset)))
        value = first_not_finite(dataset.batch(indices, None), indices)
        if value is not None:
            raise InputError(f"the {part} data are not finite: {value}{_origin(dataset, value)}")


@dataclass(frozen=True)
class Place:
    """One value of a batch; as text `x is nan at example 13, channel 2, step 4`.

    Attributes:
        name: of the array.
        value: that is there.
        example: its number, from 0.
        inner: its position in the array's other axes.
    """

    name: str
    value: float
    example: int
    inner: tuple[int, ...]

    def __str__(self) -> str:
        """Array, value, example, and channel and step where the array has these axes."""
        if len(self.inner) >= len(AXES):
            where = [f"position {self.inner}"]
        elif len(self.inner) == 1 and not self.name.startswith(("x", "embedding")):
            where = [f"position {self.inner[0]}"]
        else:
            axes = AXES[len(self.inner)]
            where = [f"{axis} {number}" for axis, number in zip(axes, self.inner, strict=True)]
        return f"{self.name} is {self.value:g} at {', '.join([f'example {self.example}', *where])}"


def first_not_finite(batch: Batch, indices: Array) -> Place | None:
    """The first value of a batch that is NaN or infinite, or None.

    Args:
        batch: arrays whose first axis is that of the examples.
        indices: numbers of the examples.
    """
    for name, array in _real(batch):
        finite = np.isfinite(array)
        if not finite.all():
            return _place(name, array, int(np.argmin(finite)), indices)
    return None


def largest(batch: Batch, indices: Array) -> Place:
    """The value of `x` that is farthest from 0."""
    array = np.asarray(batch["x"])
    return _place("x", array, int(np.argmax(np.abs(array.astype(np.float64)))), indices)


def _place(name: str, array: Array, flat: int, indices: Array) -> Place:
    """The place of a value by its number in an array."""
    index = tuple(int(axis) for axis in np.unravel_index(flat, array.shape))
    return Place(name, float(array[index]), int(indices[index[0]]), index[1:])


def _real(batch: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """The arrays of a batch that can hold NaN; 16-bit ones in float32."""
    for name, array in batch.items():
        values = np.asarray(array)
        if values.size and (values.dtype.kind == "f" or str(values.dtype) == "bfloat16"):
            yield name, values if values.dtype.itemsize > 2 else values.astype(np.float32)


def _origin(dataset: Dataset, value: Place) -> str:
    """The example's number before the split, where it is another."""
    number = value.example
    while isinstance(dataset, Subset):
        number, dataset = int(dataset.indices[number]), dataset.whole
    return "" if number == value.example else f" (example {number} before the split)"
