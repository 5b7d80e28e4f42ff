"""The compiled step equals the float64 reference, and its states are values."""

import numpy as np
import pytest

import tcnzoo
from tests.support.compare import assert_close, noise, reference, rows_for, weights_of
from tests.streaming.test_compiled_lowering import CASES

pytest.importorskip("numba")
from tcnzoo.streams.engine import Engine  # noqa: E402 - it needs numba

LENGTH = 29
CUTS = {"ragged": [0, 1, 1, 4, 5, 17], "single": [*range(1, LENGTH)], "whole": []}


@pytest.fixture(autouse=True)
def engine():
    """The one that is tested; see conftest."""


def engine_of(spec, weights):
    return Engine(spec, weights, spec.state(), np.asarray)


def start(spec, batch):
    return tcnzoo.models.streaming.initial_state(spec.state(), batch, "float32")


def fed(engine, x, cuts, rows, state):
    edges, pieces = [0, *cuts, x.shape[2]], []
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        part = [row[:, :, begin:end] if row.ndim == 3 else row for row in rows]
        chunk = np.ascontiguousarray(x[:, :, begin:end])
        y, state = engine.step(chunk, state, part)
        pieces.append(y)
    return np.concatenate(pieces, axis=2), state


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_chunks_equal_the_reference(name, batch, cuts):
    spec = tcnzoo.load_spec(CASES[name])
    weights = weights_of(spec)
    x = noise(batch, spec.input_channels, LENGTH).astype(np.float32)
    rows = [row.astype(np.float32) for row in rows_for(spec, batch, LENGTH)]
    model = reference(spec, weights)
    expected, after = tcnzoo.step(model, x, tcnzoo.init_state(model, batch), embeddings=rows)
    y, state = fed(engine_of(spec, weights), x, CUTS[cuts], rows, start(spec, batch))
    assert_close(y, expected)
    assert dict(state).keys() == after.keys()
    for entry, array in after.items():
        if not entry.endswith("mean_low"):
            assert_close(state[entry], array, label=entry)
