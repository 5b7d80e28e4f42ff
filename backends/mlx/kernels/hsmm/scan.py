"""The forward and the backward pass of a hidden semi-Markov model, in logarithms.

A segment is carried by the steps that it has left, so that a duration is weighed once, where the
segment starts, and every pass is a shift and a sum each step. What is carried is divided by the
probability of each step as it comes: no number grows with time, and float32 is enough.

Source:
    Yu 2010, Artificial Intelligence 174, section 2.2 (the residual time of a state).
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import mlx.core as mx

from tcnzoo.specs.hsmm import NEVER

from .laws import Laws, gone, solid

# Instead of a sum of 0, of a sequence that has no possible segmentation.
TINY = 1e-30


class Forward(NamedTuple):
    """What the forward pass leaves for each step t.

    Attributes:
        total: (batch,), log probability of each sequence.
        starts: (batch, time, K), log p(a segment of k starts at t, x before t) / p(x before t).
        ends: (batch, time, K), the same of a segment that ends just before t.
        norms: (batch, time), log probability of step t given those before.
        last: (batch,), log probability that the sequence may end where it does.
    """

    total: mx.array
    starts: mx.array
    ends: mx.array
    norms: mx.array
    last: mx.array


class Expected(NamedTuple):
    """Expectations given the whole of each sequence.

    Attributes:
        states: (batch, time, K), probability of each state; 0 behind the end of a sequence.
        first: (batch, K, D), of each state and duration of the first segment.
        transitions: (batch, K, K), number of changes from row to column.
        durations: (batch, K, D), number of later segments of each state and duration.
    """

    states: mx.array
    first: mx.array
    transitions: mx.array
    durations: mx.array


def centred(scores: mx.array) -> tuple[mx.array, mx.array]:
    """Scores (batch, time, K) less the largest of each step, and that: (batch, time)."""
    scores = solid(scores)
    top = mx.max(scores, axis=2)
    return scores - top[..., None], top


def live(lengths: mx.array, steps: int) -> mx.array:
    """Whether a step belongs to its sequence: (batch, time)."""
    return mx.arange(steps)[None] < lengths[:, None]


def normalised(carried: mx.array) -> tuple[mx.array, mx.array]:
    """What is carried (batch, K, D) less the logarithm of its sum, and that: (batch,)."""
    norm = mx.logsumexp(carried, axis=(1, 2))
    return carried - norm[:, None, None], norm


def shifted(carried: mx.array, filled: mx.array) -> mx.array:
    """One step less is left to each segment: (batch, K, D), closed with `filled` (batch, K)."""
    return mx.concatenate([carried[:, :, 1:], filled[:, :, None]], axis=2)


def advance(
    carried: mx.array, score: mx.array, transition: mx.array, duration: mx.array
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """One step of the forward pass; (carried, starts, ends, norm) of it."""
    ends = carried[:, :, 0]
    starts = mx.logsumexp(ends[:, :, None] + transition, axis=1)
    stayed = shifted(carried, mx.full(ends.shape, NEVER))
    joined = mx.logaddexp(stayed, starts[:, :, None] + duration) + score[:, :, None]
    carried, norm = normalised(joined)
    return carried, starts, ends, norm


def forward(scores: mx.array, lengths: mx.array, laws: Laws, censored: bool) -> Forward:
    """Run along the sequences.

    Args:
        scores: log likelihood of each step in each state, (batch, time, K), float32.
        lengths: steps of each sequence, (batch,), 1 at least.
        laws: of the model.
        censored: whether the last segment may go on after the end of a sequence.
    """
    (scores, tops), laws = centred(scores), laws.solid()
    inside = live(lengths, scores.shape[1])
    carried, norm = normalised(
        (laws.initial[:, None] + laws.first_durations) + scores[:, 0, :, None]
    )
    nothing = mx.full(scores[:, 0].shape, NEVER)
    starts, ends, norms = [mx.broadcast_to(laws.initial, nothing.shape)], [nothing], [norm]
    run = compiled(advance)
    for t in range(1, scores.shape[1]):
        went, start, end, norm = run(carried, scores[:, t], laws.transitions, laws.durations)
        carried = mx.where(inside[:, t, None, None], went, carried)
        norms.append(mx.where(inside[:, t], norm, 0.0))
        starts.append(start)
        ends.append(end)
    steps = mx.stack(norms, axis=1)
    last = mx.zeros(lengths.shape) if censored else mx.logsumexp(carried[:, :, 0], axis=1)
    total = mx.sum(steps + mx.where(inside, tops, 0.0), axis=1) + last
    total = mx.where(gone(total), -mx.inf, total)
    return Forward(total, mx.stack(starts, axis=1), mx.stack(ends, axis=1), steps, last)


def compiled(function: Callable[..., tuple[mx.array, ...]]) -> Callable[..., tuple[mx.array, ...]]:
    """Compile a step for a GPU; on a CPU that takes seconds and makes it no faster."""
    return mx.compile(function) if mx.default_device() == mx.gpu else function


def retreat(
    left: mx.array, after: mx.array, score: mx.array, transition: mx.array, duration: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    """One step of the backward pass.

    Args:
        left: (batch, K, D), log probability of the steps after t for each state and steps left.
        after: (batch, K), the same after a segment that ends with t.
        score: of step t, normalised as in the forward pass.
        transition, duration: of the model.
    Returns:
        (left, of a segment that starts at t, after) one step earlier.
    """
    left = mx.concatenate([after[:, :, None], left[:, :, :-1]], axis=2) + score[:, :, None]
    begun = mx.logsumexp(duration + left, axis=2)
    return left, begun, mx.logsumexp(transition + begun[:, None], axis=2)


def expectations(
    scores: mx.array, lengths: mx.array, laws: Laws, censored: bool, passed: Forward
) -> Expected:
    """Run back along the sequences, after `forward` of the same arguments."""
    (batch, steps, states), laws = scores.shape, laws.solid()
    scores = centred(scores)[0] - passed.norms[..., None]
    inside, run = live(lengths, steps), compiled(retreat)
    end = mx.broadcast_to(-passed.last[:, None], (batch, states))
    closed = 0.0 if censored else NEVER
    limit = mx.full((batch, states, laws.durations.shape[1]), closed)
    left, after = limit, end
    durations, transitions = mx.zeros(limit.shape), mx.zeros((batch, states, states))
    changes = []
    for t in range(steps - 1, 0, -1):
        left, begun, before = run(left, after, scores[:, t], laws.transitions, laws.durations)
        within = inside[:, t, None, None]
        start, stop = passed.starts[:, t, :, None], passed.ends[:, t, :, None]
        lasting = mx.where(within, mx.exp(start + laws.durations + left), 0.0)
        moving = mx.where(within, mx.exp(stop + laws.transitions + begun[:, None]), 0.0)
        durations, transitions = durations + lasting, transitions + moving
        changes.append(mx.sum(moving, axis=1) - mx.sum(moving, axis=2))
        left, after = mx.where(within, left, limit), mx.where(within[..., 0], before, end)
    left = mx.concatenate([after[:, :, None], left[:, :, :-1]], axis=2) + scores[:, 0, :, None]
    first = mx.exp(laws.initial[:, None] + laws.first_durations + left)
    # Starts less ends; rounding adds up along the sum, which a share of 1 in all takes away.
    changed = mx.stack([mx.sum(first, axis=2), *reversed(changes)], axis=1)
    counts = mx.maximum(mx.cumsum(changed, axis=1), 0.0)
    shares = counts / mx.maximum(mx.sum(counts, axis=2, keepdims=True), TINY)
    return Expected(mx.where(inside[..., None], shares, 0.0), first, transitions, durations)


def log_likelihood(scores: mx.array, lengths: mx.array, laws: Laws, censored: bool) -> mx.array:
    """Log probability of each sequence, (batch,); see `forward`.

    Its gradient is the expectation of what each number counts, from one backward pass; nothing of
    the forward pass is recorded.
    """

    @mx.custom_function
    def run(scores: mx.array, *tables: mx.array) -> tuple[mx.array, ...]:
        return tuple(forward(scores, lengths, Laws(*tables), censored))

    @run.vjp
    def back(
        primals: tuple[mx.array, ...], slopes: tuple[mx.array, ...], passed: tuple[mx.array, ...]
    ) -> tuple[mx.array, ...]:
        scores, *tables = primals
        expected = expectations(scores, lengths, Laws(*tables), censored, Forward(*passed))
        weight = slopes[0][:, None, None]
        first = mx.sum(weight * expected.first, axis=0)
        transition = mx.sum(weight * expected.transitions, axis=0)
        duration = mx.sum(weight * expected.durations, axis=0)
        return weight * expected.states, mx.sum(first, axis=1), first, transition, duration

    return cast(tuple[mx.array, ...], run(scores, *laws))[0]
