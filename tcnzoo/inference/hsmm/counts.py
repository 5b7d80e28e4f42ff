"""Expected numbers of segments, from passes that carry the steps that a segment has left.

Such a pass gives a segment that the end of the signal cuts a duration beyond that end, in
proportion to its law; here it is separate from those that ended, and counted by its age.
"""

from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.tables import Tables
from tcnzoo.specs.hsmm import impossible


@dataclass(frozen=True)
class Passed:
    """What two passes over a batch leave.

    Attributes:
        log_likelihood: (batch,).
        posterior: (batch, time, K), 0 behind the end of a sequence.
        first: (batch, K, D), probability of each state and number of steps left at the start.
        transitions: (batch, K, K), expected number of changes.
        durations: (batch, K, D), expected number of later segments by their whole duration.
        starts: (batch, time, K), log p(a segment starts at t, x before t) / p(x before t).
        scores: (batch, time, K), emission log-likelihoods less log p(x_t | x before t).
    """

    log_likelihood: Array
    posterior: Array
    first: Array
    transitions: Array
    durations: Array
    starts: Array
    scores: Array


def check_possible(log_likelihood: Array, steps: int) -> None:
    """Raise InputError unless every sequence has a possible segmentation."""
    if not (log_likelihood > -np.inf).all():
        raise impossible(steps, bool(np.isnan(log_likelihood).any()))


def posteriors(tables: Tables, passed: Passed, lengths: Array) -> dict[str, Array]:
    """The task `posteriors` of `tcnzoo.inference.hsmm.batch`.

    Args:
        tables: of the model.
        passed: of the batch.
        lengths: (batch,), steps of each sequence.
    Raises:
        InputError: a sequence without a possible segmentation.
    """
    check_possible(passed.log_likelihood, passed.posterior.shape[1])
    share = _shares(tables)
    settled = [_settled(tables, share, passed, row, int(n)) for row, n in enumerate(lengths)]
    durations, censored = (np.stack(part) for part in zip(*settled, strict=True))
    return {
        "log_likelihood": passed.log_likelihood,
        "posterior": np.moveaxis(passed.posterior, 1, -1),
        "transitions": passed.transitions,
        "durations": durations,
        "censored": censored,
        "segments": (durations + censored).sum(axis=2),
    }


def _shares(tables: Tables) -> Array:
    """The share of each duration in segments of each age, (K, age, duration)."""
    reached = np.where(tables.survival > -np.inf, tables.survival, 0.0)
    logs = tables.durations[:, None] - reached[:, :, None]
    longer = np.triu(np.ones(logs.shape[1:], dtype=bool))
    return np.asarray(np.exp(np.where(longer, logs, -np.inf)))


def _settled(
    tables: Tables, share: Array, passed: Passed, row: int, length: int
) -> tuple[Array, Array]:
    """Segments of one sequence that ended, by duration, and that were cut, by age: (K, D) each."""
    first = passed.first[row].astype(np.float64)
    later, reach = passed.durations[row].astype(np.float64), first.shape[1]
    cut = np.zeros_like(first)
    if tables.censored:
        cut = _cut(tables, passed, row, length)
        later = np.maximum(later - np.einsum("ke,ked->kd", cut, share), 0.0)
    behind = np.arange(1, reach + 1) > length - tables.censored
    if tables.stationary:
        whole = np.einsum("kr,krd->kd", np.where(behind, 0.0, first), share)
        return later + whole, cut + np.where(behind, first, 0.0)
    if tables.censored and length <= reach:
        cut[:, length - 1] += first[:, length - 1 :].sum(axis=1)
    return later + np.where(behind, 0.0, first), cut


def _cut(tables: Tables, passed: Passed, row: int, length: int) -> Array:
    """Expected number of segments after the first that the end cut, by age, (K, D)."""
    chances = np.zeros(tables.survival.shape)
    most = min(tables.survival.shape[1], length - 1)
    if most == 0:
        return chances
    at = slice(length - most, length)
    scores = passed.scores[row, at][::-1].astype(np.float64)
    begun = passed.starts[row, at][::-1].astype(np.float64)
    weights = (begun + np.cumsum(scores, axis=0)).T + tables.survival[:, :most]
    chances[:, :most] = np.exp(weights)
    return chances
