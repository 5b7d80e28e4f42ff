"""The state moves between backends, and to disk and back, in mid-stream."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.checkpoints.directory import read_safetensors, write_safetensors
from tests.support.compare import (
    assert_close,
    assert_same_bits,
    noise,
    reference,
    rows_for,
    stream,
    weights_of,
)
from tests.support.streams import STREAMED, STREAMED_TCNS

MOVED = {
    **{name: STREAMED[name] for name in ("down-down-up-up", "up-down-se", "conv1d-replicate-s2")},
    **{
        name: STREAMED_TCNS[name]
        for name in ("none-concat-gate-se", "layer_norm-add-se", "downsampled")
    },
}
LENGTH, CUT = 29, 13


def _parts(rows):
    """Embeddings of the first and of the second part of the signal."""
    first = [row[:, :, :CUT] if row.ndim == 3 else row for row in rows]
    return first, [row[:, :, CUT:] if row.ndim == 3 else row for row in rows]


@pytest.fixture(scope="module")
def models():
    """Build each model once."""
    kept = {}

    def build(name, backend):
        if (name, backend) not in kept:
            weights = weights_of(MOVED[name])
            kept[name, backend] = tcnzoo.create(MOVED[name], backend, weights=weights)
        return kept[name, backend]

    return build


@pytest.fixture(params=MOVED)
def signal(request):
    """(name, x, embeddings of both parts, float64 offline output)."""
    name = request.param
    spec, x = tcnzoo.load_spec(MOVED[name]), noise(2, 3, LENGTH)
    rows = rows_for(spec, 2, LENGTH)
    answer = tcnzoo.predict(reference(spec, weights_of(spec)), x, embeddings=rows)
    return name, x, _parts(rows), answer


def test_any_backend_continues_what_another_began(backend, backends, models, signal):
    name, x, (before, after), answer = signal
    first, state = stream(models(name, backend), x[:, :, :CUT], [4, 5], before)
    for receiver in backends:
        rest, _ = stream(models(name, receiver), x[:, :, CUT:], [2, 3], after, state)
        label = f"{backend} to {receiver}"
        assert_close(np.concatenate([first, rest], axis=2), answer, label=label)


def test_state_survives_a_file(backend, models, signal, tmp_path):
    name, x, (before, after), answer = signal
    first, state = stream(models(name, backend), x[:, :, :CUT], [4], before)
    kept = {key: to_numpy(array) for key, array in state.items()}
    write_safetensors(tmp_path / "state.safetensors", kept)
    found, _ = read_safetensors(tmp_path / "state.safetensors")
    assert_same_bits({key: found[key] for key in kept}, kept)
    rest, _ = stream(models(name, backend), x[:, :, CUT:], [], after, found)
    assert_close(np.concatenate([first, rest], axis=2), answer)


def test_state_moves_at_every_step_round_all_backends(backends, models):
    name = "none-concat-gate-se"
    spec, x = tcnzoo.load_spec(MOVED[name]), noise(1, 3, LENGTH)
    rows = rows_for(spec, 1, LENGTH)
    state, pieces = tcnzoo.init_state(models(name, backends[0])), []
    for step in range(LENGTH):
        model = models(name, backends[step % len(backends)])
        part = [row[:, :, step : step + 1] if row.ndim == 3 else row for row in rows]
        y, state = tcnzoo.step(model, x[:, :, step : step + 1], state, embeddings=part)
        pieces.append(y)
    answer = tcnzoo.predict(reference(spec, weights_of(spec)), x, embeddings=rows)
    assert_close(np.concatenate(pieces, axis=2), answer)
