"""The likeliest cut of a signal into segments."""

import math
from typing import NamedTuple

from keras import ops

from ...block import Tensor
from ..loop import Tensors, scan
from .laws import Laws, gone, never, replaced, survival
from .scan import beside, by_step, live


class Back(NamedTuple):
    """Where the best path to each step comes from.

    Attributes:
        score: (batch,), log probability of the best path with the signal.
        state, duration: (batch,), of its last segment.
        lasted: (time - 1, batch, K), steps of the best segment of each state that ends before t.
        came: (time - 1, batch, K), the state before a segment that starts at t; both from t = 1 on.
    """

    score: Tensor
    state: Tensor
    duration: Tensor
    lasted: Tensor
    came: Tensor


def likeliest(scores: Tensor, lengths: Tensor, laws: Laws, censored: bool) -> tuple[Tensor, Tensor]:
    """Find the likeliest segmentation; arguments as of `forward`.

    Of equal ones the shortest last segment is taken, then the lowest state.

    Returns:
        (a state for each step, (batch, time) int32, -1 behind the end; its score, (batch,)).
    """
    fixed = Laws(*(ops.stop_gradient(table) for table in laws))
    back = best(ops.stop_gradient(scores), lengths, fixed, censored)
    inside = live(lengths, ops.swapaxes(scores, 0, 1))

    def step(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        (state, left), (lasted, came, within) = carry, row
        label = ops.where(within, state, ops.full_like(state, -1))
        left = left - ops.cast(within, "int32")
        begins = ops.logical_and(within, left == 0)
        before = _at(came, state)
        left = ops.where(begins, _at(lasted, before), left)
        return (ops.where(begins, before, state), left), (label,)

    carry, rows = (back.state, back.duration), (back.lasted, back.came, inside[1:])
    (state, _), (path,) = scan(step, carry, rows, reverse=True)
    path = ops.concatenate([ops.expand_dims(state, 0), path], axis=0)
    return ops.swapaxes(path, 0, 1), back.score


def _at(table: Tensor, state: Tensor) -> Tensor:
    """The value of one state in each row of (batch, K)."""
    return ops.take_along_axis(table, ops.expand_dims(state, 1), axis=1)[:, 0]


def best(scores: Tensor, lengths: Tensor, laws: Laws, censored: bool) -> Back:
    """Run along the sequences; arguments as of `forward`."""
    (rows, tops), laws = by_step(scores), laws.solid()
    inside, (states, longest) = live(lengths, rows), laws.durations.shape
    ages = ops.arange(1, longest + 1, dtype="int32")
    opening = ops.expand_dims(laws.initial + rows[0], 2)
    later = never((1, 1, longest - 1), rows.dtype) + ops.zeros_like(opening)
    carried = ops.concatenate([opening, later], axis=2)

    def step(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        (carried, taken, elapsed), (score, within) = carry, row
        ending = carried + ops.where(ages == elapsed, laws.first_durations, laws.durations)
        ended, lasted = ops.max(ending, axis=2), ops.argmax(ending, axis=2) + 1
        moving = ops.expand_dims(ended, 2) + laws.transitions
        new, came = ops.max(moving, axis=1), ops.argmax(moving, axis=1)
        went = ops.concatenate([ops.expand_dims(new, 2), carried[:, :, :-1]], axis=2)
        went = went + ops.expand_dims(score, 2)
        top = ops.max(went, axis=(1, 2))
        carry = (
            ops.where(beside(within, 2), went - beside(top, 2), carried),
            taken + ops.where(within, top, ops.zeros_like(top)),
            elapsed + 1,
        )
        return carry, (ops.cast(lasted, "int32"), ops.cast(came, "int32"))

    start = (carried, ops.zeros_like(tops[0]), ops.ones((), dtype="int32"))
    (carried, taken, _), (lasted, came) = scan(step, start, (rows[1:], inside[1:]))
    total = taken + ops.sum(ops.where(inside, tops, ops.zeros_like(tops)), axis=0)
    first, other = laws.first_durations, laws.durations
    if censored:
        first, other = survival(first), survival(other)
    whole = ops.expand_dims(ages == ops.expand_dims(lengths, 1), 1)
    # Durations before states, in the order in which ties are settled.
    ending = ops.swapaxes(carried + ops.where(whole, first, other), 1, 2)
    ending = ops.reshape(ending, (-1, longest * states))
    index = ops.cast(ops.argmax(ending, axis=1), "int32")
    score = total + ops.max(ending, axis=1)
    score = replaced(score, gone(score), -math.inf)
    return Back(score, index % states, index // states + 1, lasted, came)
