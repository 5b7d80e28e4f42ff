"""The laws of durations, 1 to D steps: their scores, and how these move with the parameters."""

from collections.abc import Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs.hsmm import NEVER, HsmmSpec


def possible(logits: Array) -> Array:
    """Logits in float64, with -inf for those that are as good as that."""
    wide = logits.astype(np.float64)
    return np.where(wide <= NEVER, -np.inf, wide)


def log_sum_exp(x: Array, axis: int) -> Array:
    """Log of the sum of exp x along an axis; -inf where all of it is -inf."""
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.sum(np.exp(x - top), axis=axis)) + np.squeeze(top, axis)
    return total


def log_softmax(x: Array, axis: int = -1) -> Array:
    """X minus the log of the sum of exp x along an axis; -inf where all of it is -inf."""
    total = np.expand_dims(log_sum_exp(x, axis), axis)
    return np.asarray(x - np.where(total > -np.inf, total, 0.0))


def log_tail(x: Array) -> Array:
    """Log of the sums of exp x from each place of the last axis to its end."""
    return np.asarray(np.logaddexp.accumulate(x[..., ::-1], axis=-1)[..., ::-1])


def duration_scores(spec: HsmmSpec, weights: Mapping[str, Array]) -> Array:
    """Scores of the durations, (states, max_duration), not normalised; see HsmmSpec."""
    n = np.arange(spec.max_duration, dtype=np.float64)
    if spec.duration == "categorical":
        return np.asarray(weights["duration_logits"], dtype=np.float64)
    if spec.duration == "gaussian":
        mean, variance = np.exp(_column(weights, "log_mean")), _column(weights, "log_variance")
        return np.asarray(-0.5 * (n + 1.0 - mean) ** 2 * np.exp(-variance))
    counts = np.arange(1.0, spec.max_duration)
    if spec.duration == "poisson":
        factorial = np.concatenate([[0.0], np.cumsum(np.log(counts))])
        return np.asarray(n * _column(weights, "log_rate") - factorial)
    size = np.exp(_column(weights, "log_size"))
    terms = np.log((size + counts - 1.0) / counts)
    rising = np.concatenate([np.zeros_like(size), np.cumsum(terms, axis=1)], axis=1)
    return np.asarray(rising - n * np.logaddexp(0.0, -_column(weights, "logit")))


def duration_slopes(spec: HsmmSpec, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Derivative of each state's scores by each of its own parameters.

    Returns:
        name of the parameter -> (states, max_duration); none for the categorical law.
    """
    n = np.arange(spec.max_duration, dtype=np.float64)
    if spec.duration == "poisson":
        return {"duration_log_rate": np.broadcast_to(n, (spec.states, spec.max_duration))}
    if spec.duration == "gaussian":
        mean = np.exp(_column(weights, "log_mean"))
        precision = np.exp(-_column(weights, "log_variance"))
        apart = n + 1.0 - mean
        return {
            "duration_log_mean": apart * precision * mean,
            "duration_log_variance": 0.5 * apart**2 * precision,
        }
    if spec.duration == "negative_binomial":
        size = np.exp(_column(weights, "log_size"))
        terms = size / (size + np.arange(spec.max_duration - 1.0))
        rising = np.concatenate([np.zeros_like(size), np.cumsum(terms, axis=1)], axis=1)
        stop = np.exp(-np.logaddexp(0.0, _column(weights, "logit")))  # 1 - q
        return {"duration_log_size": rising, "duration_logit": n * stop}
    return {}


def _column(weights: Mapping[str, Array], name: str) -> Array:
    """One duration parameter of every state, (states, 1), float64."""
    return np.asarray(weights[f"duration_{name}"], dtype=np.float64)[:, None]
