"""The recursions for one sequence, in float64 and the log domain: the reference, made to be read.

Time is counted in steps explained: t = 0 is before the first step, T after the last. Column d - 1
of a table belongs to duration d. Everything runs on scores with the best state's taken off at each
step, so that sums stay small; their total is added to the log-likelihood at the end.
"""

from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.hsmm.laws import log_sum_exp
from tcnzoo.inference.hsmm.tables import Tables


@dataclass(frozen=True)
class Forward:
    """What the forward pass leaves.

    Attributes:
        total: C, (K, T + 1): sum of the scores of the steps before t.
        history: (K, D + T): column s + D - 1 holds the log weight of a segment of state k that
            starts at s, everything before s explained, less C(k, s), for s = 1 - D .. T. Starts
            before 0 are those of a stationary start.
        ended: (K, T + 1): log weight of a segment that ends with step t.
        log_likelihood: of the sequence, without what was taken off the scores.
        taken: what was taken off them.
    """

    total: Array
    history: Array
    ended: Array
    log_likelihood: float
    taken: float


@dataclass(frozen=True)
class Expected:
    """What a sequence says of its segments.

    Attributes:
        log_likelihood: of the sequence.
        posterior: (K, T), probability of each state at each step.
        transitions: (K, K), expected number of changes from the row's state to the column's.
        durations: (K, D), expected number of segments of each duration that ended before or with
            the signal; one that was under way at a stationary start counts with all of it.
        censored: (K, D), the same of segments that the end of the signal cut, by their age then.
    """

    log_likelihood: float
    posterior: Array
    transitions: Array
    durations: Array
    censored: Array


def centred(scores: Array) -> tuple[Array, float]:
    """Scores less the best at each step, summed up to (K, T + 1), and what was taken off."""
    best = scores.max(axis=0)
    total = np.cumsum(scores - best, axis=1)
    return np.concatenate([np.zeros((len(total), 1)), total], axis=1), float(best.sum())


def forward(tables: Tables, scores: Array) -> Forward:
    """Weigh every start and end of a segment by what came before.

    Args:
        tables: of the model.
        scores: emission log-likelihoods, (K, T), finite.
    """
    (states, steps), reach = scores.shape, tables.durations.shape[1]
    total, taken = centred(scores)
    history = np.full((states, reach + steps), -np.inf)
    history[:, 0 if tables.stationary else reach - 1 : reach] = tables.first[:, None]
    ended = np.full((states, steps + 1), -np.inf)
    backwards = tables.durations[:, ::-1]
    for t in range(1, steps + 1):
        starts = history[:, t - 1 : t - 1 + reach]  # from t - D to t - 1
        ended[:, t] = total[:, t] + log_sum_exp(starts + backwards, axis=1)
        started = log_sum_exp(ended[:, t, None] + tables.transitions, axis=0)
        history[:, t - 1 + reach] = started - total[:, t]
    return closed(tables, total, history, ended, taken)


def closed(tables: Tables, total: Array, history: Array, ended: Array, taken: float) -> Forward:
    """A forward pass and its log-likelihood, of all last segments."""
    reach = tables.last.shape[1]
    last = history[:, -1 - reach : -1] + tables.last[:, ::-1] + total[:, -1:]
    return Forward(total, history, ended, float(log_sum_exp(last.ravel(), axis=0)), taken)


def alive(tables: Tables, passed: Forward) -> Array:
    """Log weight of a segment of each state under way after each step, (K, T)."""
    reach, backwards = tables.survival.shape[1], tables.survival[:, ::-1]
    weights = passed.total[:, 1:].copy()
    for t in range(1, weights.shape[1] + 1):
        starts = passed.history[:, t - 1 : t - 1 + reach]
        weights[:, t - 1] += log_sum_exp(starts + backwards, axis=1)
    return weights


def expected(tables: Tables, passed: Forward) -> Expected:
    """One backward pass: the posterior, and the expected numbers of what happened."""
    (states, width), reach = passed.history.shape, tables.durations.shape[1]
    steps, total, known = width - reach, passed.total, passed.log_likelihood
    # Column t + D - 1 holds the log weight of all after t, given an end there, plus C(k, t).
    ahead = np.full((states, steps + 2 * reach), -np.inf)
    if not tables.censored:
        ahead[:, steps + reach - 1] = total[:, steps]
    flow = np.zeros((states, steps))  # starts less ends at each step
    transitions = np.zeros((states, states))
    durations = np.zeros((states, reach))
    for s in range(steps - 1, -reach if tables.stationary else -1, -1):
        here = total[:, max(s, 0)]
        begun = passed.history[:, s + reach - 1] - known
        lasting = tables.durations + ahead[:, s + reach : s + 2 * reach]
        onward = log_sum_exp(lasting, axis=1)
        if tables.censored and steps - s <= reach:
            cut = tables.survival[:, steps - s - 1] + total[:, steps]
            onward = np.logaddexp(onward, cut)
        flow[:, max(s, 0)] += np.exp(begun + onward)
        durations += np.exp(begun[:, None] + lasting)
        if s > 0:
            onward = onward - here
            after = log_sum_exp(tables.transitions + onward, axis=1)
            ahead[:, s + reach - 1] = here + after
            flow[:, s] -= np.exp(passed.ended[:, s] + after - known)
            pairs = passed.ended[:, s, None] + tables.transitions + onward
            transitions += np.exp(pairs - known)
    return counted(tables, passed, flow, transitions, durations)


def counted(
    tables: Tables, passed: Forward, flow: Array, transitions: Array, durations: Array
) -> Expected:
    """What is expected, from starts less ends at each step and the counts."""
    reach, known = tables.survival.shape[1], passed.log_likelihood
    posterior = np.clip(np.cumsum(flow, axis=1), 0.0, 1.0)
    posterior /= posterior.sum(axis=0)  # what rounding left
    cut = np.zeros(tables.survival.shape)
    if tables.censored:
        begun = passed.history[:, -1 - reach : -1][:, ::-1] + passed.total[:, -1:]
        cut = np.exp(begun + tables.survival - known)
    return Expected(known + passed.taken, posterior, transitions, durations, cut)


def best(tables: Tables, total: Array) -> tuple[Array, Array, Array]:
    """The likeliest way to every start of a segment.

    Returns:
        (history as in Forward, and by (t, state) the duration of the segment that ends at t, and
        the state before one that starts there).
    """
    (states, width), reach = total.shape, tables.durations.shape[1]
    history = np.full((states, reach + width - 1), -np.inf)
    history[:, reach - 1] = tables.initial
    lasted = np.zeros((width, states), dtype=np.int64)
    before = np.zeros((width, states), dtype=np.int64)
    begun = tables.first_durations
    for t in range(1, width):
        choices = _choices(tables, history, t, tables.durations, begun)
        lasted[t] = choices.argmax(axis=1) + 1
        came = (total[:, t] + choices.max(axis=1))[:, None] + tables.transitions
        before[t] = came.argmax(axis=0)
        history[:, t - 1 + reach] = came.max(axis=0) - total[:, t]
    return history, lasted, before


def traced(
    tables: Tables, total: Array, history: Array, lasted: Array, before: Array
) -> tuple[Array, float]:
    """Walk back along the likeliest ways: a state for each step, (T,), and the log-probability."""
    states, t = total.shape[0], total.shape[1] - 1
    whole = tables.first_survival if tables.censored else tables.first_durations
    final = (_choices(tables, history, t, tables.last, whole) + total[:, -1:]).T
    last, state = divmod(int(final.argmax()), states)
    path, duration = np.empty(t, dtype=np.int64), last + 1
    while t > 0:
        path[t - duration : t] = state
        t -= duration
        if t > 0:
            state = before[t, state]
            duration = lasted[t, state]
    return path, float(final.max())


def _choices(tables: Tables, history: Array, t: int, law: Array, whole: Array) -> Array:
    """Log weight of each duration of a segment up to t, less C(k, t), (K, D).

    Args:
        law: of the duration, and `whole` instead for a segment that starts with the signal.
    """
    reach = law.shape[1]
    choices = history[:, t - 1 : t - 1 + reach][:, ::-1] + law
    if t <= reach:
        choices[:, t - 1] = tables.initial + whole[:, t - 1]
    return np.asarray(choices)


def sample(tables: Tables, passed: Forward, generator: np.random.Generator) -> Array:
    """Draw a state for each step from the posterior of segmentations, (T,)."""
    reach = tables.durations.shape[1]
    steps = passed.history.shape[1] - reach
    history = passed.history.copy()
    history[:, : reach - 1] = -np.inf  # a stationary start is in the law of the first segment
    begun = tables.first_durations
    whole = tables.first_survival if tables.censored else begun
    final = _choices(tables, history, steps, tables.last, whole) + passed.total[:, -1:]
    state, last = divmod(_draw(final.ravel(), generator), reach)
    path, t, duration = np.empty(steps, dtype=np.int64), steps, last + 1
    while t > 0:
        path[t - duration : t] = state
        t -= duration
        if t > 0:
            state = _draw(passed.ended[:, t] + tables.transitions[:, state], generator)
            choices = _choices(tables, history, t, tables.durations, begun)
            duration = _draw(choices[state], generator) + 1
    return path


def _draw(weights: Array, generator: np.random.Generator) -> int:
    """Draw a place with probability proportional to exp of its log weight."""
    sums = np.cumsum(np.exp(weights - weights.max()))
    return int(np.searchsorted(sums, generator.random() * sums[-1], side="right"))
