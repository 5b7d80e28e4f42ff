"""Laws of durations that fit expected numbers of segments best: one part of a step of EM."""

from collections.abc import Mapping

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.inference.hsmm.laws import duration_scores, duration_slopes, log_softmax
from tcnzoo.inference.hsmm.tables import Tables
from tcnzoo.specs.hsmm import NEVER, HsmmSpec

# Beyond these nothing changes but the size of the numbers: all durations are 1, or all the same.
BOUNDS = {"duration_log_mean": (-1.0, 15.0), "duration_log_variance": (-5.0, 15.0)}
WIDEST = (-15.0, 15.0)
TINY = 1e-10


def completed(tables: Tables, durations: Array, censored: Array) -> Array:
    """Expected number of segments by their whole duration, those that the end cut too, (K, D)."""
    reached = censored / np.exp(np.maximum(tables.survival, -600.0))
    return np.asarray(durations + np.exp(tables.durations) * np.cumsum(reached, axis=1))


def fitted_durations(
    spec: HsmmSpec, weights: Mapping[str, Array], counts: Array, begun: Array
) -> Weights:
    """Parameters of the duration law that make counts likeliest.

    What is raised, for each state, is sum over d of counts(d) log p(d) - begun log(mean of p): the
    second term is that of segments under way at a stationary start.

    Args:
        counts: (K, D), expected number of segments by whole duration.
        begun: (K,), expected number of those under way at the start; zeros for a fresh one.
    """
    if spec.duration == "categorical":
        return {"duration_logits": _categorical(weights["duration_logits"], counts, begun)}
    parameters = {name: weights[name].copy() for name in duration_slopes(spec, weights)}
    value = _objective(spec, parameters, counts, begun)
    for _ in range(100):
        moves = _moves(spec, parameters, counts, begun)
        rate = np.ones(spec.states)
        for _ in range(30):
            tried = {
                name: _bounded(name, parameters[name] + rate * moves[name]) for name in parameters
            }
            reached = _objective(spec, tried, counts, begun)
            worse = ~(reached >= value)
            if not worse.any():
                break
            rate = np.where(worse, 0.5 * rate, rate)
        gain = np.where(worse, 0.0, reached - value)
        parameters = {name: np.where(worse, parameters[name], tried[name]) for name in parameters}
        value = value + gain
        if (gain <= 1e-10 * counts.sum(axis=1)).all():
            break
    return parameters


def _bounded(name: str, values: Array) -> Array:
    """Parameters within what makes a difference."""
    return np.asarray(np.clip(values, *BOUNDS.get(name, WIDEST)))


def _objective(
    spec: HsmmSpec, parameters: Mapping[str, Array], counts: Array, begun: Array
) -> Array:
    """What each state's parameters are to raise, (K,)."""
    law = log_softmax(duration_scores(spec, parameters))
    mean = np.exp(law) @ np.arange(1.0, spec.max_duration + 1.0)
    return np.asarray((counts * law).sum(axis=1) - begun * np.log(mean))


def _moves(
    spec: HsmmSpec, parameters: Mapping[str, Array], counts: Array, begun: Array
) -> dict[str, Array]:
    """A step of Fisher scoring for each state's parameters."""
    slopes = np.stack(
        list(duration_slopes(spec, parameters).values()), axis=1
    )  # (K, parameters, D)
    chances = np.exp(log_softmax(duration_scores(spec, parameters)))
    steps = np.arange(1.0, spec.max_duration + 1.0)
    mean = chances @ steps
    number = counts.sum(axis=1, keepdims=True)
    pull = counts - number * chances
    pull -= (begun / mean)[:, None] * chances * (steps - mean[:, None])
    slope = np.einsum("kpd,kd->kp", slopes, pull)
    apart = slopes - np.einsum("kpd,kd->kp", slopes, chances)[:, :, None]
    bend = np.einsum("kpd,kqd,kd->kpq", apart, apart, chances) * number[:, :, None]
    ridge = TINY + 1e-6 * np.trace(bend, axis1=1, axis2=2)
    bend += ridge[:, None, None] * np.eye(bend.shape[1])
    moves = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    moves /= np.maximum(1.0, np.abs(moves).max(axis=1, keepdims=True) / 3.0)  # still uphill
    return {name: moves[:, index] for index, name in enumerate(parameters)}


def _categorical(logits: Array, counts: Array, begun: Array) -> Array:
    """Counts as chances, turned towards short durations where the start is stationary.

    The log of the mean is replaced by its tangent at the last law, which lies above it, so that the
    objective cannot fall; chances are then counts / (level + begun d / mean), with the level that
    makes their sum 1.
    """
    number = counts.sum(axis=1, keepdims=True)
    steps = np.arange(1.0, counts.shape[1] + 1.0)
    possible = logits > NEVER
    counts = np.where(possible, np.maximum(counts, TINY * np.maximum(number, TINY)), 0.0)
    mean = np.exp(log_softmax(np.where(possible, logits, -np.inf))) @ steps
    tilt = (begun / mean)[:, None] * steps
    low, high = -tilt[:, :1], np.maximum(counts.sum(axis=1, keepdims=True), TINY)
    for _ in range(200):
        level = 0.5 * (low + high)
        above = (counts / np.maximum(level + tilt, 1e-300)).sum(axis=1, keepdims=True) > 1.0
        low, high = np.where(above, level, low), np.where(above, high, level)
    fitted = np.log(np.where(possible, counts, 1.0) / np.maximum(high + tilt, 1e-300))
    return np.where((number > TINY) & possible, fitted, logits)
