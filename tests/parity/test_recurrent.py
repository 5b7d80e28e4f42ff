"""LSTM and GRU: torch's own layers, streams, and what does not travel back in time."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tests.support.compare import assert_close, noise, reference, weights_of

KINDS = ("lstm", "gru")


def layer(kind, **fields):
    return {"kind": kind, "in_channels": 3, "hidden": 5, **fields}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("fields", [{}, {"layers": 3}, {"layers": 2, "bidirectional": True},
                                    {"bias": False}])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_torch_gives_the_same(kind, fields, size):
    torch = pytest.importorskip("torch")
    spec = layer(kind, **fields)
    weights, x = weights_of(spec), size * noise(2, 3, 17).astype(np.float64)
    options = {"num_layers": fields.get("layers", 1), "batch_first": True}
    options |= {name: fields[name] for name in ("bidirectional", "bias") if name in fields}
    peer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](3, 5, **options).double()
    # The names are torch's own.
    peer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    expected = peer(torch.tensor(x).transpose(1, 2))[0].transpose(1, 2).detach().numpy()
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, tolerance=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_goes_on_in_any_chunks(kind, backend):
    spec = layer(kind, layers=2)
    weights, x = weights_of(spec), noise(2, 3, 12)
    whole = tcnzoo.predict(reference(spec, weights), x)
    model = tcnzoo.create(spec, backend, weights=weights)
    state, pieces, start = tcnzoo.init_state(model, 2), [], 0
    for length in (1, 0, 4, 7):
        y, state = tcnzoo.step(model, x[:, :, start : start + length], state)
        pieces.append(np.asarray(y))
        start += length
    assert_close(np.concatenate(pieces, axis=2), whole)
    names = {"lstm": {"h", "c"}, "gru": {"h"}}[kind]
    shapes = {name: np.asarray(state[name]).shape for name in state}
    assert shapes == dict.fromkeys(names, (2, 2, 5))
    assert_close(np.asarray(state["h"])[:, 1], whole[:, :, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_does_not_go_back_in_time(kind, backend):
    spec, x = layer(kind), noise(1, 3, 9)
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    clean = tcnzoo.predict(model, x)
    x[0, 1, 4] = np.nan
    y = tcnzoo.predict(model, x)
    assert_close(y[:, :, :4], clean[:, :, :4])
    assert np.isnan(y[:, :, 4:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_cannot_stream(kind, backend):
    model = tcnzoo.create(layer(kind, bidirectional=True), backend)
    with pytest.raises(InputError, match=f"a bidirectional {kind} begins at the end, too"):
        tcnzoo.init_state(model)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_a_signal(kind, backend):
    spec, x = layer(kind, bidirectional=True), noise(2, 3, 1)
    weights = weights_of(spec)
    found = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x)
    assert_close(found, tcnzoo.predict(reference(spec, weights), x))
