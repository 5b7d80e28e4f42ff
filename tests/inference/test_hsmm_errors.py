"""Bad input: one sentence each, and nothing computed."""

import dataclasses
import importlib.util

import numpy as np
import pytest

import tcnzoo
from tcnzoo.backends.numpy.hsmm import Hsmm
from tcnzoo.errors import BackendMissing, InputError, SpecError, WeightError
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.tables import tables_of
from tests.support.compare import assert_refused
from tests.support.hsmm_models import hsmm_spec, random_weights, signal_for

PLAIN = {"kind": "hsmm", "states": 3, "max_duration": 4, "channels": 2}
CALLS = (hsmm.log_likelihood, hsmm.posteriors, hsmm.viterbi, hsmm.filter)


@pytest.fixture(scope="module")
def model():
    spec = hsmm_spec()
    return tcnzoo.create(spec, "numpy", weights=random_weights(spec), dtype="float64")


SPECS = {
    "no-duration": (
        {"max_duration": 0},
        "field 'max_duration': input should be greater than or equal to 1, but got 0",
    ),
    "one-state": (
        {"states": 1},
        "field 'states': input should be greater than or equal to 2, but got 1",
    ),
    "no-channels": (
        {"channels": None},
        "field 'channels' is missing: gaussian emissions need it",
    ),
    "no-codes": (
        {"emission": "categorical", "channels": None},
        "field 'codes' is missing: categorical emissions need it",
    ),
    "channels-of-scores": (
        {"emission": "none"},
        "field 'channels' means nothing for none emissions, but is 2",
    ),
    "hidden-of-gaussian": (
        {"hidden": [3]},
        "field 'hidden' means nothing for gaussian emissions",
    ),
}


@pytest.mark.parametrize("case", SPECS)
def test_spec_is_refused(case):
    fields, sentence = SPECS[case]
    assert_refused(SpecError, sentence, tcnzoo.load_spec, {**PLAIN, **fields})


def _signals():
    x = signal_for(hsmm_spec(), 2, 9)
    odd = x.copy()
    odd[1, 0, 5] = np.nan
    infinite = x.copy()
    infinite[0, 1, 2] = -np.inf
    mask = np.ones((2, 9), dtype=bool)
    hidden = mask.copy()
    hidden[1] = False
    late = mask.copy()
    late[1, :4] = False
    lengths = np.array([9, 4])
    yield "nan", (odd,), (
        "observed values must be finite, but x is nan at sequence 1, channel 0, step 5; "
        "mask what is missing"
    )  # fmt: skip
    yield "infinite", (infinite,), (
        "observed values must be finite, but x is -inf at sequence 0, channel 1, step 2; "
        "mask what is missing"
    )  # fmt: skip
    yield "all-masked", (x, None, hidden), (
        "sequence 1 has no observed step: all of its 9 are masked"
    )  # fmt: skip
    yield "masked-up-to-the-end", (x, lengths, late), (
        "sequence 1 has no observed step: all of its 4 are masked"
    )  # fmt: skip
    yield "rank", (x[0],), "sequences must be (batch, channels, time), but have shape (2, 9)"
    yield "empty", (x[:, :, :0],), (
        "sequences must be (batch, channels, time), but have shape (2, 2, 0)"
    )  # fmt: skip
    yield "channels", (x[:, :1],), (
        "hsmm expects 2 channels on axis 1 of (batch, channels, time), but 1 came"
    )  # fmt: skip
    yield "length", (x, np.array([9, 10])), "a length must be within 1 .. 9, but 10 came"
    yield "no-length", (x, np.array([0, 9])), "a length must be within 1 .. 9, but 0 came"
    yield "lengths", (x, np.array([9.0, 9.0])), (
        "lengths must be 2 whole numbers, one a sequence, but have shape (2,) and type float64"
    )  # fmt: skip
    yield "mask", (x, None, np.ones((2, 8), dtype=bool)), (
        "a mask must be booleans of shape (2, 9), (batch, time), but is bool of shape (2, 8)"
    )  # fmt: skip
    yield "numbers-for-a-mask", (x, None, np.ones((2, 9))), (
        "a mask must be booleans of shape (2, 9), (batch, time), but is float64 of shape (2, 9)"
    )  # fmt: skip


SIGNALS = {name: (given, sentence) for name, given, sentence in _signals()}


@pytest.mark.parametrize("case", SIGNALS)
def test_signal_is_refused(case, model):
    given, sentence = SIGNALS[case]
    for call in CALLS:
        assert_refused(InputError, sentence, call, model, *given)
    lengths, mask = [*given[1:], None, None][:2]
    generator = np.random.default_rng(0)
    with pytest.raises(InputError):
        hsmm.sample_posterior(model, given[0], generator, lengths, mask)


@pytest.mark.parametrize(
    "value, sentence",
    [
        (5.0, "whole numbers below 5 (below 0 where one is missing), but x is 5"),
        (1.5, "whole numbers below 5 (below 0 where one is missing), but x is 1.5"),
    ],
)
def test_what_is_no_code_is_refused(value, sentence):
    spec = hsmm_spec(emission="categorical", codes=5)
    model = tcnzoo.create(spec, "numpy", weights=random_weights(spec))
    x = signal_for(spec, 2, 9)
    x[1, 0, 3] = value
    sentence = f"codes must be {sentence} at sequence 1, step 3"
    assert_refused(InputError, sentence, hsmm.viterbi, model, x)


WEIGHTS = {
    "transitions": ("transition_logits", (1, 0), np.inf, "row 1 of transition_logits"),
    "initial": ("initial_logits", slice(None), -np.inf, "row 0 of initial_logits"),
    "nan": ("transition_logits", (2, 0), np.nan, "row 2 of transition_logits"),
    "durations": ("duration_logits", (2, 1), np.inf, "row 2 of the durations"),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_rows_that_cannot_be_normalised_are_refused(case):
    name, place, value, start = WEIGHTS[case]
    spec = hsmm_spec(duration="categorical")
    weights = random_weights(spec)
    weights[name][place] = value
    model, x = tcnzoo.create(spec, "numpy", weights=weights), signal_for(spec, 1, 6)
    for call in CALLS:
        with pytest.raises(WeightError) as caught:
            call(model, x)
        sentence = str(caught.value)
        assert sentence.startswith(f"{start} cannot be normalised: its scores must be numbers")
        assert "\n" not in sentence


def test_the_diagonal_may_hold_anything(model):
    weights = tcnzoo.get_weights(model)
    np.fill_diagonal(weights["transition_logits"], np.nan)
    other = tcnzoo.create(model.spec, "numpy", weights=weights, dtype="float64")
    x = signal_for(model.spec, 2, 9)
    assert np.array_equal(hsmm.log_likelihood(other, x), hsmm.log_likelihood(model, x))


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_impossible_durations_are_refused(engine):
    spec = hsmm_spec(2, 3, emission="none", duration="categorical", end="none")
    weights = random_weights(spec)
    weights["duration_logits"][:, [0, 2]] = -np.inf  # every segment lasts two steps
    tables = tables_of(spec, weights)
    assert np.isfinite(inference.log_likelihood(tables, np.zeros((2, 6)), engine))
    assert np.isfinite(inference.expected(tables, np.zeros((2, 6)), engine).posterior).all()
    sentence = (
        "no segmentation of 5 steps is possible with these durations and transitions: "
        "check max_duration, which probabilities are 0, and states without a way out"
    )
    for call in (inference.log_likelihood, inference.expected, inference.viterbi):
        assert_refused(InputError, sentence, call, tables, np.zeros((2, 5)), engine)


def test_more_states_than_steps_are_refused():
    spec = hsmm_spec(5)
    weights, x = random_weights(spec), signal_for(spec, 1, 4)[0]
    sentence = (
        "5 states cannot be fitted to 4 observed steps: there must be at least one step for each"
    )
    assert_refused(InputError, sentence, hsmm.fit_em, spec, weights, [x])
    assert_refused(InputError, sentence, hsmm.from_data, spec, [x])
    two = [signal_for(spec, 1, 4)[0], signal_for(spec, 1, 5)[0]]
    masks = [np.arange(4) < 2, np.arange(5) < 2]
    assert_refused(InputError, sentence, hsmm.fit_em, spec, weights, two, masks=masks)


def test_what_em_cannot_fit_is_refused():
    spec = hsmm_spec(emission="neural", channels=3)
    sentence = (
        "EM fits gaussian and categorical emissions; train a model with neural emissions by "
        "gradients"
    )
    x = signal_for(spec, 1, 9)[0]
    assert_refused(InputError, sentence, hsmm.fit_em, spec, random_weights(spec), [x])
    spec = hsmm_spec()
    weights, x = random_weights(spec), signal_for(spec, 1, 9)[0]
    assert_refused(
        InputError, "EM needs at least one sequence, but none came", hsmm.fit_em, spec, weights, []
    )
    assert_refused(
        InputError, "iterations must be at least 1, but is 0",
        hsmm.fit_em, spec, weights, [x], iterations=0,
    )  # fmt: skip
    assert_refused(
        InputError, "1 sequences need as many masks, but 2 came",
        hsmm.fit_em, spec, weights, [x], masks=[np.ones(9, dtype=bool)] * 2,
    )  # fmt: skip
    odd = np.where(np.arange(9) == 4, np.nan, x)
    with pytest.raises(InputError, match="observed values must be finite"):
        hsmm.fit_em(spec, weights, [odd])
    with pytest.raises(WeightError, match="expected 5 tensors, but 1 are missing"):
        hsmm.fit_em(spec, {n: one for n, one in weights.items() if n != "means"}, [x])


def test_another_model_is_refused():
    model = tcnzoo.create({"kind": "activation", "name": "relu"}, "numpy")
    sentence = "this needs a model of kind 'hsmm', but the model is a 'activation'"
    assert_refused(InputError, sentence, hsmm.viterbi, model, np.zeros((1, 2, 9)))


def test_nothing_is_drawn_for_no_length(model):
    generator = np.random.default_rng(0)
    sentence = "length must be at least 1, but is 0"
    assert_refused(InputError, sentence, hsmm.sample_prior, model, generator, 0)
    sentence = "batch_size must be at least 1, but is 0"
    assert_refused(InputError, sentence, hsmm.sample_prior, model, generator, 3, 0)


def test_a_posterior_does_not_stream(model):
    sentence = (
        "this model cannot stream: hsmm: posteriors need the whole signal; with 'output: filtered' "
        "the states are told from the signal so far"
    )
    assert_refused(InputError, sentence, tcnzoo.init_state, model)


def test_a_vector_is_refused(model):
    sentence = (
        "hsmm works along time and takes (batch, channels, time), but a vector (batch, 2) came"
    )
    assert_refused(InputError, sentence, tcnzoo.predict, model, np.zeros((3, 2)))


def test_without_numba_the_reference_computes(monkeypatch, model):
    x, expected = signal_for(model.spec, 2, 9), None
    expected = dataclasses.asdict(hsmm.posteriors(model, x))
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "numba" else found(name)
    )
    inference.engine.cache_clear()
    try:
        assert not inference.is_compiled()
        for name, one in dataclasses.asdict(hsmm.posteriors(model, x)).items():
            assert np.abs(one - expected[name]).max() < 1e-12
        sentence = "compiled loops need numba: pip install 'tcnzoo[hsmm]'"
        assert_refused(BackendMissing, sentence, inference.engine, "compiled")
    finally:
        inference.engine.cache_clear()


@pytest.mark.parametrize("fields", [{}, {"output": "filtered"}])
def test_no_graph_is_written(fields, tmp_path):
    pytest.importorskip("onnx")
    spec = hsmm_spec(**fields)
    model = tcnzoo.create(spec, "numpy", weights=random_weights(spec))
    assert isinstance(model, Hsmm)
    with pytest.raises(SpecError, match="hsmm is a recursion over time") as caught:
        tcnzoo.export(model, tmp_path / "model.onnx", to="onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
