"""Named arrays of which only shapes and types are known until one is asked for."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import Array

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class Facts:
    """What is known of an array without its values; the attributes are named as an array's."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self.size * self.dtype.itemsize


class LazyTensors(Mapping[str, Array]):
    """Named arrays that are made anew each time one is asked for, and kept by nobody.

    Attributes:
        facts: shape and type of each, in order; they are known without reading an array.
    """

    def __init__(self, facts: Mapping[str, Facts], read: Callable[[str], Array]) -> None:
        """Keep the table and the function that gives one of its arrays."""
        self.facts = dict(facts)
        self._read = read

    def __getitem__(self, name: str) -> Array:
        """Read one array, which may be read-only and a view of a file."""
        if name not in self.facts:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self.facts)

    def __len__(self) -> int:
        """Count the arrays."""
        return len(self.facts)

    def __contains__(self, name: object) -> bool:
        """Whether there is an array of that name; nothing is read."""
        return name in self.facts


def facts_of(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Something with a `shape` and a `dtype` for each array, and no array is read for it."""
    return tensors.facts if isinstance(tensors, LazyTensors) else tensors


def picked(tensors: Tensors, names: Mapping[str, str]) -> LazyTensors:
    """Some of the arrays under other names.

    Args:
        tensors: arrays, lazy or not.
        names: new name -> name in `tensors`, in the order wanted.
    """
    known = facts_of(tensors)
    facts = {new: Facts(tuple(known[old].shape), known[old].dtype) for new, old in names.items()}
    return LazyTensors(facts, lambda name: tensors[names[name]])
