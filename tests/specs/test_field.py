"""Receptive field, causality and delay: measured by an impulse, and compared with the spec."""

import numpy as np
import pytest

import tcnzoo
from tests.support.cases import NORMS
from tests.support.compare import noise, reference, rows_for, weights_of
from tests.support.tcns import tcn

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 3, "kernel_size": 3}
UP = {
    "kind": "conv_transpose1d",
    "in_channels": 3,
    "out_channels": 3,
    "kernel_size": 5,
    "stride": 2,
}
NEAREST = {"kind": "upsample", "factor": 2}


def _sequence(*layers):
    return {"kind": "sequential", "layers": {f"l{place}": one for place, one in enumerate(layers)}}


def influence(spec, length):
    """Boolean (input step, output step): whether moving that input moves that output."""
    model = reference(spec, weights_of(spec))
    x, rows = noise(1, 3, length), rows_for(spec, 1, length)
    still = tcnzoo.predict(model, x, embeddings=rows)
    moved = []
    for step in range(length):
        bumped = x.copy()
        bumped[:, :, step] += 1.0
        moved.append(
            np.abs(tcnzoo.predict(model, bumped, embeddings=rows) - still).max(axis=(0, 1))
        )
    return np.array(moved) > 1e-13


def extent(column):
    """Steps from the first to the last input that moves an output."""
    places = np.flatnonzero(column)
    return places[-1] - places[0] + 1


COMPOSED = {
    "conv": CONV,
    "dilated": {**CONV, "dilation": 4},
    "same": {**CONV, "kernel_size": 4, "padding": "same", "dilation": 3},
    "strided": _sequence({**CONV, "stride": 3}, {**CONV, "dilation": 2}),
    "valid": _sequence({**CONV, "padding": "valid", "stride": 2}, {**CONV, "padding": "valid"}),
    "transposed": UP,
    "transposed-then-conv": _sequence(UP, {**CONV, "kernel_size": 4}),
    "down-then-up": _sequence({**CONV, "stride": 2}, NEAREST, CONV),
    "linear": {"kind": "upsample", "factor": 3, "mode": "linear"},
    "linear-by-one": {"kind": "upsample", "factor": 1, "mode": "linear"},
    "block": {
        "kind": "conv_block", **{k: v for k, v in CONV.items() if k != "kind"}, "dilation": 2,
        "norm": "layer_norm", "activation": "gelu",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_field_of_a_composition_is_what_an_impulse_shows(name):
    spec = tcnzoo.load_spec(COMPOSED[name])
    seen = influence(spec, 40)
    inner = seen[:, seen.shape[1] // 3 : -seen.shape[1] // 3]
    assert max(extent(column) for column in inner.T) == spec.receptive_field()


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_field_of_a_tcn_is_what_an_impulse_shows(norm, gate):
    options = {"norm": norm, "gate": gate, "activation": "tanh", "skip_connections": True}
    spec = tcnzoo.load_spec(tcn("add", dilations=[1, 2, 1], **options))
    assert spec.receptive_field() == 1 + 2 * 2 * (1 + 2 + 1)
    seen = influence(spec, 40)
    assert extent(seen[:, -1]) == 17
    assert not np.tril(seen, -1).any(), "an output moved before its input did"


@pytest.mark.parametrize("kernel_size", [2, 3, 4])
def test_field_of_a_non_causal_tcn_is_as_wide_on_both_sides(kernel_size):
    options = {"kernel_size": kernel_size, "dilations": [1, 3], "channels": [4, 4]}
    spec = tcnzoo.load_spec(tcn(**options, causal=False, activation="tanh"))
    seen = influence(spec, 60)
    assert extent(seen[:, 30]) == spec.receptive_field() == 1 + 2 * (kernel_size - 1) * 4
    left = sum(2 * ((kernel_size - 1) * d // 2) for d in (1, 3))
    assert 30 - np.flatnonzero(seen[:, 30])[0] == left


def test_cumulative_squeeze_excitation_sees_all_of_the_past_and_nothing_else():
    seen = influence(tcn(squeeze_excitation="cumulative", activation="tanh"), 30)
    np.testing.assert_array_equal(seen, np.triu(np.ones((30, 30), bool)))


def test_global_squeeze_excitation_sees_everything_and_the_spec_says_so():
    spec = tcnzoo.load_spec(tcn(squeeze_excitation="global", activation="tanh"))
    assert influence(spec, 30).all()
    assert spec.whole_signal() == ["blocks.0.se", "blocks.1.se", "blocks.2.se"]


@pytest.mark.parametrize(
    "reset, dilations",
    [
        (16, (1, 2, 4, 8, 16, 1, 2, 4)),
        (1, (1,) * 8),
        (3, (1, 2) * 4),
        (4, (1, 2, 4, 1, 2, 4, 1, 2)),
        (None, (1, 2, 4, 8, 16, 32, 64, 128)),
    ],
)
def test_dilation_reset_has_period_log2_of_twice_itself(reset, dilations):
    spec = tcnzoo.load_spec(tcn(channels=[4] * 8, dilation_reset=reset))
    assert spec.dilation_of == dilations
    assert spec.receptive_field() == 1 + 2 * 2 * sum(dilations)


def test_fields_of_the_encoders():
    with_reset = tcnzoo.load_spec("tcn-eeg-encoder").layers["tcn"]
    without = tcnzoo.load_spec("tcn-eeg-encoder-rf12s").layers["tcn"]
    assert (with_reset.receptive_field(), without.receptive_field()) == (457, 3061)
    assert tcnzoo.load_spec("tcn-eeg-encoder").receptive_field() == 457 + 15


STREAMED = [
    "conv",
    "dilated",
    "strided",
    "valid",
    "transposed",
    "transposed-then-conv",
    "down-then-up",
    "block",
]


@pytest.mark.parametrize("name", STREAMED)
def test_delay_is_what_streaming_shows(name):
    spec = tcnzoo.load_spec(COMPOSED[name])
    field, model = spec.field(), reference(spec, weights_of(spec))
    state, born = tcnzoo.init_state(model), []
    for place in range(30):
        y, state = tcnzoo.step(model, noise(1, 3, 1), state)
        born += [place] * y.shape[2]
    waits = [place - int(index * field.stride) for index, place in enumerate(born)]
    assert max(waits) == field.delay
