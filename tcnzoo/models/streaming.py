"""The streaming state: a flat dictionary of arrays in neutral layout, named like the parameters."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs import Spec, StateItem

State = Mapping[str, Any]

# What `step` does where a part would keep NaN or infinity for ever.
NONFINITE = ("raise", "hold", "reset")


class Snapshot(Protocol):
    """Several entries of a state in a backend's own form."""

    def entry(self, name: str) -> Any:
        """The array of one entry, in neutral layout."""


class LazyState(Mapping[str, Any]):
    """A state whose entries are arrays in neutral layout, some of them made when asked for.

    A backend that keeps a stream in a form of its own can so go from step to step without laying
    out arrays that nobody looks at.

    Attributes:
        finite: whether the entries that never forget are known to hold finite values.
    """

    finite = False

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
        self.next_state: dict[str, Any] = {}

    def read(self, path: str, name: str) -> Any:
        """The array `name` of the block at `path`."""
        return self.state[f"{path}.{name}" if path else name]

    def write(self, path: str, name: str, value: Any) -> None:
        """Leave an array for the next step."""
        self.next_state[f"{path}.{name}" if path else name] = value


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
    table: Mapping[str, StateItem], batch_size: int, dtype: str
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """State before the first sample, as numpy arrays.

    Args:
        table: the spec's `state()`.
        batch_size: signals that are streamed side by side.
        dtype: float type of the model.
    """
    return {name: _start(item, batch_size, dtype) for name, item in table.items()}


def _start(item: StateItem, batch_size: int, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    """One entry before the first sample."""
    kind = item.dtype(dtype)
    if item.integer:
        return np.asarray(item.start, dtype=kind)
    return np.zeros((batch_size, *item.shape), dtype=kind)


def checked_state(
    table: Mapping[str, StateItem], state: State, batch_size: int, dtype: str
) -> State:
    """A state that fits a model; entries that earlier versions did not write are added.

    Args:
        table: the spec's `state()`.
        state: from `init_state`, from a step, or from a file.
        batch_size: of the next chunk.
        dtype: of the arrays that are added.
    Raises:
        InputError: other names or shapes than those of `table`, or a negative counter.
    """
    if isinstance(state, LazyState) and state.table is table and state.batch_size == batch_size:
        return state  # made by this very model for this batch size
    if state.keys() != table.keys():
        state = _completed(table, state, batch_size, dtype)
    for name, item in table.items():
        wanted = (batch_size, *item.shape) if item.batched else ()
        if state[name].shape != wanted:
            raise InputError(
                f"state {name!r} must have shape {wanted} for a chunk of batch size {batch_size}, "
                f"but has {tuple(state[name].shape)}"
            )
        if item.integer and int(state[name]) < 0:
            raise InputError(
                f"state {name!r} counts steps, but is {int(state[name])}: an int32 counter of an "
                "earlier version has overflowed; start a new stream with init_state"
            )
    return state


def _completed(
    table: Mapping[str, StateItem], state: State, batch_size: int, dtype: str
) -> dict[str, Any]:
    """A state with the entries that earlier versions did not write; InputError for other names."""
    added = {
        name: _start(item, batch_size, dtype)
        for name, item in table.items()
        if item.added and name not in state
    }
    odd = sorted((table.keys() - added.keys()) ^ state.keys())
    if odd:
        where = "missing" if odd[0] in table else "unknown"
        raise InputError(
            f"the state must have the {len(table)} arrays of this model, but {odd[0]!r} is {where}"
        )
    return {**state, **added}


def check_policy(nonfinite: str) -> None:
    """Raise InputError unless `nonfinite` is one of NONFINITE."""
    if nonfinite not in NONFINITE:
        raise InputError(
            f"nonfinite must be one of {', '.join(NONFINITE)}, but is {nonfinite!r}"
            f"{suggestion(str(nonfinite), list(NONFINITE))}"
        )


def spoilt(lasting: Mapping[str, StateItem], state: State) -> list[str]:
    """Those entries of a state that hold NaN or infinity and would keep it for ever."""
    if isinstance(state, LazyState) and state.finite:
        return []
    return [name for name, item in lasting.items() if not _finite(state[name], item)]


def settled_state(
    spec: Spec, bad: Sequence[str], before: State, after: State, policy: str
) -> State:
    """Apply a policy of `step` to a state that holds NaN or infinity for ever.

    Args:
        spec: of the model.
        bad: the `spoilt` entries of `after`.
        before, after: the state that a step was given, and the one that it left.
        policy: one of NONFINITE.
    Returns:
        A copy of `after` in which the parts concerned are as in `before` (`hold`) or as before the
        first sample (`reset`).
    Raises:
        InputError: the policy is `raise`, or it is `hold` and `before` is no better.
    """
    if policy == "raise":
        raise InputError(
            f"{_named(spec, bad)} would hold NaN or infinity in every later step: the chunk, or "
            "the state before it, has a value that is not finite or grows too large; the state "
            "passed to step is unchanged; repair the chunk, or pass nonfinite='hold' or 'reset'"
        )
    table = spec.state()
    before_it = spoilt({name: table[name] for name in bad}, before) if policy == "hold" else []
    if before_it:
        raise InputError(
            f"{_named(spec, before_it)} held NaN or infinity before this chunk, so there is no "
            "finite state to hold; pass nonfinite='reset', or start with init_state"
        )
    # With the parts of these parts: a convolution within Mamba-2 would pass its NaN on.
    parts = tuple(name[: name.rfind(".") + 1] for name in bad)
    settled = dict(after)
    for name, item in table.items():
        if name.startswith(parts):
            settled[name] = before[name] if policy == "hold" else _fresh(item, after[name])
    return settled


def _fresh(item: StateItem, like: Any) -> Array:
    """An entry before the first sample, in the shape and type of another array."""
    array = to_numpy(like)
    return np.full(array.shape, item.start, dtype=array.dtype)


def _finite(array: Any, item: StateItem) -> bool:
    """Whether an entry holds finite values only, or -inf among logarithms."""
    # On a GPU of torch a sum tells in nearly every step, without a copy; it may overflow by itself.
    far = getattr(array, "is_cpu", True) is False and not item.logarithms
    if far and math.isfinite(array.sum().item()):
        return True
    values = to_numpy(array)
    if item.logarithms:
        return not bool(np.any(np.isnan(values) | np.isposinf(values)))
    return bool(np.isfinite(values).all())


def _named(spec: Spec, names: Sequence[str]) -> str:
    """The parts that hold some entries: path and kind."""
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    kinds = dict(spec.walk())
    return ", ".join(f"{path or 'the model'} ({kinds[path].kind})" for path in paths)
