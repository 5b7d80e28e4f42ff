"""The likeliest cut of a signal into segments."""

from typing import NamedTuple

import mlx.core as mx

from tcnzoo.specs.hsmm import NEVER

from .laws import Laws, gone, survival
from .scan import centred, compiled, live


class Back(NamedTuple):
    """Where the best path to each step comes from.

    Attributes:
        score: (batch,), log probability of the best path with the signal.
        state, duration: (batch,), of its last segment.
        lasted: (batch, K) for each step, of the best segment of each state that ends before it.
        came: (batch, K) for each step, the state before a segment that starts there.
    """

    score: mx.array
    state: mx.array
    duration: mx.array
    lasted: list[mx.array]
    came: list[mx.array]


def likeliest(
    scores: mx.array, lengths: mx.array, laws: Laws, censored: bool
) -> tuple[mx.array, mx.array]:
    """Find the likeliest segmentation; arguments as of `forward`.

    Of equal ones the shortest last segment is taken, then the lowest state.

    Returns:
        (a state for each step, (batch, time) int32, -1 behind the end; its score, (batch,)).
    """
    fixed = Laws(*(mx.stop_gradient(table) for table in laws))
    back = best(mx.stop_gradient(scores), lengths, fixed, censored)
    inside = live(lengths, scores.shape[1])
    state, left, path = back.state, back.duration, []
    for t in range(scores.shape[1] - 1, -1, -1):
        within = inside[:, t]
        path.append(mx.where(within, state, -1))
        left = left - within
        before = _at(back.came[t], state)
        begins = within & (left == 0)
        state = mx.where(begins, before, state)
        left = mx.where(begins, _at(back.lasted[t], before), left)
    return mx.stack(path[::-1], axis=1).astype(mx.int32), back.score


def _at(table: mx.array, state: mx.array) -> mx.array:
    """The value of a state for each sequence, of (batch, K)."""
    return mx.take_along_axis(table, state[:, None], axis=1)[:, 0]


def best(scores: mx.array, lengths: mx.array, laws: Laws, censored: bool) -> Back:
    """Run along the sequences; arguments as of `forward`."""
    (scores, tops), laws = centred(scores), laws.solid()
    batch, steps, states = scores.shape
    inside, ages = live(lengths, steps), mx.arange(1, laws.durations.shape[1] + 1)
    never = mx.full((batch, states, ages.size - 1), NEVER)
    weights = mx.concatenate([(laws.initial + scores[:, 0])[:, :, None], never], axis=2)
    taken, run = [mx.zeros((batch,))], compiled(_older)
    lasted, came = [mx.ones((batch, states), mx.int32)], [mx.zeros((batch, states), mx.int32)]
    for t in range(1, steps):
        durations = mx.where(ages == t, laws.first_durations, laws.durations)
        went, top, long, before = run(weights, scores[:, t], laws.transitions, durations)
        weights = mx.where(inside[:, t, None, None], went, weights)
        taken.append(mx.where(inside[:, t], top, 0.0))
        lasted.append(long)
        came.append(before)
    total = mx.sum(mx.stack(taken, axis=1) + mx.where(inside, tops, 0.0), axis=1)
    first, later = laws.first_durations, laws.durations
    if censored:
        first, later = survival(first), survival(later)
    whole = (ages == lengths[:, None])[:, None]
    # Durations before states, in the order in which ties are settled.
    ending = (weights + mx.where(whole, first, later)).swapaxes(1, 2).reshape(batch, -1)
    likeliest_end = mx.argmax(ending, axis=1).astype(mx.int32)
    score = total + mx.max(ending, axis=1)
    score = mx.where(gone(score), -mx.inf, score)
    return Back(score, likeliest_end % states, likeliest_end // states + 1, lasted, came)


def _older(
    weights: mx.array, score: mx.array, transitions: mx.array, durations: mx.array
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """One step: (weights, what was taken off it, `lasted`, `came`)."""
    ending = weights + durations
    ended, lasted = mx.max(ending, axis=2), mx.argmax(ending, axis=2) + 1
    moving = ended[:, :, None] + transitions
    new, came = mx.max(moving, axis=1), mx.argmax(moving, axis=1)
    weights = mx.concatenate([new[:, :, None], weights[:, :, :-1]], axis=2) + score[:, :, None]
    top = mx.max(weights, axis=(1, 2))
    return weights - top[:, None, None], top, lasted.astype(mx.int32), came.astype(mx.int32)
