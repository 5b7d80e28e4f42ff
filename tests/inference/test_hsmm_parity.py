"""Every backend's hsmm against the float64 reference: inference, gradients, paths, bad input."""

import importlib

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.inference import hsmm
from tests.conftest import NATIVE
from tests.support.compare import assert_close, assert_gradients_close, assert_refused, reference
from tests.support.hsmm_models import EMISSIONS, hsmm_spec, random_weights, signal_for
from tests.support.hsmm_slopes import differences, slopes

# Relative to the scale: every step rounds once, and the rounding of earlier steps is divided away
# with their probability. Measured need on these models 2e-6.
TOLERANCE = 1e-5

# Each law, start with end, and emission at least once.
CASES = {
    f"{law}-{start}-{end}-{emission}": {
        "duration": law, "start": start, "end": end, **EMISSIONS[emission]
    }
    for law, start, end, emission in (
        ("poisson", "fresh", "censored", "gaussian"),
        ("negative_binomial", "stationary", "none", "categorical"),
        ("gaussian", "stationary", "censored", "neural"),
        ("categorical", "fresh", "none", "one_hot"),
        ("categorical", "stationary", "censored", "none"),
    )
}  # fmt: skip


def float32_weights(spec, seed=0):
    """Weights that both sides hold exactly; durations reach to their limit, and not all at once."""
    weights = random_weights(spec, seed, 0.7)
    return {
        name: (array + 1.0 if name.startswith("duration_log_") else array).astype(np.float32)
        for name, array in weights.items()
    }


def case(name, time=29, **fields):
    """(spec, weights, x, lengths, mask): one sequence whole, one with gaps, one of few steps."""
    spec = hsmm_spec(4, 7, **{**CASES[name], **fields})
    x = signal_for(spec, 3, time).astype(np.float32)
    mask = np.random.default_rng(5).random((3, time)) < 0.8
    mask[:, 0] = True
    return spec, float32_weights(spec), x, np.array([time, time - 6, 4]), mask


def both(name, backend, **fields):
    """(model, float64 reference, x, lengths, mask)."""
    spec, weights, x, lengths, mask = case(name, **fields)
    return tcnzoo.create(spec, backend, weights=weights), reference(spec, weights), x, lengths, mask


def parts(found):
    """An answer's arrays by name."""
    return {name: value for name, value in vars(found).items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("name", CASES)
def test_posteriors_and_paths_equal_reference(native, name):
    model, true, *given = both(name, native)
    found, expected = (parts(hsmm.posteriors(one, *given)) for one in (model, true))
    assert_close(found, expected, TOLERANCE, name)
    found, expected = (hsmm.viterbi(one, *given) for one in (model, true))
    np.testing.assert_array_equal(found.path, expected.path)
    assert_close(found.score, expected.score, TOLERANCE)
    assert found.segments == expected.segments


@pytest.mark.parametrize("name", list(CASES)[::4])
def test_likelihoods_and_filters_equal_reference(native, name):
    model, true, *given = both(name, native)
    found, expected = (hsmm.log_likelihood(one, *given) for one in (model, true))
    assert_close(found, expected, TOLERANCE)
    found, expected = (parts(hsmm.filter(one, *given)) for one in (model, true))
    assert_close(found, expected, TOLERANCE, name)


@pytest.mark.parametrize("output", ["posterior", "filtered"])
def test_block_equals_reference(native, output):
    model, true, x, *_ = both("gaussian-stationary-censored-neural", native, output=output)
    found, expected = tcnzoo.predict(model, x), tcnzoo.predict(true, x)
    assert found.dtype == np.float32
    assert_close(found, expected, TOLERANCE)
    assert_close(found.sum(axis=1), np.ones((3, 29)), TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_differences(native, name):
    spec, weights, x, lengths, mask = case(name, time=17)
    share = np.array([1.0, -0.5, 2.0])
    model = tcnzoo.create(spec, native, weights=weights)
    value, found = slopes(model, x, lengths, mask, share)
    expected = differences(spec, weights, x, lengths, mask, share)
    assert_close(value, share @ hsmm.log_likelihood(reference(spec, weights), x, lengths, mask))
    for key in expected:
        if key.startswith("duration"):
            assert np.abs(found[key]).max() > 1e-2, "durations are ignored"
    np.testing.assert_array_equal(np.diagonal(found["transition_logits"]), 0.0)
    assert_gradients_close(found, expected)


@pytest.mark.parametrize("name", list(CASES)[:2])
@pytest.mark.parametrize("framework", [one for one in NATIVE if one != "torch"])
def test_the_backward_pass_equals_a_tape(framework, name, monkeypatch):
    inside = importlib.import_module(f"tcnzoo.backends.{framework}.hsmm")
    spec, weights, x, *given = case(name, time=13)
    model = tcnzoo.create(spec, framework, weights=weights)
    share = np.array([1.0, -0.5, 2.0])
    value, found = slopes(model, x, *given, share)
    monkeypatch.setattr(inside, "log_likelihood", lambda *given: inside.forward(*given).total)
    taped, expected = slopes(model, x, *given, share)
    assert value == taped
    assert_gradients_close(found, expected)


@pytest.mark.parametrize("output", ["posterior", "filtered"])
def test_gradients_of_states_equal_differences(native, output):
    spec, weights, x, *_ = case("categorical-stationary-censored-none", 11, output=output)
    target = np.random.default_rng(2).random((3, 4, 11))
    model, true = tcnzoo.create(spec, native, weights=weights), reference(spec, weights)
    _, found = tcnzoo.gradients(model, x, target)
    held = {**weights, "input": x}

    def loss_with(key, array):
        moved = {**held, key: array}
        signal = moved.pop("input")
        tcnzoo.set_weights(true, moved)
        return np.mean((tcnzoo.predict(true, signal) - target) ** 2)

    expected = {key: np.zeros(array.shape) for key, array in held.items()}
    generator = np.random.default_rng(4)
    for key, array in held.items():
        # A direction through all values tells whether any of them is wrong.
        way = generator.standard_normal(array.shape)
        slope = (loss_with(key, array + 1e-5 * way) - loss_with(key, array - 1e-5 * way)) / 2e-5
        expected[key] = slope
        found[key] = np.sum(found[key] * way)
    assert_gradients_close(found, {key: np.asarray(one) for key, one in expected.items()})


def test_long_signals_far_from_zero_keep_their_precision(native):
    # 1000 steps of -40 each: plain sums in float32 would be off by 4e-2 here, and posteriors with
    # them; what is left is the rounding of the input, 4e-6 a step.
    spec = hsmm_spec(6, 40, emission="none")
    weights = float32_weights(spec)
    x = (3.0 * np.random.default_rng(1).standard_normal((2, 6, 1000)) - 40.0).astype(np.float32)
    lengths = np.array([1000, 613])
    model, true = tcnzoo.create(spec, native, weights=weights), reference(spec, weights)
    found, expected = (parts(hsmm.posteriors(one, x, lengths)) for one in (model, true))
    assert np.abs(expected["log_likelihood"]).min() > 2e4
    assert_close(found, expected, TOLERANCE)


def test_one_step_is_enough(native):
    spec = hsmm_spec(3, 5, duration="negative_binomial", emission="none")
    weights, x = float32_weights(spec), signal_for(spec, 2, 1)
    model, true = tcnzoo.create(spec, native, weights=weights), reference(spec, weights)
    found, expected = (parts(hsmm.posteriors(one, x)) for one in (model, true))
    assert_close(found, expected, TOLERANCE)
    assert hsmm.viterbi(model, x).path.tolist() == hsmm.viterbi(true, x).path.tolist()


def test_one_duration_makes_every_step_a_segment(native):
    spec = hsmm_spec(3, 1, duration="negative_binomial", emission="none")
    weights, x = float32_weights(spec), signal_for(spec, 2, 6)
    model, true = tcnzoo.create(spec, native, weights=weights), reference(spec, weights)
    found, expected = (parts(hsmm.posteriors(one, x)) for one in (model, true))
    assert_close(found, expected, TOLERANCE)
    assert_close(found["segments"].sum(axis=1), np.full(2, 6.0), TOLERANCE)


def test_ties_go_to_short_durations_then_low_states(backend):
    spec = hsmm_spec(3, 2, emission="none", duration="categorical")
    weights = {name: np.zeros(param.shape) for name, param in spec.params().items()}
    model = tcnzoo.create(spec, backend, weights=weights)
    # Longer segments win, for each has chance 1/2 and each change too; the last one may go on.
    assert hsmm.viterbi(model, np.zeros((1, 3, 5))).path.tolist() == [[0, 0, 1, 1, 0]]
    # Of one step each all paths are equally likely.
    model = tcnzoo.create(
        hsmm_spec(3, 1, emission="none", duration="categorical"),
        backend,
        weights={**weights, "duration_logits": np.zeros((3, 1))},
    )
    assert hsmm.viterbi(model, np.zeros((1, 3, 4))).path.tolist() == [[1, 0, 1, 0]]


def test_what_is_masked_is_not_read(native):
    model, _, x, lengths, mask = both("poisson-fresh-censored-gaussian", native)
    expected = hsmm.posteriors(model, x, lengths, mask)
    behind = ~mask | (np.arange(x.shape[2]) >= lengths[:, None])
    found = hsmm.posteriors(model, np.where(behind[:, None], np.nan, x), lengths, mask)
    assert_close(parts(found), parts(expected), 0.0)


def test_a_signal_without_segmentation_is_refused(backend):
    spec = hsmm_spec(2, 3, emission="none", duration="categorical", end="none")
    weights = {name: np.zeros(param.shape) for name, param in spec.params().items()}
    weights["duration_logits"][:, :2] = -np.inf
    model = tcnzoo.create(spec, backend, weights=weights)
    sentence = (
        "no segmentation of 4 steps is possible with these durations and transitions: "
        "check max_duration, which probabilities are 0, and states without a way out"
    )
    for call in (hsmm.posteriors, hsmm.viterbi):
        assert_refused(InputError, sentence, call, model, np.zeros((1, 2, 4)))
    assert hsmm.viterbi(model, np.zeros((1, 2, 6))).path.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_sixteen_bits_hold_the_weights_only(native):
    spec, weights, x, lengths, mask = case("poisson-fresh-censored-gaussian")
    model = tcnzoo.create(spec, native, weights=weights, dtype="bfloat16")
    rounded = {name: np.asarray(one, np.float64) for name, one in tcnzoo.get_weights(model).items()}
    found = hsmm.log_likelihood(model, x, lengths, mask)
    expected = hsmm.log_likelihood(reference(spec, rounded), x, lengths, mask)
    assert_close(found, expected, 1e-2)  # a framework may round the input to 8 bits as well


@pytest.mark.parametrize("where", ["forward", "durations"])
def test_a_wrong_pass_is_seen(where, monkeypatch):
    # The comparisons above can fail: a reference with another law of durations is told apart.
    from tcnzoo.inference.hsmm import recursion

    spec, weights, x, lengths, mask = case("poisson-fresh-censored-gaussian")
    true, other = reference(spec, weights), reference(spec, weights)
    true.engine = other.engine = "reference"
    expected = hsmm.log_likelihood(true, x, lengths, mask)
    if where == "durations":
        other.arrays["duration_log_rate"] = other.arrays["duration_log_rate"] + 1e-3
    else:
        plain = recursion.log_sum_exp
        monkeypatch.setattr(recursion, "log_sum_exp", lambda found, axis: plain(found, axis) + 1e-4)
    found = hsmm.log_likelihood(other, x, lengths, mask)
    with pytest.raises(AssertionError, match="is above"):
        assert_close(found, expected, TOLERANCE)
