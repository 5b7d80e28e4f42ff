"""Long signals: the chain of (state, steps left) in hmmlearn, both engines, samples and streams."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm import batch, inference
from tcnzoo.inference.hsmm.tables import tables_of
from tests.support.compare import stream
from tests.support.hsmm_models import (
    EMISSIONS,
    ENDS,
    LAWS,
    STARTS,
    duration_chances,
    expanded_chain,
    hsmm_spec,
    random_weights,
    signal_for,
)


def reference(spec, weights):
    return tcnzoo.create(spec, "numpy", weights=weights, dtype="float64")


@pytest.mark.parametrize("law, start", [("poisson", "fresh"), ("categorical", "stationary")])
def test_equals_hmmlearn(law, start):
    from hmmlearn.hmm import GaussianHMM

    spec = hsmm_spec(4, 12, duration=law, start=start)
    weights, x = random_weights(spec), signal_for(spec, 1, 1000)
    peer = GaussianHMM(4 * 12, "diag", init_params="")
    peer.startprob_, peer.transmat_ = expanded_chain(spec, weights)
    peer.means_ = np.repeat(weights["means"], 12, axis=0)
    variance = spec.variance_floor + np.exp(weights["log_variances"])
    peer.covars_ = np.repeat(variance, 12, axis=0)
    value, posterior = peer.score_samples(x[0].T)
    found = hsmm.posteriors(reference(spec, weights), x)
    assert abs(found.log_likelihood[0] - value) < 1e-9
    summed = posterior.reshape(1000, 4, 12).sum(axis=2).T
    assert np.abs(found.posterior[0] - summed).max() < 1e-9


def test_geometric_durations_make_a_hidden_markov_model():
    from hmmlearn.hmm import GaussianHMM

    spec = hsmm_spec(3, 60, duration="categorical")
    weights, x = random_weights(spec), signal_for(spec, 1, 60)
    stay = np.array([0.3, 0.6, 0.8])
    # A duration of 60 stands for all of 60 and more, which 60 steps cannot tell apart.
    chances = stay[:, None] ** np.arange(60) * (1.0 - stay[:, None])
    chances[:, -1] = stay**59
    weights["duration_logits"] = np.log(chances)
    swap = np.exp(tables_of(spec, weights).transitions)
    peer = GaussianHMM(3, "diag", init_params="")
    peer.startprob_ = np.exp(tables_of(spec, weights).initial)
    peer.transmat_ = np.diag(stay) + (1.0 - stay[:, None]) * swap
    peer.means_ = weights["means"]
    peer.covars_ = spec.variance_floor + np.exp(weights["log_variances"])
    value, posterior = peer.score_samples(x[0].T)
    found = hsmm.posteriors(reference(spec, weights), x)
    assert abs(found.log_likelihood[0] - value) < 1e-10
    assert np.abs(found.posterior[0] - posterior.T).max() < 1e-10


# At 1000 each state is out of reach of all others most of the time, so sums leave the powers of a
# window and are taken in the log domain.
@pytest.mark.parametrize("engine", ["compiled", "scaled"])
@pytest.mark.parametrize("scale", [0.1, 30.0, 1000.0])
@pytest.mark.parametrize("start, end", list(zip(STARTS, ENDS, strict=True)))
@pytest.mark.parametrize("law", LAWS)
def test_loops_equal_reference(law, start, end, scale, engine):
    spec = hsmm_spec(5, 17, duration=law, start=start, end=end, emission="none")
    tables = tables_of(spec, random_weights(spec, scale=1.0 if scale < 100.0 else 4.0))
    scores = scale * signal_for(spec, 2, 120)
    lengths = np.array([120, 7])
    for task in batch.TASKS:
        one, other = (
            batch.run(tables, task, scores, lengths, name) for name in ("reference", engine)
        )
        for name, expected in one.items():
            assert other[name].shape == expected.shape
            # Log-likelihoods of 1e5 leave 1e-11 to a probability, and 120 of them are summed.
            room = 1e-12 * max(100.0 * scale, np.abs(expected).max())
            assert np.abs(other[name] - expected).max() <= room, (task, name)


@pytest.mark.parametrize("engine", ["reference", "compiled", "scaled"])
def test_windows_survive_what_underflows(engine):
    # The only durations possible are those whose starts are the least likely by far.
    spec = hsmm_spec(2, 30, duration="categorical", emission="none")
    weights = random_weights(spec)
    weights["duration_logits"] = np.where(np.arange(30) == 29, 0.0, -2000.0)[None].repeat(2, 0)
    scores = np.zeros((2, 90))
    scores[0, :30], scores[1, 30:60], scores[0, 60:] = -300.0, -400.0, -500.0
    tables = tables_of(spec, weights)
    first = tables.initial[0] - 300.0 * 30 - 400.0 * 30 - 500.0 * 30
    second = tables.initial[1]
    expected = np.logaddexp(first, second)
    assert abs(inference.log_likelihood(tables, scores, engine) - expected) < 1e-10
    found = inference.expected(tables, -scores, engine)
    assert abs(found.log_likelihood - (tables.initial[0] + 1200.0 * 30)) < 1e-9
    assert np.abs(found.posterior[0].reshape(3, 30) - [[1.0], [0.0], [1.0]]).max() < 1e-9


def test_sums_that_underflow_are_taken_again():
    compiled = pytest.importorskip("tcnzoo.inference.hsmm.compiled")
    # The reference is long past: what is left of the powers holds no digit of the sum.
    logs, law = np.array([-700.0, -790.0]), np.array([-40.0, 0.0])
    value, reference = compiled._window(logs, np.exp(logs), 0.0, law, np.exp(law))
    assert abs(value + 740.0) < 1e-12
    assert reference == -700.0
    logs, law = np.array([0.0, -790.0]), np.array([-2000.0, -3.0])
    value, reference = compiled._window(logs, np.exp(logs), 0.0, law, np.exp(law))
    assert (value, reference) == (-793.0, 0.0)


def test_float32_stream_keeps_its_sum():
    spec = hsmm_spec(3, 6, output="filtered")
    weights, x = random_weights(spec), signal_for(spec, 1, 3000)
    model = tcnzoo.create(spec, "numpy", weights=weights, dtype="float32")
    _, state = stream(model, x, [1000])
    expected = hsmm.filter(model, x).log_likelihood[0, -1]
    scale, rest = state["scale"][0].astype(np.float64)
    alive = np.logaddexp.reduce((state["ages"] + model.tables.survival).ravel())
    # A plain sum of 3000 steps would be off by some 1e-6 of its size.
    assert abs(scale - rest + alive - expected) < 2e-7 * abs(expected)


def test_lengths_and_masks_are_those_of_single_sequences():
    spec = hsmm_spec(3, 6, start="stationary")
    model = reference(spec, random_weights(spec))
    x, lengths = signal_for(spec, 3, 30), np.array([30, 11, 1])
    mask = np.random.default_rng(0).random((3, 30)) < 0.7
    mask[:, 0] = True
    gaps = np.where(mask[:, None], x, np.nan)
    found = hsmm.posteriors(model, gaps, lengths, mask)
    for place, length in enumerate(lengths):
        scores = model.scores(x[place : place + 1, :, :length])[0] * mask[place, :length]
        alone = inference.expected(model.tables, scores)
        assert abs(found.log_likelihood[place] - alone.log_likelihood) < 1e-12
        assert np.abs(found.posterior[place, :, :length] - alone.posterior).max() < 1e-12
        assert not found.posterior[place, :, length:].any()
    path = hsmm.viterbi(model, gaps, lengths, mask)
    assert (path.path[1, 11:] == -1).all()
    assert path.segments[1][-1].stop == 11
    assert [one.stop - one.start for one in path.segments[2]] == [1]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", EMISSIONS)
def test_streamed_filter_equals_the_offline_one(name, start):
    spec = hsmm_spec(4, 7, start=start, output="filtered", **EMISSIONS[name])
    model = reference(spec, random_weights(spec))
    x = signal_for(spec, 2, 37)
    whole = hsmm.filter(model, x)
    found, state = stream(model, x, [1, 2, 9, 9, 30])
    assert np.abs(found - whole.filtered).max() < 1e-12
    assert np.abs(tcnzoo.predict(model, x) - whole.filtered).max() < 1e-12
    alive = state["ages"] + tables_of(spec, tcnzoo.get_weights(model)).survival
    value = state["scale"][:, 0] + np.log(np.exp(alive).sum(axis=(1, 2)))
    assert np.abs(value - whole.log_likelihood[:, -1]).max() < 1e-10
    assert state["ages"].shape == (2, 4, 7)


def test_filter_is_the_posterior_of_what_has_come():
    spec = hsmm_spec(3, 5, end="none")
    weights, x = random_weights(spec), signal_for(spec, 1, 12)
    whole = hsmm.filter(reference(spec, weights), x)
    cut = reference(spec.model_copy(update={"end": "censored"}), weights)
    for t in (1, 5, 12):
        found = hsmm.posteriors(cut, x[:, :, :t])
        assert np.abs(found.posterior[0, :, -1] - whole.filtered[0, :, t - 1]).max() < 1e-12
        assert abs(found.log_likelihood[0] - whole.log_likelihood[0, t - 1]) < 1e-11


@pytest.mark.parametrize("start, end", [("fresh", "censored"), ("stationary", "none")])
def test_draws_from_the_posterior_have_its_frequencies(start, end):
    spec = hsmm_spec(3, 4, start=start, end=end)
    model = reference(spec, random_weights(spec))
    x = 0.3 * signal_for(spec, 1, 12)
    draws = hsmm.sample_posterior(model, np.repeat(x, 1500, axis=0), np.random.default_rng(0))
    shares = (draws[:, None] == np.arange(3)[:, None]).mean(axis=0)
    # The deviation of a share of 1500 draws is at most 0.0129.
    assert np.abs(shares - hsmm.posteriors(model, x).posterior[0]).max() < 4 * 0.0129


@pytest.mark.parametrize("start, end", [("fresh", "censored"), ("stationary", "none")])
def test_draws_from_the_prior_have_its_frequencies(start, end):
    spec = hsmm_spec(3, 4, start=start, end=end)
    model = reference(spec, random_weights(spec))
    drawn = hsmm.sample_prior(model, np.random.default_rng(0), 12, 1500)
    nothing = inference.expected(model.tables, np.zeros((3, 12)))
    shares = (drawn.states[:, None] == np.arange(3)[:, None]).mean(axis=0)
    assert np.abs(shares - nothing.posterior).max() < 4 * 0.0129
    assert drawn.observations.shape == (1500, 2, 12)
    for k, mean in enumerate(model.arrays["means"]):
        seen = np.moveaxis(drawn.observations, 1, 2)[drawn.states == k]
        assert np.abs(seen.mean(axis=0) - mean).max() < 5 * seen.std() / np.sqrt(len(seen))


def test_drawn_codes_and_durations_have_their_laws():
    spec = hsmm_spec(3, 9, emission="categorical", codes=4, duration="negative_binomial")
    weights = random_weights(spec)
    model = reference(spec, weights)
    drawn = hsmm.sample_prior(model, np.random.default_rng(1), 4000)
    runs = hsmm.segments(drawn.states[0])[:-1]
    for k in range(3):
        lasted = np.array([run.stop - run.start for run in runs if run.state == k])
        law = duration_chances(spec, weights)[k]
        mean = law @ np.arange(1, 10)
        assert abs(lasted.mean() - mean) < 5 * lasted.std() / np.sqrt(len(lasted))
        assert abs(mean - hsmm.mean_durations(model)[k]) < 1e-12
        codes = drawn.observations[0, 0, drawn.states[0] == k]
        shares = np.bincount(codes.astype(int), minlength=4) / len(codes)
        chances = np.exp(weights["code_logits"][k])
        assert np.abs(shares - chances / chances.sum()).max() < 2.5 / np.sqrt(len(codes))
