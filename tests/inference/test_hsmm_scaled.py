"""The recursions on probabilities: exact where they answer, and logarithms where they do not."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tcnzoo import engines
from tcnzoo.errors import InputError, WeightError
from tcnzoo.inference.hsmm import batch, blocks, choice, inference
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tests.support.hsmm_models import (
    ENDS,
    LAWS,
    STARTS,
    enumerated,
    hsmm_spec,
    random_weights,
    signal_for,
)

pytest.importorskip("numba")
scaled = pytest.importorskip("tcnzoo.inference.hsmm.scaled")

KINDS = ("noise", "peaked", "wide", "gaps", "runs", "distant", "zeros", "stiff")


def extended(tables, scores):
    """(log-likelihood, posterior, transitions, durations, censored) in 80-bit logarithms.

    As HsmmSpec says it, by starts and ends of segments, every sum over whole segments.
    """
    wide = np.longdouble
    scores, (states, steps) = scores.astype(wide), scores.shape
    first, change = tables.first.astype(wide), tables.transitions.astype(wide)
    lasting, reached = tables.durations.astype(wide), tables.survival.astype(wide)
    reach = lasting.shape[1]
    early = reach - 1 if tables.stationary else 0
    starts = np.full((steps + early, states), -np.inf, dtype=wide)  # row s + early: begun at s
    starts[: early + 1] = first
    ends = np.full((steps + 1, states), -np.inf, dtype=wide)

    def seen(s, t):
        return scores[:, max(s, 0) : t].sum(axis=1)

    def spans(s):
        return [(t, t - s - 1) for t in range(max(s + 1, 1), min(s + reach, steps) + 1)]

    for s in range(-early, steps):
        for t, d in spans(s):
            whole = starts[s + early] + lasting[:, d] + seen(s, t)
            ends[t] = np.logaddexp(ends[t], whole)
        if s + 1 > 0 and s + 1 < steps:
            starts[s + 1 + early] = np.logaddexp.reduce(ends[s + 1][:, None] + change, axis=0)
    after = np.full((steps + 1, states), -np.inf, dtype=wide)
    after[steps] = -np.inf if tables.censored else 0.0
    onward = np.full((steps + early, states), -np.inf, dtype=wide)
    for s in range(steps - 1, -early - 1, -1):
        ways = [lasting[:, d] + seen(s, t) + after[t] for t, d in spans(s)]
        if tables.censored and steps - s <= reach:
            ways.append(reached[:, steps - s - 1] + seen(s, steps))
        onward[s + early] = np.logaddexp.reduce(ways, axis=0)
        if s > 0:
            after[s] = np.logaddexp.reduce(change + onward[s + early], axis=1)
    known = np.logaddexp.reduce((starts + onward)[: early + 1].ravel())
    posterior, durations = np.zeros((states, steps), wide), np.zeros((states, reach), wide)
    censored, transitions = np.zeros((states, reach), wide), np.zeros((states, states), wide)
    for s in range(-early, steps):
        for t, d in spans(s):
            chance = np.exp(starts[s + early] + lasting[:, d] + seen(s, t) + after[t] - known)
            durations[:, d] += chance
            posterior[:, max(s, 0) : t] += chance[:, None]
        if tables.censored and steps - s <= reach:
            chance = np.exp(starts[s + early] + reached[:, steps - s - 1] + seen(s, steps) - known)
            censored[:, steps - s - 1] += chance
            posterior[:, max(s, 0) :] += chance[:, None]
        if s > 0:
            transitions += np.exp(ends[s][:, None] + change + onward[s + early] - known)
    return float(known), posterior, transitions, durations, censored


def problem(kind, law, start, end, seed):
    """(tables, scores) of a kind that is hard in a way of its own."""
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    states, reach, steps = (int(generator.integers(*sizes)) for sizes in ((2, 5), (1, 12), (1, 30)))
    spec = hsmm_spec(states, reach, duration=law, start=start, end=end, emission="none")
    weights = random_weights(spec, seed, 30.0 if kind == "stiff" else 1.0)
    scores = generator.standard_normal((states, steps))
    if kind == "peaked":
        scores *= 100.0
    elif kind == "wide":
        scores = generator.uniform(-1000.0, 0.0, scores.shape)
    elif kind == "gaps":
        scores[generator.random(scores.shape) < 0.3] = -np.inf
    elif kind == "runs":
        truth = np.repeat(generator.integers(0, states, steps), generator.integers(1, 9))[:steps]
        scores -= 200.0
        scores[truth, np.arange(steps)] = 0.0
    elif kind == "distant":
        scores[0] -= 900.0 * (generator.random() < 0.7)
        scores[1] += 400.0 * (np.arange(steps) > steps // 2)
    elif kind == "zeros":
        for name, array in weights.items():
            if name in ("transition_logits", "initial_logits", "duration_logits"):
                array[generator.random(array.shape) < 0.4] = -np.inf
                array[(array == -np.inf).all(axis=-1)] = 0.0
        scores *= 40.0 if generator.random() < 0.5 else 1.0
    return tables_of(spec, weights), scores


def assert_exact(tables, scores, room):
    value, *expected = extended(tables, scores)
    found = inference.expected(tables, scores, "scaled")
    assert abs(found.log_likelihood - value) <= room * max(1.0, abs(value))
    assert abs(inference.log_likelihood(tables, scores, "scaled") - value) <= room * max(
        1.0, abs(value)
    )
    names = ("posterior", "transitions", "durations", "censored")
    for name, array in zip(names, expected, strict=True):
        apart = np.abs(getattr(found, name) - array).max()
        assert apart <= room * max(1.0, float(array.max())), name
