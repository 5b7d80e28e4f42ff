"""The recursions on probabilities, not logarithms: a step costs dot products and no logarithm.

Of each state, the weight of a segment that starts at s, or of all that follows one that ends at s,
is kept in a window over s, divided by the running product of the state's emissions since then. The
product, `factor`, moves with each step; the window only where the product leaves its range. All
states share a scale, a power of two, so that scaling rounds nothing.

What is too small for the window is dropped, but not forgotten: every sum is raised by a bound of
what it may lack, so that it is never too small, and these bounds are weighed by what they lead to.
`scaled` refuses the result where they come to more than rounding does. Why this holds: let v be the
exact forward weights, v' >= v those computed, u(t) what was added at step t, and b' >= b the
backward weights. Then v'(T) - v(T) is the sum over t of u(t) b(t), which is at most that of
u(t) b'(t); and the same the other way around.

All loops are in this file: what numba keeps of them is renewed when this file changes, no other.
"""

import math
from typing import NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.chances import LEAST, Law
from tcnzoo.inference.hsmm.jit import jit

# A window holds 0 and numbers from LEAST to 1e90: starts are at most WIDE, products at least DEEP.
DEEP = 1e-60
WIDE = 1e30
# Sums are kept from here on, far enough from 1e-308 for all digits.
FAINT = 1e-290
# What is added for any step, whatever was lost there.
ALWAYS = 1e-250
# Rows of Side.states, and places of Side.marks.
FACTOR, MISSING, LEFT, CLOSING = range(4)
LEVEL, LACKING, ALIVE_LACKING, EXPONENT, LOSSY, REACH = range(6)


class Side(NamedTuple):
    """Where a pass stands.

    Attributes:
        window: (K, D + steps) weights less the products, as the module says.
        states: (4, K), of each state the product; a bound of what each place of its window may
            lack; steps until the last place that lacks something has left the window; and
            backward, with `end: censored`, the weight of the end of the signal.
        marks: (6,): the largest start when the scale was last set; relative bounds of what all
            sums so far lack, and of what those of segments under way lack; the exponent of the
            scale, the power of 2 that all weights are to be multiplied with; steps until no window
            lacks anything; D.
    """

    window: Array
    states: Array
    marks: Array


class Rows(NamedTuple):
    """What the forward pass leaves, a row for each time from the first one of a block.

    Attributes:
        ends, starts: (steps + 1, K), weight of a segment that ends, or starts, at that time.
        exponents: (steps + 1,), of the scale there, float64.
        lacking: (steps + 1,), a bound of what these may have too much.
    """

    ends: Array
    starts: Array
    exponents: Array
    lacking: Array


class Counts(NamedTuple):
    """What the backward pass adds to.

    Attributes:
        flow: (steps, K), expected starts less ends at each step, filled in.
        begun: (steps, K), weight of what follows a start at each step, filled in.
        ended: (steps, K), probability of an end at each step, less what follows it, filled in.
        durations: (K, D), expected segments by duration, less the probability of that.
        lacking: (2,), bounds of the probability that the sums of both passes have too much.
    """

    flow: Array
    begun: Array
    ended: Array
    durations: Array
    lacking: Array


@jit
def _dot(a: Array, b: Array) -> float:
    """Sum of products."""
    value = 0.0
    for i in range(len(a)):
        value += a[i] * b[i]
    return value


@jit
def _add(sums: Array, weight: float, x: Array) -> None:
    """Add weight * x."""
    for i in range(len(x)):
        sums[i] += weight * x[i]


@jit
def _settle(x: Array, factor: float) -> bool:
    """Multiply, with 0 for what falls below LEAST; whether anything did."""
    lost = 0
    for i in range(len(x)):
        scaled = x[i] * factor
        small = scaled < LEAST
        lost += small and x[i] > 0.0
        x[i] = 0.0 if small else scaled
    return lost > 0


@jit
def _move(states: Array, k: int, view: Array, factor: float) -> bool:
    """Multiply a factor into the window of a state; whether anything was lost."""
    lost = _settle(view, factor)
    lost |= _settle(states[CLOSING, k : k + 1], factor)
    missing = states[MISSING, k] * factor
    if lost:
        missing += LEAST
        states[LEFT, k] = len(view) + 1.0
    if lost or states[MISSING, k] > 0.0:
        missing = max(missing, LEAST)  # the product may underflow
    states[MISSING, k] = missing
    states[FACTOR, k] = 1.0
    return lost


@jit
def _times(factors: Array, odds: Array) -> float:
    """Multiply products by the emissions of a step; the smallest of them then."""
    lowest = 1.0
    for k in range(len(odds)):
        factor = factors[k] * odds[k]
        factors[k] = factor
        lowest = factor if factor < lowest else lowest
    return lowest


@jit
def _deepen(window: Array, low: int, states: Array, marks: Array, odds: Array) -> None:
    """Multiply products that are too small into their windows."""
    reach = int(marks[REACH])
    for k in range(len(odds)):
        if odds[k] == 0.0:
            window[k, low : low + reach] = 0.0
            states[FACTOR:, k] = 0.0
            states[FACTOR, k] = 1.0
        elif states[FACTOR, k] < DEEP:
            view = window[k, low : low + reach]
            if _move(states, k, view, states[FACTOR, k]):
                marks[LOSSY] = reach + 1.0


@jit
def _forget(states: Array, marks: Array) -> None:
    """Drop the bounds of windows that what was lost has left."""
    marks[LOSSY] -= 1.0
    for k in range(states.shape[1]):
        states[LEFT, k] = max(states[LEFT, k] - 1.0, 0.0)
        if states[LEFT, k] == 0.0:
            states[MISSING, k] = 0.0


@jit
def _linked(weights: Array, chances: Array) -> bool:
    """Whether a sum of products has a term that is not 0."""
    common = 0
    for i in range(len(weights)):
        common += weights[i] > 0.0 and chances[i] > 0.0
    return common > 0


@jit
def _rescale(side: Side, low: int, reach: int, top: float) -> float:
    """Set the scale so that nothing is above 1, and return the factor that does it.

    Args:
        low, reach: where the windows begin, and their length.
        top: the largest start, or what follows one.
    """
    largest = top
    for k in range(len(side.window)):
        highest = max(side.window[k, low : low + reach].max(), side.states[CLOSING, k])
        largest = max(largest, side.states[FACTOR, k] * highest)
    if not 0.0 < largest < math.inf:
        return 1.0
    power = math.frexp(largest)[1]
    scale = math.ldexp(1.0, -power)
    for k in range(len(side.window)):
        view = side.window[k, low : low + reach]
        if _move(side.states, k, view, side.states[FACTOR, k] * scale):
            side.marks[LOSSY] = reach + 1.0
    side.marks[EXPONENT] += power
    side.marks[LEVEL] = top * scale if top > 0.0 else 1.0
    return scale


@jit
def _strays(top: float, level: float, deep: bool) -> bool:
    """Whether the largest start has left its range, or there is none and windows fade."""
    if top == 0.0:
        return deep
    return top < level / WIDE or top > level * WIDE


@jit
def _weighed(
    window: Array, low: int, states: Array, durations: Array, rare: float, sums: Array
) -> float:
    """Take products and bounds into sums over the windows; a bound of what is too much.

    Args:
        rare: what a sum may lack beside what is missing in the window.
        sums: (K,), of the windows by their law.
    """
    factors, missing, reach = states[FACTOR], states[MISSING], durations.shape[1]
    faint, added = 0, 0.0
    for k in range(len(sums)):
        sums[k] *= factors[k]
        faint += sums[k] < FAINT
    if faint > 0:
        for k in range(len(sums)):
            if sums[k] < FAINT and _linked(window[k, low : low + reach], durations[k]):
                sums[k] = added = FAINT
    for k in range(len(sums)):
        lacking = factors[k] * (missing[k] + rare)
        sums[k] += lacking
        added = lacking if lacking > added else added
    return added


@jit
def _across(weights: Array, chances: Array, sums: Array) -> float:
    """sums[k] = sum over j of weights[j] * chances[k, j]; a bound of what is too much."""
    faint, added = 0, 0.0
    for k in range(len(sums)):
        sums[k] = _dot(chances[k], weights)
        faint += sums[k] < FAINT
    if faint > 0:
        for k in range(len(sums)):
            if sums[k] < FAINT and _linked(weights, chances[k]):
                sums[k] = added = FAINT
    return added


@jit
def _largest(weights: Array) -> float:
    """The largest weight."""
    largest = 0.0
    for k in range(len(weights)):
        largest = weights[k] if weights[k] > largest else largest
    return largest


@jit
def _raise(weights: Array) -> float:
    """Raise weights that are not 0 to LEAST; a bound of what that adds."""
    added = 0.0
    for k in range(len(weights)):
        if 0.0 < weights[k] < LEAST:
            weights[k] = added = LEAST
    return added


@jit
def _least(weights: Array) -> float:
    """The smallest weight that is not 0; infinity where all are."""
    least = math.inf
    for k in range(len(weights)):
        if 0.0 < weights[k] < least:
            least = weights[k]
    return least


@jit
def _under_way(
    window: Array, states: Array, survival: Array, lacking: float, first: int, alive: Array
) -> float:
    """Weights of segments under way; a bound of the share of all that they lack."""
    reach, total, lacks = survival.shape[1], 0.0, 0.0
    for k in range(len(alive)):
        factor = states[FACTOR, k]
        more = factor * reach * (states[MISSING, k] + lacking)
        alive[k] = factor * _dot(window[k, first : first + reach], survival[k]) + more
        total += alive[k]
        lacks += more
    return lacks / total if total > 0.0 else math.inf


@jit
def forward_block(odds: Array, law: Law, side: Side, rows: Rows, alive: Array) -> None:
    """Go forward through a block of steps.

    Args:
        odds: (steps, K), emission probabilities, those of the best state 1.
        law: durations and survival from D down to 1.
        side: where the pass stands; the window's first D columns are starts before the block.
        rows: row 0 is that of the start of the block, the others are filled in.
        alive: (steps, K) for the weights of segments under way, or (0, K).
    """
    window, states, marks = side
    _, arrivals, durations, survival, rare = law
    (steps, width), reach = odds.shape, durations.shape[1]
    factors, filtering = states[FACTOR], len(alive) > 0
    marks[REACH] = reach
    for t in range(steps):
        ends, starts = rows.ends[t + 1], rows.starts[t + 1]
        deep = _times(factors, odds[t]) < DEEP
        if deep:
            _deepen(window, t, states, marks, odds[t])
        if marks[LOSSY] > 0.0:
            _forget(states, marks)
        for k in range(width):
            ends[k] = _dot(window[k, t : t + reach], durations[k])
        worst = _weighed(window, t, states, durations, rare, ends)
        worst = max(worst, _across(ends, arrivals, starts))
        if filtering:
            share = _under_way(window, states, survival, rare, t, alive[t])
            marks[ALIVE_LACKING] = max(marks[ALIVE_LACKING], marks[LACKING] + share)
        top = _largest(starts)
        if _strays(top, marks[LEVEL], deep):
            scale = _rescale(side, t, reach, top)
            worst *= scale
            for k in range(width):
                ends[k] *= scale
                starts[k] *= scale
                if filtering:
                    alive[t, k] *= scale
        worst = max(worst, _raise(starts))
        if worst > 0.0:
            marks[LACKING] += width * worst / _least(starts)
        for k in range(width):
            window[k, t + reach] = starts[k] / factors[k]
        rows.exponents[t + 1] = marks[EXPONENT]
        rows.lacking[t + 1] = worst


@jit
def backward_block(
    odds: Array, law: Law, side: Side, rows: Rows, end: tuple[float, float, int], counts: Counts
) -> None:
    """Go backward through a block of steps, and count what is expected in it.

    Args:
        odds: (steps, K), as forward.
        law: durations and survival from 1 to D.
        side: where the pass stands; column steps + n of the window is n steps behind the block.
        rows: of the forward pass, from the start of the block.
        end: weight of the signal as a number and its exponent, and the steps behind the block.
        counts: what is added to.
    """
    window, states, marks = side
    transitions, _, durations, survival, rare = law
    flow, begun, ended, lasting, surplus = counts
    (steps, width), reach = odds.shape, durations.shape[1]
    after = np.empty(width)
    factors, (weight, power, behind) = states[FACTOR], end
    marks[REACH] = reach
    for i in range(steps - 1, -1, -1):
        starts, onward = rows.starts[i], begun[i]
        share = math.ldexp(1.0 / weight, int(rows.exponents[i] + marks[EXPONENT] - power))
        deep = _times(factors, odds[i]) < DEEP
        if deep:
            _deepen(window, i + 1, states, marks, odds[i])
        if marks[LOSSY] > 0.0:
            _forget(states, marks)
        for k in range(width):
            onward[k] = _dot(window[k, i + 1 : i + 1 + reach], durations[k])
        for k in range(width):
            chance = starts[k] * share * factors[k]
            _add(lasting[k], chance, window[k, i + 1 : i + 1 + reach])
        worst = _weighed(window, i + 1, states, durations, rare, onward)
        ahead = behind + steps - i
        if ahead <= reach:
            for k in range(width):
                onward[k] += factors[k] * states[CLOSING, k] * survival[k, ahead - 1]
        for k in range(width):
            flow[i, k] = starts[k] * share * onward[k]
        top = _largest(onward)
        if _strays(top, marks[LEVEL], deep):
            scale = _rescale(side, i + 1, reach, top)
            worst *= scale
            for k in range(width):
                onward[k] *= scale
            share = math.ldexp(1.0 / weight, int(rows.exponents[i] + marks[EXPONENT] - power))
        worst = max(worst, _across(onward, transitions, after))
        worst = max(worst, _raise(after))
        for k in range(width):
            ended[i, k] = rows.ends[i, k] * share
            flow[i, k] -= ended[i, k] * after[k]
            window[k, i] = after[k] / factors[k]
        later = width * (_largest(onward) + _largest(after))
        before = width * (_largest(rows.ends[i]) + _largest(starts))
        surplus[0] += (rows.lacking[i] + ALWAYS) * share * later
        surplus[1] += (worst + ALWAYS) * share * before


@jit
def accumulate(flow: Array, before: Array) -> None:
    """Sum starts less ends (steps, K) up to probabilities of states, in place, from `before` on."""
    for t in range(len(flow)):
        total = 0.0
        for k in range(len(before)):
            before[k] += flow[t, k]
            value = min(max(before[k], 0.0), 1.0)
            flow[t, k] = value
            total += value
        for k in range(len(before)):
            flow[t, k] /= total  # what rounding left
