"""Probabilities of 0 in an hsmm: certain starts, chains, short durations, states never left."""

import functools

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tests.support.compare import assert_close, assert_gradients_close, assert_refused, reference
from tests.support.hsmm_models import enumerated, hsmm_spec, random_weights, signal_for
from tests.support.hsmm_slopes import differences, slopes

# float32 recursions against enumeration in float64; each step rounds once.
TOLERANCE = 1e-5
OFF = -np.inf
# The logit that numpy and torch users mask with, in place of -inf.
LEAST = float(np.finfo(np.float32).min)
# Where logits are -inf, by the name of the tensor.
ZEROS = {
    "start": {"initial_logits": [1, 2]},
    "left-to-right": {
        "initial_logits": [1, 2],
        "transition_logits": ([0, 1, 2], [2, 0, 1]),
    },
    "short": {"duration_logits": ([0, 0, 1], [3, 2, 3])},
    "late": {"duration_logits": ([0, 1, 1], [0, 0, 2])},
    "absorbing": {"transition_logits": ([2, 2, 0], [0, 1, 2])},
    "chain": {
        "initial_logits": [1, 2],
        "transition_logits": ([0, 1, 2, 2], [2, 0, 0, 1]),
        "duration_logits": ([0], [3]),
    },
}
MODES = (("fresh", "censored"), ("stationary", "none"))


def with_zeros(name, start="fresh", end="censored", off=OFF, emission="gaussian", **fields):
    """(spec, weights) of three states, some of whose probabilities are 0."""
    spec = hsmm_spec(
        3, 4, duration="categorical", start=start, end=end, emission=emission, **fields
    )
    weights = {key: one.astype(np.float32) for key, one in random_weights(spec, seed=4).items()}
    for key, places in ZEROS[name].items():
        weights[key][places] = off
    return spec, weights


def summed(spec, weights, x):
    """`enumerated` of a batch: log-likelihoods, posteriors, changes, scores and paths."""
    wide = {key: np.maximum(one.astype(np.float64), -1e4) for key, one in weights.items()}
    if (wide["transition_logits"][2, :2] == -1e4).all():  # a row that enumeration cannot normalise
        return _summed_absorbing(spec, wide, x)
    return [
        np.stack(part) for part in zip(*(enumerated(spec, wide, one) for one in x), strict=True)
    ]


@functools.cache
def expected_of(name, start, end, steps):
    """`summed` of the first steps of the signal that most tests here take."""
    spec, weights = with_zeros(name, start, end)
    return summed(spec, weights, signal_for(spec, 2, 5).astype(np.float32)[:, :, :steps])


def _summed_absorbing(spec, weights, x):
    """The same with a fourth state that follows state 2, and emits next to nothing."""
    larger = spec.model_copy(update={"states": 4})
    grown = {}
    for key, one in weights.items():
        grown[key] = np.pad(one, [(0, 1)] + [(0, 0)] * (one.ndim - 1), constant_values=-1e4)
    grown["transition_logits"] = np.pad(weights["transition_logits"], (0, 1), constant_values=-1e4)
    grown["transition_logits"][2, 3] = grown["transition_logits"][3, 0] = 0.0
    grown["duration_logits"][3] = 0.0
    grown["means"][3], grown["log_variances"][3] = 1e4, 0.0
    rows = zip(*(enumerated(larger, grown, one) for one in x), strict=True)
    value, posterior, changes, score, path = (np.stack(part) for part in rows)
    return value, posterior[:, :3], changes[:, :3, :3], score, path


@pytest.mark.parametrize("start, end", MODES)
def test_equals_the_sum_over_all_segmentations(backend, start, end):
    spec, _ = with_zeros("start", start, end)
    model = tcnzoo.create(spec, backend)
    x = signal_for(spec, 2, 5).astype(np.float32)  # an absorbing state must last to the end
    for name in ZEROS:
        _, weights = with_zeros(name, start, end)
        tcnzoo.set_weights(model, weights)
        value, posterior, changes, score, path = expected_of(name, start, end, 5)
        found = hsmm.posteriors(model, x)
        assert_close(found.log_likelihood, value, TOLERANCE, name)
        assert_close(found.posterior, posterior, TOLERANCE, name)
        assert_close(found.transitions, changes, TOLERANCE, name)
        assert np.isfinite(found.durations).all()
        assert np.isfinite(found.censored).all()
        assert_close(tcnzoo.predict(model, x), posterior, TOLERANCE, name)
        likeliest = hsmm.viterbi(model, x)
        assert likeliest.path.tolist() == path.tolist()
        assert_close(likeliest.score, score, TOLERANCE, name)


def test_the_least_float_is_a_probability_of_0_too(backend):
    for name in ("chain", "absorbing"):
        spec, weights = with_zeros(name)
        x = signal_for(spec, 2, 6).astype(np.float32)
        expected = hsmm.posteriors(tcnzoo.create(spec, backend, weights=weights), x)
        spec, weights = with_zeros(name, off=LEAST)
        found = hsmm.posteriors(tcnzoo.create(spec, backend, weights=weights), x)
        assert_close(found.posterior, expected.posterior, 0.0)
        assert_close(found.transitions, expected.transitions, 0.0)


@pytest.mark.parametrize("start", ["fresh", "stationary"])
def test_filters_and_streams(backend, start):
    spec, _ = with_zeros("start", start, output="filtered")
    model = tcnzoo.create(spec, backend)
    x = signal_for(spec, 2, 5).astype(np.float32)
    for name in ("late", "chain", "absorbing"):
        _, weights = with_zeros(name, start)
        tcnzoo.set_weights(model, weights)
        found = hsmm.filter(model, x)
        for steps in range(1, 6):
            value, posterior, *_ = expected_of(name, start, "censored", steps)
            assert_close(found.filtered[:, :, steps - 1], posterior[:, :, -1], TOLERANCE, name)
            assert_close(found.log_likelihood[:, steps - 1], value, TOLERANCE, name)
        assert_close(tcnzoo.predict(model, x), found.filtered, TOLERANCE, name)
        state, pieces = tcnzoo.init_state(model, 2), []
        for low, high in ((0, 1), (1, 3), (3, 5)):
            y, state = tcnzoo.step(model, x[:, :, low:high], state)
            assert not any(np.isnan(np.asarray(one)).any() for one in state.values())
            pieces.append(y)
        assert_close(np.concatenate(pieces, axis=2), found.filtered, TOLERANCE, name)


def test_a_stream_goes_on_in_another_backend(backend):
    spec, weights = with_zeros("chain", output="filtered")
    x = signal_for(spec, 1, 6).astype(np.float32)
    first, other = (tcnzoo.create(spec, one, weights=weights) for one in (backend, "numpy"))
    expected = hsmm.filter(other, x).filtered
    for one, two in ((first, other), (other, first)):
        y, state = tcnzoo.step(one, x[:, :, :3], tcnzoo.init_state(one))
        z, _ = tcnzoo.step(two, x[:, :, 3:], state)
        assert_close(np.concatenate([y, z], axis=2), expected, TOLERANCE)


@pytest.mark.parametrize("name", ["short", "chain", "absorbing"])
def test_gradients_equal_differences(native, name):
    start, end = MODES[name == "short"]
    spec, weights = with_zeros(name, start, end)
    x, share = signal_for(spec, 2, 5).astype(np.float32), np.array([1.0, -0.5])
    model = tcnzoo.create(spec, native, weights=weights)
    _, found = slopes(model, x, None, None, share)
    with np.errstate(invalid="ignore"):
        expected = differences(spec, weights, x, None, None, share)
    for key, one in weights.items():
        assert np.array_equal(found[key][one == OFF], np.zeros((one == OFF).sum()))
        expected[key][one == OFF] = 0.0
    assert_gradients_close(found, expected)


@pytest.mark.parametrize("output", ["posterior", "filtered"])
@pytest.mark.parametrize("name", ["chain", "absorbing"])
def test_gradients_of_the_output_equal_differences(native, name, output):
    spec, weights = with_zeros(name, output=output)
    x = signal_for(spec, 1, 5).astype(np.float32)
    target = np.random.default_rng(1).random((1, 3, 5))
    model, true = tcnzoo.create(spec, native, weights=weights), reference(spec, weights)
    _, found = tcnzoo.gradients(model, x, target)
    moved, expected = x.astype(np.float64), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        for step in (1e-5, -1e-5):
            moved[place] = float(x[place]) + step
            value = np.mean((tcnzoo.predict(true, moved) - target) ** 2)
            expected[place] += value / (2.0 * step)
        moved[place] = x[place]
    assert_close(found["input"], expected, TOLERANCE)
    assert all(np.isfinite(one).all() for one in found.values())
    for key, one in weights.items():
        assert not found[key][one == OFF].any()


def test_steps_of_em_keep_what_is_0():
    spec, weights = with_zeros("chain", emission="gaussian")
    draws = np.random.default_rng(2)
    means = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    signals = [
        means[np.repeat([0, 1, 2], draws.integers(1, 4, 3))].T
        + 0.1 * draws.standard_normal((2, 1)) for _ in range(30)
    ]  # fmt: skip
    weights["means"] = means.astype(np.float32) + 0.5
    fit = hsmm.fit_em(spec, weights, signals)
    assert (np.diff(fit.log_likelihoods) > -1e-6).all()
    tables = hsmm.calls.current_tables(tcnzoo.create(spec, "numpy", weights=fit.weights))
    assert np.array_equal(tables.initial, [0.0, OFF, OFF])
    assert np.array_equal(tables.transitions == OFF, [[1, 0, 1], [1, 1, 0], [1, 1, 1]])
    assert np.array_equal(tables.durations[0] == OFF, [0, 0, 0, 1])
    assert np.abs(fit.weights["means"] - means).max() < 0.1


def test_draws_follow_the_chain():
    spec, weights = with_zeros("chain")
    model = tcnzoo.create(spec, "numpy", weights=weights)
    states = hsmm.sample_prior(model, np.random.default_rng(0), 8, 50).states
    assert (states[:, 0] == 0).all()
    assert set(np.diff(states).ravel()) == {0, 1}
    drawn = hsmm.sample_posterior(
        model, signal_for(spec, 5, 8), np.random.default_rng(0)
    )  # at most 3 + 4 + 4 steps
    assert (drawn[:, 0] == 0).all()
    assert set(np.diff(drawn).ravel()) <= {0, 1}


@pytest.mark.parametrize("output", ["posterior", "filtered"])
def test_a_signal_beyond_the_last_state_is_refused(backend, output):
    spec, weights = with_zeros("chain", output=output)  # at most 3 + 4 + 4 steps
    model = tcnzoo.create(spec, backend, weights=weights)
    x = np.zeros((1, 2, 12), dtype=np.float32)
    assert np.isfinite(tcnzoo.predict(model, x[:, :, :11])).all()
    sentence = (
        "no segmentation of 12 steps is possible with these durations and transitions: "
        "check max_duration, which probabilities are 0, and states without a way out"
    )
    assert_refused(InputError, sentence, tcnzoo.predict, model, x)
    if output == "posterior":
        for call in (hsmm.posteriors, hsmm.viterbi):
            assert_refused(InputError, sentence, call, model, x)
    else:
        _, state = tcnzoo.step(model, x[:, :, :11], tcnzoo.init_state(model))
        sentence = sentence.replace("12 steps", "the stream up to here")
        assert_refused(InputError, sentence, tcnzoo.step, model, x[:, :, 11:], state)


def test_twins_are_an_absorbing_state_for_signals_of_any_length(backend):
    # 0 -> 1 -> (2 <-> 3); 2 and 3 have the same emissions.
    spec = hsmm_spec(4, 3, duration="categorical", emission="none")
    weights = {key: one.astype(np.float32) for key, one in random_weights(spec, seed=5).items()}
    weights["initial_logits"][1:] = OFF
    weights["transition_logits"] = np.full((4, 4), OFF, dtype=np.float32)
    weights["transition_logits"][[0, 1, 2, 3], [1, 2, 3, 2]] = 0.0
    x = 0.5 * np.random.default_rng(5).standard_normal((1, 4, 17)).astype(np.float32)
    x[:, 3] = x[:, 2]
    law = np.exp(weights["duration_logits"].astype(np.float64))
    law /= law.sum(axis=1, keepdims=True)
    seen = np.exp(x[0].astype(np.float64))
    total, expected = 0.0, np.zeros((3, 17))
    for first, second in np.ndindex(3, 3):
        path = np.repeat([0, 1, 2], [first + 1, second + 1, 15 - first - second])
        weight = law[0, first] * law[1, second] * seen[path, np.arange(17)].prod()
        total += weight
        expected[path, np.arange(17)] += weight
    found = hsmm.posteriors(tcnzoo.create(spec, backend, weights=weights), x)
    assert_close(found.log_likelihood[0], np.log(total), TOLERANCE)
    posterior = found.posterior[0]
    joined = np.stack([posterior[0], posterior[1], posterior[2] + posterior[3]])
    assert_close(joined, expected / total, TOLERANCE)


@pytest.mark.parametrize("encoding, off", [("index", LEAST), ("one_hot", OFF)])
def test_codes_that_a_state_never_makes(backend, encoding, off):
    spec, weights = with_zeros(
        "left-to-right", off=off, emission="categorical", codes=4, encoding=encoding
    )
    weights["code_logits"][[0, 0, 1, 2], [1, 3, 0, 0]] = off
    codes = np.array([[0, 0, 1, 2, 3], [2, 0, 3, 3, 1]])
    x = codes[:, None].astype(np.float64)
    if encoding == "one_hot":
        x = np.eye(4)[codes].transpose(0, 2, 1)
    value, posterior, changes, _, path = summed(spec, weights, x)
    model = tcnzoo.create(spec, backend, weights=weights)
    found = hsmm.posteriors(model, x)
    assert_close(found.log_likelihood, value, TOLERANCE)
    assert_close(found.posterior, posterior, TOLERANCE)
    assert_close(found.transitions, changes, TOLERANCE)
    assert_close(tcnzoo.predict(model, x), posterior, TOLERANCE)
    assert hsmm.viterbi(model, x).path.tolist() == path.tolist()
    if backend != "numpy":
        share = np.array([1.0, -0.5])
        _, slope = slopes(model, x.astype(np.float32), None, None, share)
        with np.errstate(invalid="ignore"):
            expected = differences(spec, weights, x, None, None, share)
        for key, one in weights.items():
            assert (
                np.abs(slope[key][one <= -1e30]).max(initial=0.0) < 1e-6
            )  # rounding of starts less ends
            expected[key][one <= -1e30] = 0.0
        assert_gradients_close(slope, expected)
    nothing = np.array([[[1]]]) if encoding == "index" else np.eye(4)[None, :, 1:2]
    sentence = (  # state 0 never makes code 1
        "no segmentation of 1 steps is possible with these durations and transitions: "
        "check max_duration, which probabilities are 0, and states without a way out"
    )
    for call in (tcnzoo.predict, hsmm.log_likelihood, hsmm.viterbi):
        assert_refused(InputError, sentence, call, model, nothing)


def test_codes_that_a_state_never_makes_in_a_long_signal():
    # State 2 follows state 1 only, and alone makes code 3: impossible steps add up in the others.
    spec, weights = with_zeros("left-to-right", emission="categorical", codes=4)
    weights["initial_logits"][1:] = 0.0
    weights["code_logits"][[0, 1, 2, 2], [3, 3, 0, 1]] = OFF
    weights["duration_logits"][:] = 0.0
    states = np.repeat(np.tile([0, 1, 2], 400), 3)
    x = np.choose(states, [0, 1, 3])[None, None].astype(np.float64)
    model = tcnzoo.create(spec, "numpy", weights=weights, dtype="float64")
    found = {}
    for engine in ("reference", "compiled"):
        model.engine = engine
        found[engine] = hsmm.posteriors(model, x).posterior[0]
    assert np.abs(found["reference"] - found["compiled"]).max() < 1e-7
    assert np.abs(found["reference"][2] - (states == 2)).max() < 1e-7
