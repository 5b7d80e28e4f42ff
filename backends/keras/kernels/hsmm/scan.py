"""The forward and the backward pass of a hidden semi-Markov model, in logarithms.

A segment is carried by the steps that it has left, so that a duration is weighed once, where the
segment starts, and every pass is one shift and one sum a step. What is carried is divided by the
probability of each step as it comes: no number grows with time, and float32 is enough.

Source:
    Yu 2010, Artificial Intelligence 174, section 2.2 (the residual time of a state).
"""

import math
from typing import Any, NamedTuple

from keras import ops

from ...block import Tensor
from ..loop import Tensors, scan
from .laws import Laws, gone, never, replaced, solid

# Instead of a sum of 0, of a sequence that has no possible segmentation.
TINY = 1e-30


class Forward(NamedTuple):
    """What the forward pass leaves; rows are (time, batch, ...), without the first step.

    Attributes:
        total: (batch,), log probability of each sequence.
        starts: (time - 1, batch, K), log p(a segment of k starts at t, x before t) / p(x before t).
        ends: (time - 1, batch, K), the same of a segment that ends just before t.
        norms: (time, batch), log probability of step t given those before, less the largest score.
        last: (batch,), log probability that the sequence may end where it does.
    """

    total: Tensor
    starts: Tensor
    ends: Tensor
    norms: Tensor
    last: Tensor


class Expected(NamedTuple):
    """Expectations given the whole of each sequence, one row of the batch each.

    Attributes:
        states: (batch, time, K), probability of each state; 0 behind the end of a sequence.
        first: (batch, K, D), of each state and duration of the first segment.
        transitions: (batch, K, K), number of changes from row to column.
        durations: (batch, K, D), number of later segments of each state and duration.
    """

    states: Tensor
    first: Tensor
    transitions: Tensor
    durations: Tensor


def beside(x: Tensor, axes: int) -> Tensor:
    """Put axes of size 1 behind the others."""
    return ops.reshape(x, (*ops.shape(x), *(1,) * axes))


def by_step(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (batch, time, K) to (time, batch, K), less the largest of each step, and that."""
    rows = ops.swapaxes(solid(scores), 0, 1)
    top = ops.max(rows, axis=2)
    return rows - ops.expand_dims(top, 2), top


def live(lengths: Tensor, rows: Tensor) -> Tensor:
    """Whether a step belongs to its sequence: (time, batch), for rows (time, batch, K)."""
    return ops.expand_dims(ops.arange(ops.shape(rows)[0], dtype="int32"), 1) < lengths


def normalised(carried: Tensor) -> tuple[Tensor, Tensor]:
    """What is carried (batch, K, D) less the logarithm of its sum, and that: (batch,)."""
    norm = ops.logsumexp(carried, axis=(1, 2))
    return carried - beside(norm, 2), norm


def forward(scores: Tensor, lengths: Tensor, laws: Laws, censored: bool) -> Forward:
    """Run along the sequences.

    Args:
        scores: log likelihood of each step in each state, (batch, time, K).
        lengths: steps of each sequence, (batch,) int32, 1 at least.
        laws: of the model.
        censored: whether the last segment may go on after the end of a sequence.
    """
    (rows, tops), laws = by_step(scores), laws.solid()
    inside = live(lengths, rows)
    opening = laws.initial[:, None] + laws.first_durations + ops.expand_dims(rows[0], 2)
    carried, norm = normalised(opening)
    zero = ops.zeros_like(norm)
    closed = never((1, 1, 1), rows.dtype) + ops.zeros_like(carried[:, :, :1])

    def step(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        (carried,), (score, within) = carry, row
        ends = carried[:, :, 0]
        starts = ops.logsumexp(ops.expand_dims(ends, 2) + laws.transitions, axis=1)
        stayed = ops.concatenate([carried[:, :, 1:], closed], axis=2)
        joined = ops.logaddexp(stayed, ops.expand_dims(starts, 2) + laws.durations)
        went, norm = normalised(joined + ops.expand_dims(score, 2))
        kept = ops.where(beside(within, 2), went, carried)
        return (kept,), (starts, ends, ops.where(within, norm, zero))

    (carried,), (starts, ends, norms) = scan(step, (carried,), (rows[1:], inside[1:]))
    norms = ops.concatenate([ops.expand_dims(norm, 0), norms], axis=0)
    last = zero if censored else ops.logsumexp(carried[:, :, 0], axis=1)
    total = ops.sum(norms + ops.where(inside, tops, ops.zeros_like(tops)), axis=0) + last
    total = replaced(total, gone(total), -math.inf)
    return Forward(total, starts, ends, norms, last)


def expectations(
    scores: Tensor, lengths: Tensor, laws: Laws, censored: bool, passed: Forward
) -> Expected:
    """Run back along the sequences, after `forward` of the same arguments."""
    (rows, _), laws = by_step(scores), laws.solid()
    inside = live(lengths, rows)
    rows = rows - beside(passed.norms, 1)
    end = ops.zeros_like(rows[0]) - beside(passed.last, 1)
    empty = ops.expand_dims(ops.zeros_like(end), 2) + ops.zeros_like(laws.durations)
    # `limit` is what is left after the end, for each state and number of steps left: all or none.
    limit = empty if censored else never((1, 1, 1), rows.dtype) + empty

    def step(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        left, after, durations, transitions = carry
        score, within, starts, ends = row
        inner = beside(within, 2)
        left = _earlier(left, after, score)
        begun = ops.logsumexp(laws.durations + left, axis=2)
        moves = laws.transitions + ops.expand_dims(begun, 1)
        lasting = ops.exp(ops.expand_dims(starts, 2) + laws.durations + left)
        moving = ops.exp(ops.expand_dims(ends, 2) + moves)
        lasting = ops.where(inner, lasting, ops.zeros_like(lasting))
        moving = ops.where(inner, moving, ops.zeros_like(moving))
        carry = (
            ops.where(inner, left, limit),
            ops.where(beside(within, 1), ops.logsumexp(moves, axis=2), end),
            durations + lasting,
            transitions + moving,
        )
        return carry, (ops.sum(moving, axis=1) - ops.sum(moving, axis=2),)

    start = (limit, end, empty, ops.expand_dims(ops.zeros_like(end), 1) + 0 * laws.initial[:, None])
    inputs = (rows[1:], inside[1:], passed.starts, passed.ends)
    (left, after, durations, transitions), (changes,) = scan(step, start, inputs, reverse=True)
    first = ops.exp(laws.initial[:, None] + laws.first_durations + _earlier(left, after, rows[0]))
    changes = ops.concatenate([ops.expand_dims(ops.sum(first, axis=2), 0), changes], axis=0)
    # Starts less ends; rounding adds up along the sum, which a share of 1 in all takes away.
    states = ops.maximum(ops.cumsum(changes, axis=0), 0.0)
    states = states / ops.maximum(ops.sum(states, axis=2, keepdims=True), TINY)
    states = ops.where(beside(inside, 1), states, ops.zeros_like(states))
    return Expected(ops.swapaxes(states, 0, 1), first, transitions, durations)


def _earlier(left: Tensor, after: Tensor, score: Tensor) -> Tensor:
    """What is left, one step earlier: with d steps left instead of d - 1."""
    moved = ops.concatenate([ops.expand_dims(after, 2), left[:, :, :-1]], axis=2)
    return moved + ops.expand_dims(score, 2)


def log_likelihood(scores: Tensor, lengths: Tensor, laws: Laws, censored: bool) -> Tensor:
    """Log probability of each sequence, (batch,); see `forward`.

    Its gradient is the expectation of what each number counts, from one backward pass; nothing of
    the forward pass is recorded.
    """

    @ops.custom_gradient
    def run(scores: Tensor, *tables: Tensor) -> Any:
        laws = Laws(*tables)
        passed = forward(scores, lengths, laws, censored)

        def back(*slopes: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            # torch hands over what came in and names the slope; the others give it alone.
            slope = slopes[0] if upstream is None else upstream
            expected = expectations(scores, lengths, laws, censored, passed)
            weight = beside(slope, 2)
            first, transition, duration = (
                ops.sum(weight * counts, axis=0)
                for counts in (expected.first, expected.transitions, expected.durations)
            )
            return weight * expected.states, ops.sum(first, axis=1), first, transition, duration

        return passed.total, back

    return run(scores, *laws)
