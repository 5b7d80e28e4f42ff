"""The streaming state: a flat dictionary of arrays in neutral layout, named like the parameters."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from tcnzoo.errors import InputError
from tcnzoo.specs import StateItem

State = Mapping[str, Any]


class Snapshot(Protocol):
    """Several entries of a state in a backend's own form."""

    def entry(self, name: str) -> Any:
        """The array of one entry, in neutral layout."""


class LazyState(Mapping[str, Any]):
    """A state whose entries are arrays in neutral layout, some of them made when asked for.

    A backend that keeps a stream in a form of its own can so go from step to step without laying
    out arrays that nobody looks at.
    """

    def __init__(
        self, table: Mapping[str, StateItem], batch_size: int, held: dict[str, Any]
    ) -> None:
        """Hold `held`: name -> array, or the Snapshot that makes it, for every row of `table`."""
        self.table = table
        self.batch_size = batch_size
        self.held = held

    def __getitem__(self, name: str) -> Any:
        """The array of one entry."""
        value = self.held[name]
        return value.entry(name) if hasattr(value, "entry") else value

    def __iter__(self) -> Iterator[str]:
        """Names, in no particular order."""
        return iter(self.held)

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self.held)


class Stream:
    """One streaming step in progress: what the blocks read, and what they leave for the next."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Read from `state`; `after` fills up with the same names."""
        self.state = state
        self.after: dict[str, Any] = {}

    def read(self, path: str, name: str) -> Any:
        """The array `name` of the block at `path`."""
        return self.state[f"{path}.{name}" if path else name]

    def write(self, path: str, name: str, value: Any) -> None:
        """Leave an array for the next step."""
        self.after[f"{path}.{name}" if path else name] = value


def strided_steps(skip: int, length: int, stride: int) -> tuple[int, int]:
    """Find the outputs that fall into a chunk.

    Args:
        skip: input steps before the next output step is due.
        length: input steps of the chunk.
        stride: input steps between output steps.
    Returns:
        (number of output steps, `skip` for the next chunk).
    """
    steps = max(0, -(-(length - skip) // stride))
    return steps, skip + steps * stride - length


def initial_state(
    table: Mapping[str, StateItem], batch_size: int, dtype: Any
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """State before the first sample, as numpy arrays.

    Args:
        table: the spec's `state()`.
        batch_size: signals that are streamed side by side.
        dtype: float type of the model; counters are int32.
    """
    state = {}
    for name, item in table.items():
        if item.integer:
            state[name] = np.asarray(item.start, dtype=np.int32)
        else:
            state[name] = np.zeros((batch_size, *item.shape), dtype=dtype)
    return state


def check_state(table: Mapping[str, StateItem], state: Mapping[str, Any], batch_size: int) -> None:
    """Raise InputError unless `state` has the names and shapes of `table`."""
    if isinstance(state, LazyState) and state.table is table and state.batch_size == batch_size:
        return  # made by this very model for this batch size
    if state.keys() != table.keys():
        odd = sorted(table.keys() ^ state.keys())
        where = "missing" if odd[0] in table else "unknown"
        raise InputError(
            f"the state must have the {len(table)} arrays of this model, but {odd[0]!r} is {where}"
        )
    for name, item in table.items():
        wanted = (batch_size, *item.shape) if item.batched else ()
        if state[name].shape != wanted:
            raise InputError(
                f"state {name!r} must have shape {wanted} for a chunk of batch size {batch_size}, "
                f"but has {tuple(state[name].shape)}"
            )
