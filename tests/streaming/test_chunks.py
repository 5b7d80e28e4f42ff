"""Outputs of all chunks together equal the offline output, however the signal is cut."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

import tcnzoo
from tests.support.compare import assert_close, noise, reference, rows_for, stream, weights_of
from tests.support.streams import STREAMED, STREAMED_TCNS

LENGTH = 25


@st.composite
def cuttings(draw):
    """(batch size, places to cut at): chunks of 1 step up to the whole."""
    longest = draw(st.sampled_from([2, 5, LENGTH]))
    cuts, place = [], 0
    while True:
        place += draw(st.integers(1, longest))
        if place >= LENGTH:
            return draw(st.integers(1, 3)), cuts
        cuts.append(place)


@pytest.fixture(scope="module")
def model_and_answer():
    """Build each model once: (model, {batch: (x, embeddings, float64 offline output)})."""
    kept = {}

    def prepare(backend, name):
        if (backend, name) not in kept:
            spec = tcnzoo.load_spec(STREAMED.get(name) or STREAMED_TCNS[name])
            weights = weights_of(spec)
            answers = {}
            for batch in (1, 2, 3):
                x, rows = noise(batch, 3, LENGTH), rows_for(spec, batch, LENGTH)
                answer = tcnzoo.predict(reference(spec, weights), x, embeddings=rows)
                answers[batch] = x, rows, answer
            kept[backend, name] = tcnzoo.create(spec, backend, weights=weights), answers
        return kept[backend, name]

    return prepare


@pytest.mark.parametrize("name", [*STREAMED, *STREAMED_TCNS])
@settings(max_examples=3)
@example(cutting=(2, [*range(1, LENGTH)]))
@example(cutting=(1, []))
@given(cutting=cuttings())
def test_chunks_equal_whole(model_and_answer, backend, name, cutting):
    batch, cuts = cutting
    model, answers = model_and_answer(backend, name)
    x, rows, answer = answers[batch]
    found, _ = stream(model, x, cuts, rows)
    assert_close(found, answer, label=f"cuts {cuts}")


def test_offline_output_equals_the_reference_too(model_and_answer, backend):
    for name in STREAMED:
        model, answers = model_and_answer(backend, name)
        x, rows, answer = answers[2]
        assert_close(tcnzoo.predict(model, x, embeddings=rows), answer, label=name)


@pytest.mark.parametrize(
    "name", ["down-down-up-up", "up-down-se", "layer_norm-add-se", "conv1d-replicate-s2"]
)
def test_an_empty_chunk_changes_nothing(model_and_answer, backend, name):
    model, answers = model_and_answer(backend, name)
    x, rows, answer = answers[2]
    cuts = [0, 5, 5, 5, 20, 20]  # before the first step too
    assert_close(stream(model, x, cuts, rows)[0], answer)


def test_chunks_that_yield_no_output_are_empty(model_and_answer, backend):
    model, answers = model_and_answer(backend, "conv1d-valid-s3-k3-d4")
    x = answers[1][0]
    state, lengths = tcnzoo.init_state(model), []
    for step in range(12):
        y, state = tcnzoo.step(model, x[:, :, step : step + 1], state)
        lengths.append(y.shape)
    assert lengths == [(1, 5, 0)] * 8 + [(1, 5, 1)] + [(1, 5, 0)] * 2 + [(1, 5, 1)]


def test_the_given_state_is_not_changed(model_and_answer, backend):
    for name in ("none-concat-gate-se", "down-down-up-up", "conv1d-replicate-s1"):
        model, answers = model_and_answer(backend, name)
        x, rows, _ = answers[2]
        _, state = stream(
            model, x[:, :, :10], [3], [row[:, :, :10] if row.ndim == 3 else row for row in rows]
        )
        kept = {key: np.array(value, copy=True) for key, value in _numpy(state).items()}
        part = [row[:, :, 10:] if row.ndim == 3 else row for row in rows]
        first, _ = stream(model, x[:, :, 10:], [13], part, state)
        np.testing.assert_equal(_numpy(state), kept)
        again, _ = stream(model, x[:, :, 10:], [13], part, state)
        assert_close(first, again)  # a step that recurs is compiled, and then rounds otherwise


def _numpy(state):
    return {name: tcnzoo.arrays.to_numpy(array) for name, array in state.items()}


def test_state_has_the_names_shapes_and_types_of_the_spec(model_and_answer, backend):
    model, answers = model_and_answer(backend, "downsampled")
    x, rows, _ = answers[3]
    table = tcnzoo.load_spec(STREAMED_TCNS["downsampled"]).state()
    _, after = stream(model, x, [8], rows)
    for state in (tcnzoo.init_state(model, 3), after):
        assert set(state) == set(table)
        for name, item in table.items():
            array = tcnzoo.arrays.to_numpy(state[name])
            assert array.shape == ((3, *item.shape) if item.batched else ()), name
            assert array.dtype == item.dtype("float32"), name


def test_a_long_stream_does_not_drift(backend):
    # The cumulative mean of 20,000 steps, in chunks of 1,000; the offset makes rounding visible.
    spec = {"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative", "reduction": 2}
    weights, x = weights_of(spec), noise(1, 3, 20_000) + 3.0
    model = tcnzoo.create(spec, backend, weights=weights)
    found, _ = stream(model, x, range(1_000, 20_000, 1_000))
    assert_close(found, tcnzoo.predict(reference(spec, weights), x))


@pytest.mark.parametrize("name", ["tcn-base", "tcn-se-gated", "tcn-eeg-encoder"])
def test_streamable_presets(backend, name):
    spec = tcnzoo.load_spec(name)
    weights, x = weights_of(spec), noise(1, spec.input_channels, 35)
    model = tcnzoo.create(spec, backend, weights=weights)
    expected = tcnzoo.predict(reference(spec, weights), x)
    assert_close(stream(model, x, [1, 18])[0], expected)
