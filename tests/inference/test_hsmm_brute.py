"""The reference against the sum over all segmentations, and what must hold for any model."""

import itertools

import numpy as np
import pytest

import tcnzoo
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm import batch, inference
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tests.support.hsmm_models import (
    EMISSIONS,
    ENDS,
    LAWS,
    STARTS,
    emission_scores,
    enumerated,
    hsmm_spec,
    random_weights,
    segmentations,
    signal_for,
)

ENGINES = ("reference", "compiled", "scaled")
SIZES = ((3, 3, 6), (2, 9, 7), (3, 2, 1), (2, 1, 5), (2, 8, 8))
MODES = list(itertools.product(STARTS, ENDS))


def test_all_segmentations_are_listed():
    # Two states alternate, so a segmentation is a first state and one of 2^(T - 1) ways to cut.
    found = [tuple(cut) for cut in segmentations(5, 2, 5)]
    assert len(found) == len(set(found)) == 2 * 2**4
    assert len(list(segmentations(4, 3, 4))) == 3 * sum((1, 3 * 2, 3 * 4, 8))
    assert all(max(d for _, d in cut) <= 2 for cut in segmentations(5, 2, 2))


@pytest.mark.parametrize("start, end", MODES)
@pytest.mark.parametrize("law", LAWS)
def test_equals_enumeration(law, start, end):
    for states, longest, steps in SIZES:
        spec = hsmm_spec(states, longest, duration=law, start=start, end=end, emission="none")
        weights, x = random_weights(spec, seed=steps), signal_for(spec, 1, steps)[0]
        value, posterior, changes, score, path = enumerated(spec, weights, x)
        tables = tables_of(spec, weights)
        for engine in ENGINES:
            found = inference.expected(tables, x, engine)
            assert abs(found.log_likelihood - value) < 1e-10
            assert abs(inference.log_likelihood(tables, x, engine) - value) < 1e-10
            assert np.abs(found.posterior - posterior).max() < 1e-10
            assert np.abs(found.transitions - changes).max() < 1e-10
            best, reached = inference.viterbi(tables, x, engine)
            assert abs(reached - score) < 1e-10
            assert best.tolist() == path.tolist()


@pytest.mark.parametrize("name", ["gaussian", "categorical", "one_hot"])
def test_emissions_equal_scipys(name):
    spec = hsmm_spec(3, 4, **EMISSIONS[name])
    weights, x = random_weights(spec), signal_for(spec, 2, 6)
    model = tcnzoo.create(spec, "numpy", weights=weights, dtype="float64")
    for row, value in zip(x, hsmm.log_likelihood(model, x), strict=True):
        assert abs(enumerated(spec, weights, row)[0] - value) < 1e-10
    expected = np.stack([emission_scores(spec, weights, row) for row in x])
    assert np.abs(model.scores(x) - expected).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("law", LAWS)
def test_probabilities_of_all_signals_sum_to_one(law, start, engine):
    spec = hsmm_spec(3, 4, duration=law, start=start, emission="categorical", codes=3)
    weights = random_weights(spec)
    signals = np.array(list(itertools.product(range(3), repeat=6)), dtype=np.float64)
    scores = np.stack([emission_scores(spec, weights, one[None]) for one in signals])
    lengths = np.full(len(signals), 6)
    found = batch.run(tables_of(spec, weights), "log_likelihood", scores, lengths, engine)
    assert abs(np.exp(found["log_likelihood"]).sum() - 1.0) < 1e-10


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start, end", MODES)
def test_counts_fit_together(start, end, engine):
    spec = hsmm_spec(3, 5, start=start, end=end, emission="none")
    x = signal_for(spec, 1, 40)[0]
    found = inference.expected(tables_of(spec, random_weights(spec)), x, engine)
    number = found.durations.sum() + found.censored.sum()
    assert abs(number - 1.0 - found.transitions.sum()) < 1e-10
    assert np.abs(found.posterior.sum(axis=0) - 1.0).max() < 1e-12
    assert (found.censored.sum() > 0.5) == (end == "censored")
    if start == "fresh":
        ages = np.arange(1, 6)
        steps = ((found.durations + found.censored) * ages).sum(axis=1)
        assert np.abs(steps - found.posterior.sum(axis=1)).max() < 1e-10


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start, end", MODES)
@pytest.mark.parametrize("law", LAWS)
def test_counts_are_slopes_of_the_log_likelihood(law, start, end, engine):
    spec = hsmm_spec(3, 4, duration=law, start=start, end=end, emission="none")
    weights, x = random_weights(spec), signal_for(spec, 1, 9)[0]
    found = inference.expected(tables_of(spec, weights), x, engine)
    for name in (one for one in weights if one.startswith("duration")):
        slope = np.zeros(weights[name].shape)
        for place in np.ndindex(slope.shape):
            for step in (1e-5, -1e-5):
                moved = {**weights, name: weights[name].copy()}
                moved[name][place] += step
                slope[place] += inference.log_likelihood(tables_of(spec, moved), x) / (2.0 * step)
        assert np.abs(slope).max() > 1e-3  # durations are not ignored
        assert np.abs(slope - _slope(spec, weights, name, found)).max() < 1e-8


def _slope(spec, weights, name, found):
    """Gradient by a duration parameter, from the counts and differences of the tables."""
    slope = np.zeros(weights[name].shape)
    for place in np.ndindex(slope.shape):
        for step in (1e-5, -1e-5):
            moved = {**weights, name: weights[name].copy()}
            moved[name][place] += step
            tables = tables_of(spec, moved)
            value = (found.durations * tables.durations).sum()
            value += (found.censored * tables.survival).sum()
            if spec.start == "stationary":
                value -= found.posterior[:, 0] @ tables.log_mean
            slope[place] += value / (2.0 * step)
    return slope


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_go_to_short_durations_then_low_states(engine):
    spec = hsmm_spec(3, 2, emission="none", duration="categorical")
    weights = {name: np.zeros(param.shape) for name, param in spec.params().items()}
    tables = tables_of(spec, weights)
    # Each duration has chance 1/2 and the next state too, so that longer segments win; the
    # survivor of one step (1) beats that of two (1/2).
    path, _ = inference.viterbi(tables, np.zeros((3, 5)), engine)
    assert path.tolist() == [0, 0, 1, 1, 0]
    # With durations of one step all paths are equally likely.
    spec = hsmm_spec(3, 1, emission="none")
    tables = tables_of(spec, {n: np.zeros(p.shape) for n, p in spec.params().items()})
    path, _ = inference.viterbi(tables, np.zeros((3, 4)), engine)
    assert path.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_durations_go_to_the_shortest(engine):
    # Two segments of a step weigh as much as one of two, in numbers that add up without rounding.
    law = np.array([[-1.0, -2.0]] * 2)
    swap = np.where(np.eye(2) == 1.0, -np.inf, 0.0)
    tables = Tables(np.zeros(2), swap, law, law, censored=False)
    path, score = inference.viterbi(tables, np.zeros((2, 2)), engine)
    assert (path.tolist(), score) == ([1, 0], -2.0)
    path, score = inference.viterbi(tables, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 8.0]]), engine)
    assert (path.tolist(), score) == ([1, 0, 1], 5.0)
