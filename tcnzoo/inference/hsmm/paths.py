"""The likeliest segmentation by compiled loops, in memory that grows with the root of the length.

Forward, only the weights of ways are kept, and of these only the windows at the starts of blocks;
a block is gone through again when the way back comes there, and choices are looked up where the
likeliest way passes.
"""

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.blocks import blocks_of
from tcnzoo.inference.hsmm.jit import jit, larger
from tcnzoo.inference.hsmm.tables import Tables

# For -inf, whose differences are NaN; scores are at least that, and sums above IMPOSSIBLE possible.
LOWEST, IMPOSSIBLE = -1e300, -1e290


@jit
def _best(x: Array, law: Array) -> float:
    """Largest of x + law."""
    best = 2.0 * LOWEST
    for i in range(len(x)):
        best = larger(best, x[i] + law[i])
    return best


@jit
def _last_best(x: Array, law: Array) -> tuple[float, int]:
    """Largest of x + law, and how far from the end it is: 1 for the last of all, ties to that."""
    best, choice, count = 3.0 * LOWEST, 1, len(x)
    for d in range(1, count + 1):
        value = x[count - d] + law[count - d]
        if value > best:
            best, choice = value, d
    return best, choice


@jit
def _forward(
    scores: Array, window: Array, weights: Array, change: Array, law: Array, opening: Array
) -> float:
    """Go through a block of steps.

    Args:
        scores: (steps, K), finite; the sum of each step's best is taken off them.
        window: (K, D + steps), column s + D - 1 for the best way to a start at s, less the scores
            from the start of the block to s; the first D columns are given.
        weights: (steps + 1, K), best way to an end of each state, filled in; in row 0, which ends
            have no use for, comes the sum of the scores of the block.
        change: (K, K) from column to row.
        law: (K, D) from D down to 1.
        opening: (K, n), weight of a first segment up to each of the next n steps.
    Returns:
        The sum of the best scores.
    """
    (steps, states), reach, taken = scores.shape, law.shape[1], 0.0
    total = weights[0]
    total[:] = 0.0
    for t in range(1, steps + 1):
        now, row = scores[t - 1], weights[t]
        top = now[0]
        for k in range(1, states):
            top = larger(top, now[k])
        taken += top
        for k in range(states):
            total[k] += now[k] - top
            row[k] = _best(window[k, t - 1 : t - 1 + reach], law[k])
        if t <= opening.shape[1]:
            for k in range(states):
                row[k] = larger(row[k], opening[k, t - 1])
        for k in range(states):
            row[k] += total[k]
        for k in range(states):
            best = larger(_best(row, change[k]), LOWEST)
            window[k, t - 1 + reach] = best - total[k]
    return taken


@jit
def _back(
    window: Array,
    weights: Array,
    change: Array,
    law: Array,
    opening: Array,
    stand: tuple[int, int, int],
    path: Array,
) -> tuple[int, int]:
    """Walk back from an end in a block to one before it, along the likeliest way.

    Args:
        stand: the end, as steps from the start of the block, the state that follows it, and the
            first step of the block.
        path: (T,), a state for each step, filled in.
    Returns:
        (the end that was come to, in steps of the signal; the state that follows it).
    """
    t, state, low = stand
    reach = law.shape[1]
    while t > 0:
        best, before = 3.0 * LOWEST, 0
        for j in range(len(change)):
            value = weights[t, j] + change[state, j]
            if value > best:
                best, before = value, j
        best, duration = _last_best(window[before, t - 1 : t - 1 + reach], law[before])
        if t <= opening.shape[1] and opening[before, t - 1] > best:
            duration = low + t
        path[low + t - duration : low + t] = before
        t, state = t - duration, before
    return low + t, state


def _solid(logs: Array) -> Array:
    """Logarithms with LOWEST for -inf."""
    return np.ascontiguousarray(np.maximum(logs, LOWEST))


class _Ways:
    """Best ways through a signal, block by block.

    Attributes:
        blocks: first step of each block, and the step behind it.
        starts: of each block, first D columns of its window, and (K,) sums of all scores before.
        window, weights, opening: of the last block, as in `_forward`.
        taken: sum of the best scores of all blocks.
    """

    def __init__(self, tables: Tables, scores: Array) -> None:
        """Go through all blocks of finite scores (K, T)."""
        self.tables, self.scores = tables, scores
        self.law, self.change = _solid(tables.durations[:, ::-1]), _solid(tables.transitions.T)
        (states, steps), reach = scores.shape, self.law.shape[1]
        self.blocks, self.taken = blocks_of(steps, reach), 0.0
        self.starts = [(np.full((states, reach), LOWEST), np.zeros(states))]
        for index in range(len(self.blocks)):
            self.taken += self.enter(index)
            total = self.weights[0]
            window = self.window[:, -reach:] + total[:, None]
            self.starts.append((window, self.starts[index][1] + total))

    def enter(self, index: int) -> float:
        """Go through a block; the sum of the best scores in it."""
        low, high = self.blocks[index]
        start, before = self.starts[index]
        (states, reach), steps = start.shape, high - low
        self.opening = self._opening(self.tables.first_durations, low, before)
        self.window = np.empty((states, reach + steps))
        self.window[:, :reach] = start
        self.weights = np.empty((steps + 1, states))
        arrays = (self.window, self.weights, self.change, self.law, self.opening)
        return _forward(np.ascontiguousarray(self.scores[:, low:high].T), *arrays)

    def _opening(self, law: Array, low: int, before: Array) -> Array:
        """Weight of a first segment of each length above `low`, less the scores behind `low`."""
        return _solid((self.tables.initial + before)[:, None] + law[:, low:])

    def last(self) -> tuple[int, int, float]:
        """The likeliest last segment: its duration, its state, the weight of the way to it."""
        tables, (low, high) = self.tables, self.blocks[-1]
        reach, ahead = self.law.shape[1], high - low
        choices = self.window[:, ahead - 1 : ahead - 1 + reach][:, ::-1] + tables.last
        if high <= reach:
            whole = tables.first_survival if tables.censored else tables.first_durations
            choices[:, high - 1] = self._opening(whole, low, self.starts[-2][1])[:, ahead - 1]
        final = (choices + self.weights[0][:, None]).T
        duration, state = divmod(int(final.argmax()), final.shape[1])
        return duration + 1, state, float(final.max())

    def back(self, index: int, t: int, state: int, path: Array) -> tuple[int, int]:
        """Walk back through a block, from an end in it; see `_back`."""
        low, high = self.blocks[index]
        if high < self.blocks[-1][1]:
            self.enter(index)
        stand = (t - low, state, low)
        arrays = (self.window, self.weights, self.change, self.law, self.opening)
        return _back(*arrays, stand, path)


def viterbi(tables: Tables, scores: Array) -> tuple[Array, float, float]:
    """The likeliest way through finite scores (K, T).

    Returns:
        (a state for each step, (T,); the log-probability, less what was taken off the scores, or
        -inf where no way is possible; what was taken off).
    """
    ways = _Ways(tables, scores)
    path = np.empty(scores.shape[1], dtype=np.int64)
    duration, state, score = ways.last()
    t = scores.shape[1] - duration
    path[t:] = state
    for index in range(len(ways.blocks) - 1, -1, -1):
        if t > ways.blocks[index][0]:
            t, state = ways.back(index, t, state, path)
    return path, score if score > IMPOSSIBLE else -np.inf, ways.taken
