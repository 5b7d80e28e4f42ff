"""The state of a hidden semi-Markov model given the signal so far, step by step."""

from typing import NamedTuple

import mlx.core as mx

from tcnzoo.specs.hsmm import NEVER

from .laws import Laws, gone, solid, survival
from .scan import compiled

# The entries of the streaming state that are kept in Ages, in its order.
STATE = ("ages", "scale", "count")


class Ages(NamedTuple):
    """Where a stream stands; see `tcnzoo.specs.hsmm` for the recursion.

    Attributes:
        ages: (batch, K, D), log weight of a segment of each state and age, the largest 0.
        scale: (batch, 2), the sum of what was taken off, and its compensation.
        steps: 0 before the first step, 1 after it.
    """

    ages: mx.array
    scale: mx.array
    steps: mx.array


def nothing_yet(batch: int, states: int, longest: int) -> Ages:
    """Before the first step."""
    zeros = mx.zeros((batch, states, longest))
    return Ages(zeros, mx.zeros((batch, 2)), mx.array(0, dtype=mx.int32))


def begun(laws: Laws, stationary: bool) -> mx.array:
    """Log weights of each state and age at the first step, (K, D)."""
    if stationary:
        mean = mx.logsumexp(survival(laws.durations), axis=1)
        return mx.broadcast_to((laws.initial - mean)[:, None], laws.durations.shape)
    never = mx.full((laws.initial.shape[0], laws.durations.shape[1] - 1), NEVER)
    return mx.concatenate([laws.initial[:, None], never], axis=1)


def follow(
    scores: mx.array, before: Ages, laws: Laws, stationary: bool
) -> tuple[mx.array, mx.array, Ages]:
    """Filter a signal, or the next piece of one.

    Args:
        scores: log likelihood of each step in each state, (batch, time, K).
        before: where the stream stands.
        laws: of the model.
        stationary: whether the signal begins in the midst of a segment.
    Returns:
        (log p(state at t | x up to t), (batch, time, K), NaN where nothing is possible;
        log p(x up to t), (batch, time); where the stream stands after it).
    """
    laws, run = laws.solid(), compiled(_next)
    alive_for, scores = survival(laws.durations), solid(scores)
    ages, scale = solid(before.ages.astype(mx.float32)), before.scale.astype(mx.float32)
    states: list[mx.array] = []
    totals: list[mx.array] = []
    for t in range(scores.shape[1]):
        moved = _aged(ages, laws)
        if t == 0:
            moved = mx.where(before.steps == 0, begun(laws, stationary), moved)
        ages, scale, state, total = run(moved, scale, scores[:, t], alive_for)
        states.append(state)
        totals.append(total)
    filtered, known = mx.stack(states, axis=1), mx.stack(totals, axis=1)
    filtered = mx.where(gone(known)[..., None], mx.nan, filtered)
    ages = mx.where(gone(ages), -mx.inf, ages)
    return filtered, known, Ages(ages, scale, mx.ones_like(before.steps))


def _aged(ages: mx.array, laws: Laws) -> mx.array:
    """Every segment one step older, and those that begin: before the step itself is weighed."""
    ended = mx.logsumexp(ages + laws.durations, axis=2)
    new = mx.logsumexp(ended[:, :, None] + laws.transitions, axis=1)
    return mx.concatenate([new[:, :, None], ages[:, :, :-1]], axis=2)


def _next(
    ages: mx.array, scale: mx.array, score: mx.array, alive_for: mx.array
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """Weigh a step; (ages, scale, log p of each state, log p of all so far)."""
    ages = ages + score[:, :, None]
    top = mx.stop_gradient(mx.max(ages, axis=(1, 2)))
    alive = mx.logsumexp(ages - top[:, None, None] + alive_for, axis=2)
    norm = mx.logsumexp(alive, axis=1, keepdims=True)
    added = top - scale[:, 1]
    total = scale[:, 0] + added
    scale = mx.stack([total, (total - scale[:, 0]) - added], axis=1)
    return ages - top[:, None, None], scale, alive - norm, total + norm[:, 0]
