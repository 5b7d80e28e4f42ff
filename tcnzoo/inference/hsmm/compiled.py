"""The recursions of `recursion` as loops that numba compiles: the same numbers, many times as fast.

A window of starts is kept twice: as logarithms, and as powers relative to a reference of the state,
so that a step costs a dot product and one logarithm instead of D exponentials. Where a dot product
comes out so small that what was lost below 1e-308 could matter, the sum is taken in the log domain.

All loops are in this file: what numba keeps of them is renewed when this file changes, no other.
"""

import math

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.jit import jit
from tcnzoo.inference.hsmm.recursion import Expected, Forward, centred, closed, counted
from tcnzoo.inference.hsmm.tables import Tables

# A power of the window may reach e^300 before the reference moves; sums below 1e-150 are not
# trusted, since a factor below 1e-308 times e^300 may be missing from them.
HIGH = 300.0
LOW = 1e-150


@jit
def _log_sum(x: Array, law: Array) -> float:
    """Log of the sum of exp(x + law)."""
    top = -math.inf
    for i in range(len(x)):
        top = max(top, x[i] + law[i])
    if top == -math.inf:
        return top
    value = 0.0
    for i in range(len(x)):
        value += math.exp(x[i] + law[i] - top)
    return top + math.log(value)


@jit
def _rescale(logs: Array, powers: Array) -> float:
    """Set powers to exp(logs - their largest), and return the largest."""
    top = -np.inf
    for i in range(len(logs)):
        top = max(top, logs[i])
    for i in range(len(logs)):
        powers[i] = np.exp(logs[i] - top) if top > -np.inf else 0.0
    return top


@jit
def _window(
    logs: Array, powers: Array, reference: float, law: Array, odds: Array
) -> tuple[float, float]:
    """Log of the sum of exp(logs + law), and the reference that powers have after it."""
    value = 0.0
    for i in range(len(logs)):
        value += powers[i] * odds[i]
    if value > LOW:
        return reference + math.log(value), reference
    reference = _rescale(logs, powers)
    if reference == -np.inf:
        return -math.inf, reference
    value = 0.0
    for i in range(len(logs)):
        value += powers[i] * odds[i]
    if value > LOW:
        return reference + math.log(value), reference
    return _log_sum(logs, law), reference


@jit
def _across(weights: Array, logs: Array, odds: Array, out: Array) -> None:
    """out[k] = log of the sum over j of exp(weights[j]) odds[k, j]."""
    top = weights.max()
    if top == -np.inf:
        out[:] = -np.inf
        return
    powers = np.exp(weights - top)
    for k in range(len(out)):
        value = 0.0
        for j in range(len(powers)):
            value += powers[j] * odds[k, j]
        out[k] = top + math.log(value) if value > LOW else _log_sum(weights, logs[k])


@jit
def _push(logs: Array, powers: Array, index: int, reference: float) -> float:
    """Take the log weight at `place` into the powers, and return the reference.

    Args:
        logs, powers: the next window, in which `place` is the new one.
    """
    value = logs[index]
    if value - reference < HIGH:
        powers[index] = np.exp(value - reference)
    elif value > -np.inf:
        return _rescale(logs, powers)
    return reference


@jit
def _forward(
    total: Array, first: Array, stationary: bool, change: Array, law: Array
) -> tuple[Array, Array]:
    """History and ends; `change` (K, K) from column to row, `law` (K, D) from D down to 1."""
    states, steps, reach = total.shape[0], total.shape[1] - 1, law.shape[1]
    odds, swap = np.exp(law), np.exp(change)
    history = np.full((states, reach + steps), -np.inf)
    powers = np.zeros((states, reach + steps))
    reference = np.full(states, -np.inf)
    ended = np.full((states, steps + 1), -np.inf)
    weights, started = np.empty(states), np.empty(states)
    for k in range(states):
        history[k, 0 if stationary else reach - 1 : reach] = first[k]
        reference[k] = _rescale(history[k, :reach], powers[k, :reach])
    for t in range(1, steps + 1):
        at, then = slice(t - 1, t - 1 + reach), slice(t, t + reach)
        for k in range(states):
            value, reference[k] = _window(
                history[k, at], powers[k, at], reference[k], law[k], odds[k]
            )
            weights[k] = total[k, t] + value
            ended[k, t] = weights[k]
        _across(weights, change, swap, started)
        for k in range(states):
            history[k, t - 1 + reach] = started[k] - total[k, t]
            reference[k] = _push(history[k, then], powers[k, then], reach - 1, reference[k])
    return history, ended


@jit
def _alive(total: Array, history: Array, law: Array) -> Array:
    """Log weight of a segment of each state under way after each step, (K, T)."""
    states, steps, reach = total.shape[0], total.shape[1] - 1, law.shape[1]
    odds, alive = np.exp(law), np.empty((states, steps))
    powers = np.zeros(history.shape[1])
    for k in range(states):
        reference = _rescale(history[k, :reach], powers[:reach])
        for t in range(1, steps + 1):
            at, then = slice(t - 1, t - 1 + reach), slice(t, t + reach)
            value, reference = _window(history[k, at], powers[at], reference, law[k], odds[k])
            alive[k, t - 1] = total[k, t] + value
            reference = _push(history[k, then], powers[then], reach - 1, reference)
    return alive


@jit
def _count(
    counts: Array, rare: Array, begun: float, reference: float, window: tuple[Array, Array, Array]
) -> None:
    """Add exp(begun + logs + law): to `counts` without the law, to `rare` where that overflows."""
    logs, powers, law = window
    if begun + reference < HIGH:
        factor = np.exp(begun + reference)
        for i in range(len(counts)):
            counts[i] += factor * powers[i]
    else:
        for i in range(len(counts)):
            rare[i] += np.exp(begun + logs[i] + law[i])


@jit
def _cross(
    transitions: Array,
    flow: Array,
    ended: Array,
    onward: Array,
    after: Array,
    swap: Array,
    change: Array,
) -> None:
    """Add the expected changes at one step to `transitions`, and take the ends off `flow`."""
    top = onward.max()
    before = np.exp(onward - top)
    for j in range(len(ended)):
        flow[j] -= np.exp(ended[j] + after[j])
        if ended[j] + top < HIGH:
            factor = np.exp(ended[j] + top)
            for k in range(len(onward)):
                transitions[j, k] += factor * before[k] * swap[j, k]
        else:
            for k in range(len(onward)):
                transitions[j, k] += np.exp(ended[j] + change[j, k] + onward[k])


@jit
def _backward(
    passed: tuple[Array, Array, Array, float],
    low: int,
    change: Array,
    law: Array,
    cut: Array,
) -> tuple[Array, Array, Array]:
    """Starts less ends at each step, transitions and durations.

    Args:
        passed: total, history, ended and the log-likelihood.
        low: the first start.
        change: (K, K) from row to column.
        law: (K, D) from 1 to D.
        cut: (K, D) log weight of a last segment that is cut at each age, or (K, 0).
    """
    total, history, ended, known = passed
    (states, width), reach = history.shape, law.shape[1]
    steps = width - reach
    odds, swap = np.exp(law), np.exp(change)
    ahead = np.full((states, steps + 2 * reach), -np.inf)
    powers = np.zeros((states, steps + 2 * reach))
    reference = np.full(states, -np.inf)
    flow, rare = np.zeros((states, steps)), np.zeros((states, reach))
    transitions, durations = np.zeros((states, states)), np.zeros((states, reach))
    onward, after = np.empty(states), np.empty(states)
    if cut.shape[1] == 0:
        for k in range(states):
            ahead[k, steps + reach - 1] = total[k, steps]
            reference[k] = total[k, steps]
            powers[k, steps + reach - 1] = 1.0
    for s in range(steps - 1, low - 1, -1):
        at, then = slice(s + reach, s + 2 * reach), slice(s + reach - 1, s + 2 * reach - 1)
        now = max(s, 0)
        for k in range(states):
            window = (ahead[k, at], powers[k, at], law[k])
            value, reference[k] = _window(window[0], window[1], reference[k], law[k], odds[k])
            begun = history[k, s + reach - 1] - known
            if begun > -np.inf and reference[k] > -np.inf:
                _count(durations[k], rare[k], begun, reference[k], window)
            if steps - s <= cut.shape[1]:
                value = np.logaddexp(value, cut[k, steps - s - 1])
            flow[k, now] += np.exp(begun + value)
            onward[k] = value - total[k, now]
        if s > 0 and onward.max() > -np.inf:
            _across(onward, change, swap, after)
            _cross(transitions, flow[:, s], ended[:, s] - known, onward, after, swap, change)
            for k in range(states):
                ahead[k, s + reach - 1] = total[k, s] + after[k]
                reference[k] = _push(ahead[k, then], powers[k, then], 0, reference[k])
    return flow, transitions, durations * odds + rare


def forward(tables: Tables, scores: Array) -> Forward:
    """As `recursion.forward`."""
    total, taken = centred(scores)
    change = np.ascontiguousarray(tables.transitions.T)
    law = np.ascontiguousarray(tables.durations[:, ::-1])
    history, ended = _forward(total, tables.first, tables.stationary, change, law)
    return closed(tables, total, history, ended, taken)


def alive(tables: Tables, passed: Forward) -> Array:
    """As `recursion.alive`."""
    return _alive(passed.total, passed.history, np.ascontiguousarray(tables.survival[:, ::-1]))


def expected(tables: Tables, passed: Forward) -> Expected:
    """As `recursion.expected`."""
    low = 1 - tables.survival.shape[1] if tables.stationary else 0
    known = passed.log_likelihood
    cut = tables.survival + passed.total[:, -1:] if tables.censored else tables.survival[:, :0]
    flow, transitions, durations = _backward(
        (passed.total, passed.history, passed.ended, known),
        low, tables.transitions, tables.durations, np.ascontiguousarray(cut),
    )  # fmt: skip
    return counted(tables, passed, flow, transitions, durations)
