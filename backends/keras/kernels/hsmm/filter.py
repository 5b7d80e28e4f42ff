"""The state of a hidden semi-Markov model given the signal so far, step by step."""

import math
from typing import NamedTuple

from keras import ops

from ...block import Tensor
from ..loop import Tensors, scan
from .laws import Laws, gone, never, replaced, solid, survival
from .scan import beside

# The entries of the streaming state in Ages, in its order.
STATE = ("ages", "scale", "count")


class Ages(NamedTuple):
    """Where a stream stands; see `tcnzoo.specs.hsmm` for the recursion.

    Attributes:
        ages: (batch, K, D), log weight of a segment of each state and age, the largest 0.
        scale: (batch, 2), the sum of what was taken off, and its compensation.
        steps: 0 before the first step, 1 after it.
    """

    ages: Tensor
    scale: Tensor
    steps: Tensor


def nothing_yet(scores: Tensor, longest: int) -> Ages:
    """Before the first step of scores (batch, time, K)."""
    ages = ops.zeros((ops.shape(scores)[0], scores.shape[2], longest), dtype=scores.dtype)
    return Ages(ages, ops.zeros_like(ages[:, :2, 0]), ops.zeros((), dtype="int32"))


def begun(laws: Laws, stationary: bool) -> Tensor:
    """Log weights of each state and age at the first step, (K, D)."""
    if stationary:
        mean = ops.logsumexp(survival(laws.durations), axis=1)
        return ops.expand_dims(laws.initial - mean, 1) + ops.zeros_like(laws.durations)
    states, longest = laws.durations.shape
    later = never((states, longest - 1), laws.initial.dtype)
    return ops.concatenate([ops.expand_dims(laws.initial, 1), later], axis=1)


def follow(
    scores: Tensor, before: Ages, laws: Laws, stationary: bool
) -> tuple[Tensor, Tensor, Ages]:
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
    laws = laws.solid()
    alive_for, opening = survival(laws.durations), begun(laws, stationary)

    def step(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        (ages, total, lost, count), (score,) = carry, row
        ended = ops.logsumexp(ages + laws.durations, axis=2)
        new = ops.logsumexp(ops.expand_dims(ended, 2) + laws.transitions, axis=1)
        moved = ops.concatenate([ops.expand_dims(new, 2), ages[:, :, :-1]], axis=2)
        ages = ops.where(count == 0, opening, moved) + ops.expand_dims(score, 2)
        top = ops.stop_gradient(ops.max(ages, axis=(1, 2)))
        ages = ages - beside(top, 2)
        alive = ops.logsumexp(ages + alive_for, axis=2)
        norm = ops.logsumexp(alive, axis=1)
        added = top - lost
        after = total + added
        carry = (ages, after, (after - total) - added, ops.ones_like(count))
        return carry, (alive - beside(norm, 1), after + norm)

    dtype = scores.dtype
    ages, scale = (ops.cast(x, dtype) for x in (before.ages, before.scale))
    carry = (solid(ages), scale[:, 0], scale[:, 1], before.steps)
    (ages, *scale, count), rows = scan(step, carry, (ops.swapaxes(solid(scores), 0, 1),))
    log_posterior, log_likelihoods = (ops.swapaxes(row, 0, 1) for row in rows)
    log_posterior = replaced(log_posterior, beside(gone(log_likelihoods), 1), math.nan)
    ages = replaced(ages, gone(ages), -math.inf)
    return log_posterior, log_likelihoods, Ages(ages, ops.stack(scale, axis=1), count)
