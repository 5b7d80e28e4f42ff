"""What cannot stream is refused with the reason, and so is a chunk or state that does not fit."""

import numpy as np
import pytest

import tcnzoo
from tests.support.tcns import tcn

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}
UP = {
    "kind": "conv_transpose1d",
    "in_channels": 3,
    "out_channels": 5,
    "kernel_size": 4,
    "stride": 2,
}
REFUSED = {
    "non-causal": (tcn(causal=False), "blocks.0.conv1: padding 'same' looks ahead"),
    "global-se": (
        tcn(squeeze_excitation="global"),
        "blocks.0.se: squeeze-and-excitation with pool 'global' needs the whole signal",
    ),
    "reflect": (
        tcn(padding_mode="reflect"),
        "blocks.0.conv1: padding_mode 'reflect' fills the start",
    ),
    "circular": (
        {**CONV, "padding_mode": "circular"},
        "conv1d: padding_mode 'circular' fills the start",
    ),
    "same": ({**CONV, "padding": "same"}, "use padding 'causal' or 'valid'"),
    "transposed-same": ({**UP, "padding": "same"}, "padding 'same' looks ahead"),
    "transposed-valid": ({**UP, "padding": "valid"}, "ends with 2 more steps after the last input"),
    "pool": ({"kind": "pool"}, "pool: mode 'global_average' needs the whole signal"),
    "linear": ({"kind": "upsample", "factor": 2, "mode": "linear"}, "needs the next step"),
    "deepepi": (
        "deepepi",
        "pool: mode 'global_average' needs the whole signal, so it cannot stream",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(backend, name):
    spec, sentence = REFUSED[name]
    model = tcnzoo.create(spec, backend)
    channels = tcnzoo.load_spec(spec).input_channels or 3
    for call in (
        lambda: tcnzoo.init_state(model),
        lambda: tcnzoo.step(model, np.zeros((1, channels, 4)), {}),
    ):
        with pytest.raises(tcnzoo.InputError, match="^this model cannot stream: ") as caught:
            call()
        assert sentence in str(caught.value)


def test_padding_that_adds_nothing_is_no_obstacle(backend):
    pointwise = {**CONV, "kernel_size": 1, "padding": "same", "padding_mode": "reflect"}
    model = tcnzoo.create(pointwise, backend)
    assert tcnzoo.step(model, np.zeros((1, 3, 4)), tcnzoo.init_state(model))[0].shape == (1, 5, 4)


def _step(backend, chunk=None, change=None, embeddings=None):
    """One step of a model with two embeddings, on a state after `change`."""
    model = tcnzoo.create(tcn("add", "cumulative"), backend)
    state = dict(tcnzoo.init_state(model, 2))
    (change or (lambda state: None))(state)
    rows = [np.zeros((2, 4)), np.zeros((2, 3, 6))] if embeddings is None else embeddings
    chunk = np.zeros((2, 3, 6)) if chunk is None else chunk
    return tcnzoo.step(model, chunk, state, embeddings=rows)


def test_what_fits_is_taken(backend):
    assert _step(backend)[0].shape == (2, 6, 6)


WRONG = {
    "rank": (
        {"chunk": np.zeros((2, 3))},
        r"a chunk must be \(batch, 3, time\), but has shape \(2, 3\)",
    ),
    "channels": (
        {"chunk": np.zeros((2, 4, 6))},
        r"a chunk must be \(batch, 3, time\), but has shape \(2, 4, 6\)",
    ),
    "batch": (
        {"chunk": np.zeros((1, 3, 6)), "embeddings": [np.zeros((1, 4)), np.zeros((1, 3, 6))]},
        r"state 'blocks.0.conv1.context' must have shape \(1, 3, 2\) for a chunk of batch size 1, "
        r"but has \(2, 3, 2\)",
    ),
    "state-missing": (
        {"change": lambda state: state.pop("blocks.1.se.mean")},
        "the state must have the .* arrays of this model, but 'blocks.1.se.mean' is missing",
    ),
    "state-unknown": (
        {"change": lambda state: state.update(other=np.zeros(3))},
        "but 'other' is unknown",
    ),
    "state-shape": (
        {"change": lambda state: state.update({"blocks.1.se.count": np.zeros(2, np.int32)})},
        r"state 'blocks.1.se.count' must have shape \(\) .* but has \(2,\)",
    ),
    "no-embeddings": ({"embeddings": []}, "the model takes 2 embeddings, but 0 came"),
    "embedding-length": (
        {"embeddings": [np.zeros((2, 4)), np.zeros((2, 3, 5))]},
        r"embedding 1 must have shape \(2, 3, 6\), but has \(2, 3, 5\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(backend, name):
    inputs, sentence = WRONG[name]
    with pytest.raises(tcnzoo.InputError, match=sentence):
        _step(backend, **inputs)


def test_batch_size_below_one_is_refused(backend):
    with pytest.raises(tcnzoo.InputError, match="batch_size must be at least 1, but is 0"):
        tcnzoo.init_state(tcnzoo.create(CONV, backend), 0)
