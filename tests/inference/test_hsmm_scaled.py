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

KINDS = ("noise", "peaked", "wide", "gaps", "runs", "distant", "zeros", "stiff", "trapped")


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
    weights = random_weights(spec, seed, 6.0 if kind == "stiff" else 1.0)
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
    elif kind == "trapped":  # states that are hardly ever left, each good for a while
        weights["transition_logits"][generator.random((states, states)) < 0.6] = -np.inf
        levels = generator.choice([0.0, -0.1, -50.0, -300.0, -700.0], (states, steps))
        scores = np.repeat(levels, generator.integers(1, 9), axis=1)[:, :steps]
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


def test_the_oracle_equals_the_sum_over_all_segmentations():
    spec = hsmm_spec(3, 3, start="stationary", emission="none")
    weights, scores = random_weights(spec), signal_for(spec, 1, 6)[0]
    value, posterior, changes, *_ = enumerated(spec, weights, scores)
    found = extended(tables_of(spec, weights), scores)
    assert abs(found[0] - value) < 1e-12
    assert np.abs(found[1] - posterior).max() < 1e-12
    assert np.abs(found[2] - changes).max() < 1e-12


# 1e-12: some 30 steps of windows of some 10 products each, in float64. Scores of 1000 ("wide") are
# rounded to 1e-13 each, and those of "distant" states are larger: 1e-11.
@settings(max_examples=80)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(LAWS),
    st.sampled_from(STARTS),
    st.sampled_from(ENDS),
    st.integers(0, 10**6),
)
def test_equals_extended_precision(kind, law, start, end, seed):
    try:
        tables, scores = problem(kind, law, start, end, seed)
    except WeightError:  # zeros may leave nothing to normalise
        return
    with np.errstate(invalid="ignore"):
        possible = extended(tables, scores)[0] > -np.inf
    if possible:
        with np.errstate(invalid="ignore"):
            assert_exact(tables, scores, 1e-11 if kind in ("distant", "wide") else 1e-12)
        return
    for call in (inference.expected, inference.log_likelihood, inference.viterbi):
        with pytest.raises(InputError, match="no segmentation"):
            call(tables, scores, "scaled")


def test_most_of_what_is_hard_needs_no_logarithms():
    # Else the test above would hold the loops over logarithms alone.
    taken = {kind: 0 for kind in KINDS}
    for seed in range(10):
        for kind in KINDS:
            tables, scores = problem(kind, "poisson", "fresh", "censored", seed)
            passed, weight, _ = scaled.forward(tables, scores)
            taken[kind] += scaled.expected(passed, weight) is not None
    assert all(taken[kind] >= 9 for kind in ("noise", "peaked", "wide", "runs", "stiff")), taken
    # Two states that part by e^400 at half of the steps, and meet again, are out of reach.
    assert taken["distant"] < 10


def far_apart(steps=40):
    """Two states that are never left; the likely one is lost by both passes, at both ends."""
    change = np.full((2, 2), -np.inf)
    law = np.full((2, steps), -np.log(steps))
    survival = np.log(np.arange(steps, 0.0, -1.0) / steps)[None].repeat(2, axis=0)
    tables = Tables(np.log([0.5, 0.5]), change, law, survival)
    scores = np.zeros((2, steps))
    scores[0, [0, 1, 2, -3, -2, -1]] = -300.0
    scores[1, 3:-3] = -200.0
    return tables, scores


def test_what_both_passes_lose_is_noticed():
    tables, scores = far_apart()
    passed, weight, sure = scaled.forward(tables, scores)
    assert not sure
    assert scaled.expected(passed, weight) is None
    assert_exact(tables, scores, 1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_left_to_logarithms(value):
    spec = hsmm_spec(3, 4, emission="none")
    tables, scores = tables_of(spec, random_weights(spec)), np.zeros((3, 9))
    scores[1, 4] = value
    with np.errstate(invalid="ignore"):
        passed, weight, sure = scaled.forward(tables, scores)
        assert not sure
        assert scaled.expected(passed, weight) is None
        with pytest.raises(WeightError, match="hold NaN"):
            inference.expected(tables, scores, "scaled")


def test_a_step_that_no_state_can_have_made_is_refused():
    spec = hsmm_spec(3, 4, emission="none")
    tables, scores = tables_of(spec, random_weights(spec)), np.zeros((3, 9))
    scores[:, 4] = -np.inf
    for name in ("reference", "compiled", "scaled"):
        for call in (inference.expected, inference.viterbi, inference.log_likelihood):
            with pytest.raises(InputError, match="no segmentation of 9 steps is possible"):
                call(tables, scores, name)


@pytest.mark.parametrize("start, end", list(zip(STARTS, ENDS, strict=True)))
@pytest.mark.parametrize("shortest", [1, 5, 16])
def test_blocks_change_nothing(shortest, start, end, monkeypatch):
    spec = hsmm_spec(4, 9, start=start, end=end, emission="none")
    tables = tables_of(spec, random_weights(spec))
    for scale in (1.0, 60.0):  # windows are settled at most steps of the second
        scores = scale * signal_for(spec, 1, 150)[0]
        whole = {task: run(tables, task, scores) for task in batch.TASKS}
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "SHORTEST", shortest)
            assert len(blocks.blocks_of(150, 9)) == -(-150 // max(shortest, 36))
            for task, arrays in whole.items():
                found = run(tables, task, scores)
                for name, expected in arrays.items():
                    # Scores are summed up block by block; all else is the same bit for bit, but
                    # for changes, which are summed in another order.
                    room = 1e-13 * max(1.0, np.abs(expected).max())
                    assert np.abs(found[name] - expected).max() <= room, (task, name)


def run(tables, task, scores):
    lengths = np.array([scores.shape[1]])
    return batch.run(tables, task, scores[None], lengths, "scaled")


@pytest.mark.parametrize("task", ["posteriors", "viterbi", "log_likelihood"])
def test_memory_does_not_grow_with_the_length(task):
    spec = hsmm_spec(4, 20, emission="none")
    tables = tables_of(spec, random_weights(spec))
    scores = np.random.default_rng(0).standard_normal((4, 120_000))
    out = np.empty(scores.shape)
    calls = {
        "posteriors": lambda x: inference.expected(tables, x, "scaled", out[:, : x.shape[1]]),
        "viterbi": lambda x: inference.viterbi(tables, x, "scaled"),
        "log_likelihood": lambda x: inference.log_likelihood(tables, x, "scaled"),
    }
    calls[task](scores[:, :5000])  # compiled before it is measured
    tracemalloc.start()
    try:
        calls[task](scores)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    path = 8 * scores.shape[1] if task == "viterbi" else 0
    # Some arrays of a block of 4096 steps and of K states, and 30 windows: 1.7 MiB, where one of
    # all steps takes 3.7.
    assert peak - path < scores.nbytes / 2


@pytest.mark.parametrize("length", [3, 50, 3000])
def test_long_signals_sum_up(length):
    spec = hsmm_spec(3, 7, start="stationary", emission="none")
    tables = tables_of(spec, random_weights(spec))
    found = inference.expected(tables, 3.0 * signal_for(spec, 1, length)[0], "scaled")
    number = found.durations.sum() + found.censored.sum()
    assert abs(number - 1.0 - found.transitions.sum()) < 1e-12 * length
    assert np.abs(found.posterior.sum(axis=0) - 1.0).max() < 1e-14


# --- Choice ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing measured yet, and no engine asked for."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    monkeypatch.delenv(engines.ENGINE, raising=False)
    engines.forget()
    yield monkeypatch
    engines.forget()


@pytest.mark.parametrize("slow, chosen", [("scaled", "plain"), ("compiled", "scaled")])
def test_the_faster_one_is_chosen(slow, chosen, fresh):
    now = [0.0]
    fresh.setattr(engines, "clock", lambda: now[0])
    plain = inference.expected

    def timed(tables, scores, name="auto", out=None):
        now[0] += 3.0 if name == slow else 1.0
        return plain(tables, scores, name, out)

    fresh.setattr(inference, "expected", timed)
    assert choice.engine_for(3, 5, 30) == chosen
    assert [row.shape for row in engines.known()] == ["states 4, durations 8, steps 32"]


@pytest.mark.parametrize("name, tried", [("plain", False), ("scaled", True)])
def test_an_engine_that_is_asked_for_runs(name, tried, fresh):
    fresh.setenv(engines.ENGINE, name)
    calls = []
    forward = scaled.forward
    fresh.setattr(scaled, "forward", lambda *given: calls.append(1) or forward(*given))
    spec = hsmm_spec(3, 4, emission="none")
    inference.expected(tables_of(spec, random_weights(spec)), signal_for(spec, 1, 9)[0])
    assert bool(calls) == tried
