"""The recursions of `recursion` on probabilities that numba's loops keep in range.

The numbers are those of the log domain, to rounding. Where probabilities that were too small to be
kept could matter, the functions return None, and the caller takes logarithms: so it is for scores
that differ by hundreds at many steps and for some models with probabilities of 0.

Long signals run in blocks: the forward pass keeps where it stood at the start of each, and goes
through a block again when the backward pass comes there. Beside the scores and the posterior,
memory grows with the root of the length.
"""

import math
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.blocks import blocks_of
from tcnzoo.inference.hsmm.chances import LEAST, Law, powers_of
from tcnzoo.inference.hsmm.recursion import Expected
from tcnzoo.inference.hsmm.scaled_loops import (
    CLOSING,
    EXPONENT,
    FACTOR,
    LACKING,
    MISSING,
    Counts,
    Rows,
    Side,
    accumulate,
    backward_block,
    forward_block,
)
from tcnzoo.inference.hsmm.tables import Tables

# Up to this share of a probability may be uncertain, about what rounding makes of it in any case.
SURE = 1e-13

# A row of Rows.
Row = tuple[Any, ...]


def _odds(scores: Array) -> tuple[Array, float]:
    """Probabilities of emissions relative to the best state's, and the sum of its scores.

    Returns:
        ((steps, K), sum); the sum is not finite where scores are not.
    """
    best = scores.max(axis=0)
    apart = scores - np.where(best == -np.inf, 0.0, best)
    return powers_of(np.ascontiguousarray(apart.T)), float(best.sum())


def _side(window: Array, closing: float) -> Side:
    """Where a pass stands at its start, the scale at 1."""
    states = np.zeros((4, len(window)))
    states[FACTOR], states[CLOSING] = 1.0, closing
    return Side(window, states, np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))


class Forward:
    """A forward pass over a signal, block by block.

    Attributes:
        chances: of the tables.
        blocks: first step of each block, and the step behind it.
        side, row: where the pass stands, and the row of that time.
        rows, odds, alive: of the last block: what the pass left, (K, steps) emission probabilities,
            (steps, K) weights of segments under way, where they were asked for.
        oldest: (K, D), starts from which segments may be under way at the end of that block.
        taken: sum of the best scores of all blocks.
    """

    def __init__(self, tables: Tables, scores: Array) -> None:
        """Begin a pass over scores (K, T)."""
        self.chances, self.scores = tables.chances, scores
        self.censored, self.stationary = tables.censored, tables.stationary
        (states, steps), reach = scores.shape, tables.durations.shape[1]
        self.blocks = blocks_of(steps, reach)
        first = self.chances.first
        raised = np.where(first > 0.0, np.maximum(first, LEAST), 0.0)
        lacking = LEAST if (raised > first).any() else 0.0
        window = np.zeros((states, reach))
        window[:, 0 if tables.stationary else reach - 1 :] = raised[:, None]
        self.side = _side(window, 0.0)
        self.side.marks[LACKING] = 1.0 if lacking else 0.0
        self.row: Row = (np.zeros(states), raised, 0.0, lacking)
        self.starts: list[tuple[Side, Row]] = []
        self.taken = 0.0

    def run(self) -> float:
        """Go through all blocks.

        Returns:
            Weight of the signal in the scale of its end; NaN where scores are not finite.
        """
        for index in range(len(self.blocks)):
            self.starts.append((Side(*(array.copy() for array in self.side)), self.row))
            self.enter(index)
            self.taken += self.best
        if not math.isfinite(self.taken):
            return math.nan
        return float(self.cut().sum() if self.censored else self.rows.ends[-1].sum())

    def enter(self, index: int, alive: bool = False) -> None:
        """Go through the block after the last one, or through an earlier one again."""
        if index < len(self.starts) - 1:
            side, self.row = self.starts[index]
            self.side = Side(*(array.copy() for array in side))
        low, high = self.blocks[index]
        steps, states = high - low, len(self.scores)
        reach = self.side.window.shape[1]
        self.odds, self.best = _odds(self.scores[:, low:high])
        window = np.zeros((states, reach + steps))
        window[:, :reach] = self.side.window
        self.rows = _rows(steps, self.row)
        self.alive = np.empty((steps if alive else 0, states))
        side = self.side._replace(window=window)
        forward_block(self.odds, self.chances.forward, side, self.rows, self.alive)
        self.oldest = window[:, steps - 1 : steps - 1 + reach]
        self.side = side._replace(window=window[:, steps:].copy())
        self.row = tuple(array[-1].copy() for array in self.rows)

    def cut(self) -> Array:
        """Weight of a segment of each age that the end of the last block cuts, (K, D)."""
        weights = self.side.states[FACTOR][:, None] * self.oldest * self.chances.forward.survival
        return np.asarray(weights[:, ::-1])

    def lacking(self, weight: float) -> float:
        """A bound of the share of the weight that the last sums have too much or lack."""
        states, rare = self.side.states, self.chances.forward.lacking
        lacks = states[FACTOR] * (states[MISSING] + rare)
        last = len(lacks) * float(self.rows.lacking[-1])
        return float((lacks.sum() * self.oldest.shape[1] + last) / weight)

    def log_of(self, weight: float) -> float:
        """Logarithm of a weight in the scale of the last block's end, with what was taken."""
        return math.log(weight) + float(self.side.marks[EXPONENT]) * math.log(2.0) + self.taken


def _rows(steps: int, row: Row) -> Rows:
    """Rows for a block of steps, the first of them given."""
    states = len(row[0])
    rows = Rows(
        np.empty((steps + 1, states)),
        np.empty((steps + 1, states)),
        np.empty(steps + 1),
        np.empty(steps + 1),
    )
    for array, value in zip(rows, row, strict=True):
        array[0] = value
    return rows


def forward(tables: Tables, scores: Array) -> tuple[Forward, float, bool]:
    """Go forward over scores (K, T).

    Returns:
        (the pass, the weight of the signal, whether its log-likelihood is sure whatever comes of a
        backward pass).
    """
    passed = Forward(tables, scores)
    weight = passed.run()
    if not weight > 0.0:
        return passed, weight, False
    return passed, weight, passed.side.marks[LACKING] + passed.lacking(weight) <= SURE


def filtered(tables: Tables, scores: Array) -> tuple[Array, Array] | None:
    """States by the signal so far, (K, T), and its log-likelihood, (T,); or None."""
    passed = Forward(tables, scores)
    states, so_far = np.empty(scores.shape), np.empty(scores.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for index, (low, high) in enumerate(passed.blocks):
            passed.enter(index, alive=True)
            total = passed.alive.sum(axis=1)
            states[:, low:high] = (passed.alive / total[:, None]).T
            so_far[low:high] = np.log(total) + passed.rows.exponents[1:] * math.log(2.0)
            so_far[low:high] += np.cumsum(scores[:, low:high].max(axis=0)) + passed.taken
            passed.taken += passed.best
    sure = passed.side.marks[LACKING:EXPONENT].max() <= SURE and math.isfinite(passed.taken)
    return (states, so_far) if sure else None


def expected(passed: Forward, weight: float, out: Array | None = None) -> Expected | None:
    """Posterior of one sequence, and the expected numbers of what happened in it; or None.

    Args:
        passed, weight: of `forward`; the pass is of no use afterwards.
        out: (K, T), for the posterior.
    """
    if not weight > 0.0:
        return None
    value, cut, lacking = passed.log_of(weight), passed.cut() / weight, passed.lacking(weight)
    posterior = np.empty(passed.scores.shape) if out is None else out
    with np.errstate(over="ignore", invalid="ignore"):
        changes, counts = _backward(passed, weight, posterior)
    if not counts.lacking.sum() + lacking <= SURE:
        return None
    _accumulate(posterior)
    law = passed.chances.backward
    durations = np.where(law.durations > 0.0, counts.durations * law.durations, 0.0)
    if not passed.censored:
        cut = np.zeros_like(cut)
    return Expected(value, posterior, changes, durations, cut)


def _backward(passed: Forward, weight: float, flow: Array) -> tuple[Array, Counts]:
    """Go back through all blocks, with starts less ends at each step to `flow`.

    Returns:
        (expected changes (K, K), the counts of all blocks, but for what is of steps).
    """
    states, steps = flow.shape
    reach, law = passed.oldest.shape[1], passed.chances.backward
    changes, durations, lacking = np.zeros((states, states)), np.zeros((states, reach)), np.zeros(2)
    window = np.zeros((states, reach))
    window[:, 0] = 0.0 if passed.censored else 1.0
    side = _side(window, float(passed.censored))
    power = float(passed.side.marks[EXPONENT])
    for index in range(len(passed.blocks) - 1, -1, -1):
        low, high = passed.blocks[index]
        if high < steps:
            passed.enter(index)
        window = np.zeros((states, high - low + reach))
        window[:, high - low :] = side.window
        side = side._replace(window=window)
        flows, begun, ended = np.empty((3, high - low, states))
        counts = Counts(flows, begun, ended, durations, lacking)
        end = (weight, power, steps - high)
        backward_block(passed.odds, law, side, passed.rows, end, counts)
        changes += counts.ended.T @ counts.begun
        if low == 0 and passed.stationary:
            share = float(np.ldexp(1.0 / weight, int(side.marks[EXPONENT] - power)))
            _count_early(side, law, passed.rows.starts[0] * share, steps, counts)
        flow[:, low:high] = counts.flow.T
        side = side._replace(window=window[:, :reach])
    changes = np.where(law.transitions > 0.0, changes * law.transitions, 0.0)
    return changes, counts


def _count_early(side: Side, law: Law, chance: Array, steps: int, counts: Counts) -> None:
    """Count segments that a stationary signal finds under way, begun 1 .. D - 1 steps before it.

    Args:
        side: where the backward pass stands at the start of the signal.
        law: durations and survival from 1 to D.
        chance: (K,), probability of a start in each state, less what follows it.
        steps: of the signal.
        counts: what is added to.
    """
    reach = law.durations.shape[1]
    chance = chance * side.states[FACTOR]
    sums = np.cumsum(side.window[:, 1:reach], axis=1) * chance[:, None]
    counts.durations[:, 1:] += sums
    counts.flow[0] += (sums * law.durations[:, 1:]).sum(axis=1)
    counts.flow[0] += chance * side.states[CLOSING] * law.survival[:, steps:].sum(axis=1)


def _accumulate(flow: Array) -> None:
    """Sum starts less ends (K, T) up to probabilities of states, in place."""
    before = np.zeros(len(flow))
    for low, high in blocks_of(flow.shape[1], 1):
        part = np.ascontiguousarray(flow[:, low:high].T)
        accumulate(part, before)
        flow[:, low:high] = part.T
