"""Fitting by EM: every step gains, and what the data were drawn from is found again."""

import itertools

import numpy as np
import pytest

import tcnzoo
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm.duration_step import completed, fitted_durations
from tcnzoo.inference.hsmm.tables import tables_of
from tests.support.hsmm_models import (
    ENDS,
    LAWS,
    STARTS,
    assert_found,
    drawn,
    duration_chances,
    hsmm_spec,
    known,
    random_weights,
)


def test_a_long_signal_is_taken_apart_again():
    spec, weights = known("poisson")
    truth, sample = drawn(spec, weights, 20_000)
    x = list(sample.observations)
    fit = hsmm.fit_em(spec, hsmm.from_data(spec, x), x, iterations=40)
    assert fit.converged
    assert fit.log_likelihoods[-1] > hsmm.log_likelihood(truth, sample.observations)[0]
    assert_found(spec, fit.weights, truth, sample)


@pytest.mark.parametrize("law", ["negative_binomial", "gaussian", "categorical"])
def test_other_laws_are_found_from_nearby(law):
    # From far away these laws, which can be wide, may settle on segments of a step or two.
    spec, weights = known(law, "stationary" if law == "gaussian" else "fresh")
    truth, sample = drawn(spec, weights, 20_000, seed=7)
    x = list(sample.observations)
    start = {**weights, "means": 0.8 * weights["means"] + 0.3}
    if law == "categorical":
        start["duration_logits"] = np.full((5, 60), 1.0)
    elif law == "gaussian":
        start["duration_log_mean"] = weights["duration_log_mean"] + 0.3
    else:
        start["duration_logit"] = weights["duration_logit"] + 0.3
    fit = hsmm.fit_em(spec, start, x, iterations=8)
    assert_found(spec, fit.weights, truth, sample)


@pytest.mark.parametrize("emission", ["gaussian", "categorical", "one_hot"])
@pytest.mark.parametrize("start, end", list(itertools.product(STARTS, ENDS)))
@pytest.mark.parametrize("law", LAWS)
def test_no_step_loses(law, start, end, emission):
    fields = {
        "gaussian": {},
        "categorical": {"emission": "categorical", "codes": 4},
        "one_hot": {"emission": "categorical", "codes": 4, "encoding": "one_hot"},
    }[emission]
    spec = hsmm_spec(3, 8, duration=law, start=start, end=end, **fields)
    _, sample = drawn(spec, random_weights(spec), 80, 3)
    x, masks = list(sample.observations), np.random.default_rng(0).random((3, 80)) < 0.9
    x[1], masks = x[1][:, :33], [masks[0], masks[1, :33], masks[2]]
    fit = hsmm.fit_em(
        spec, random_weights(spec, seed=5), x, masks=masks, iterations=6, tolerance=0.0
    )
    gains = np.diff(fit.log_likelihoods)
    assert gains.min() > -1e-9
    assert gains.max() > 0.1
    model = tcnzoo.create(spec, "numpy", weights=fit.weights, dtype="float64")
    value = sum(
        hsmm.log_likelihood(model, one[None], mask=mask[None])[0]
        for one, mask in zip(x, masks, strict=True)
    )
    assert abs(value - fit.log_likelihoods[-1]) < 1e-3  # weights are rounded to float32


@pytest.mark.parametrize("begun", [0.0, 30.0])
@pytest.mark.parametrize("law", LAWS)
def test_duration_step_finds_the_best_law(law, begun):
    spec = hsmm_spec(2, 12, duration=law, emission="none")
    weights, generator = random_weights(spec), np.random.default_rng(0)
    aim = random_weights(spec, seed=9)
    if law == "gaussian":  # a mean below 1 would have no bottom
        aim["duration_log_mean"] = np.log([4.0, 7.0])
    counts = 100.0 * duration_chances(spec, aim) + generator.random((2, 12))
    starts = np.full(2, begun)

    def value(held):
        chances = duration_chances(spec, held)
        mean = chances @ np.arange(1, 13)
        return (counts * np.log(chances)).sum() - (starts * np.log(mean)).sum()

    held = weights
    for _ in range(60):  # the tangent of the categorical law moves along
        held = {**held, **fitted_durations(spec, held, counts, starts)}
    best = value(held)
    for name in (one for one in held if one.startswith("duration")):
        for place in np.ndindex(held[name].shape):
            for step in (0.02, -0.02):
                moved = {**held, name: held[name].copy()}
                moved[name][place] += step
                assert value(moved) < best


def test_cut_segments_are_completed_by_their_law():
    spec = hsmm_spec(2, 3, duration="categorical", emission="none")
    weights = {name: np.zeros(param.shape) for name, param in spec.params().items()}
    weights["duration_logits"] = np.log([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    cut = np.array([[0.0, 10.0, 0.0], [4.0, 0.0, 1.0]])
    found = completed(tables_of(spec, weights), np.zeros((2, 3)), cut)
    assert np.allclose(found, [[0.0, 6.0, 4.0], [0.8, 0.8, 3.4]])


def test_states_that_explain_nothing_stay():
    spec = hsmm_spec(3, 5)
    weights = random_weights(spec)
    weights["means"][2] = 1e6
    _, sample = drawn(spec, random_weights(spec), 50)
    fit = hsmm.fit_em(spec, weights, list(sample.observations), iterations=3)
    for name in ("means", "log_variances", "duration_log_rate"):
        assert np.array_equal(fit.weights[name][2], weights[name][2].astype(np.float32)), name
        assert np.isfinite(fit.weights[name]).all()


def test_a_prior_can_take_the_step_of_the_transitions():
    spec, weights = known("poisson")
    _, sample = drawn(spec, weights, 800)
    seen = []

    def step(counts):
        seen.append(counts)
        return np.log(counts + 2.0)

    fit = hsmm.fit_em(spec, weights, list(sample.observations), iterations=3, transition_step=step)
    assert len(seen) == len(fit.log_likelihoods) - 1
    assert np.array_equal(
        fit.weights["transition_logits"], np.log(seen[-1] + 2.0).astype(np.float32)
    )


def test_start_from_data_finds_the_codes():
    spec, weights = known("poisson", emission="categorical", codes=6)
    weights["code_logits"] = 4.0 * np.eye(5, 6)
    weights["duration_log_rate"] = np.full(5, np.log(14.0))
    _, sample = drawn(spec, weights, 2_000)
    start = hsmm.from_data(spec, list(sample.observations))
    assert sorted(start["code_logits"].argmax(axis=1)) == [0, 1, 2, 3, 4]
    again = hsmm.from_data(spec, list(sample.observations))
    assert all(np.array_equal(start[name], again[name]) for name in start)
