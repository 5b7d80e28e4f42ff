"""The streaming state: a flat dictionary of arrays in neutral layout, named like the parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tcnzoo.errors import InputError
from tcnzoo.specs import StateItem

State = dict[str, Any]


class Stream:
    """One streaming step in progress: what the blocks read, and what they leave for the next step."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Read from `state`; `after` fills up with the same names."""
        self.state = state
        self.after: State = {}

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
