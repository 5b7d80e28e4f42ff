"""The public calls on models of kind `hsmm`, in any backend: each model computes natively."""

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array, to_real
from tcnzoo.errors import InputError
from tcnzoo.inference.hsmm.inputs import checked
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tcnzoo.models.backend import backend_modules, dtype_of, handle_of
from tcnzoo.models.calls import get_weights
from tcnzoo.specs.hsmm import HsmmSpec


class Segment(NamedTuple):
    """A run of steps start .. stop - 1 in one state."""

    start: int
    stop: int
    state: int


@dataclass(frozen=True)
class Posteriors:
    """What sequences say of their segments.

    Attributes:
        log_likelihood: (batch,).
        posterior: (batch, states, time), probability of each state at each step; 0 behind a length.
        transitions: (batch, states, states), expected number of changes from the second axis's
            state to the third's.
        durations: (batch, states, max_duration), expected number of segments that ended within the
            signal, by duration; one under way at a stationary start counts with all of it.
        censored: (batch, states, max_duration), expected number of segments that the end of the
            signal cut, by their age then.
        segments: (batch, states), expected number of segments.
    """

    log_likelihood: Array
    posterior: Array
    transitions: Array
    durations: Array
    censored: Array
    segments: Array

    @property
    def expected_duration(self) -> Array:
        """Steps within the signal that a segment lasts, (batch, states); 0 for a state unseen."""
        steps = self.posterior.sum(axis=2)
        return np.asarray(steps / np.maximum(self.segments, np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Path:
    """The likeliest segmentation of each sequence.

    Attributes:
        path: (batch, time), a state for each step; -1 behind a length.
        score: (batch,), log-probability of segmentation and signal together.
        segments: of each sequence.
    """

    path: Array
    score: Array
    segments: list[list[Segment]]


@dataclass(frozen=True)
class Filtered:
    """States by the signal so far.

    Attributes:
        filtered: (batch, states, time), probability given this and all earlier steps; 0 behind a
            length.
        log_likelihood: (batch, time), of the signal so far; 0 behind a length.
    """

    filtered: Array
    log_likelihood: Array


def spec_of(model: Any) -> HsmmSpec:
    """The spec of a model of kind `hsmm`.

    Raises:
        InputError: the model is of another kind.
    """
    spec = handle_of(model).spec
    if not isinstance(spec, HsmmSpec):
        raise InputError(f"this needs a model of kind 'hsmm', but the model is a {spec.kind!r}")
    return spec


def current_tables(model: Any) -> Tables:
    """The normalised tables of a model, float64.

    Raises:
        WeightError: a row that cannot be normalised.
    """
    return tables_of(spec_of(model), get_weights(model))


def _run(model: Any, task: str, x: Any, lengths: Any, mask: Any) -> dict[str, Array]:
    """Run a task of `tcnzoo.inference.hsmm.batch` in the model's own backend."""
    # As wide as the recursions: of a 16-bit model, too, they take float32.
    wide = "float64" if dtype_of(model) == "float64" else "float32"
    given = checked(spec_of(model), to_real(x, wide, "x"), lengths, mask)
    current_tables(model)
    backend = importlib.import_module(f"{backend_modules()[handle_of(model).backend]}.hsmm")
    arrays: dict[str, Array] = backend.call(model, task, given.x, given.lengths, given.mask)
    return arrays


def log_likelihood(model: Any, x: Any, lengths: Any = None, mask: Any = None) -> Array:
    """Log-likelihood of each sequence, (batch,), natural logarithm.

    Args:
        model: of kind `hsmm`, in any backend.
        x: (batch, channels, time).
        lengths, mask: see `tcnzoo.hsmm`.
    Raises:
        InputError: sequences that do not fit the model, or without a possible segmentation.
        WeightError: weights that cannot be normalised.
    """
    return _run(model, "log_likelihood", x, lengths, mask)["log_likelihood"]


def posteriors(model: Any, x: Any, lengths: Any = None, mask: Any = None) -> Posteriors:
    """Probability of each state at each step, and expected numbers of segments and changes.

    Args, Raises: as `log_likelihood`.
    """
    return Posteriors(**_run(model, "posteriors", x, lengths, mask))


def viterbi(model: Any, x: Any, lengths: Any = None, mask: Any = None) -> Path:
    """The likeliest segmentation of each sequence.

    Ties go to the shortest duration, then to the lowest state. What is outside of the signal is
    summed over: how long a censored segment goes on, and how long one at a stationary start had
    lasted.

    Args, Raises: as `log_likelihood`.
    """
    arrays = _run(model, "viterbi", x, lengths, mask)
    paths = arrays["path"]
    return Path(paths, arrays["score"], [segments(path) for path in paths])


def filter(model: Any, x: Any, lengths: Any = None, mask: Any = None) -> Filtered:
    """Probability of each state at each step by the signal up to there.

    Args, Raises: as `log_likelihood`.
    """
    return Filtered(**_run(model, "filter", x, lengths, mask))


def mean_durations(model: Any) -> Array:
    """Mean of each state's law of durations, in steps, (states,)."""
    return np.asarray(np.exp(current_tables(model).log_mean))


def segments(path: Array) -> list[Segment]:
    """Cut a path (time,) of states into runs; steps below 0 belong to none."""
    path = np.asarray(path)
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    runs = [
        Segment(start, stop, int(path[start]))
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
        if stop > start
    ]
    return [run for run in runs if run.state >= 0]
