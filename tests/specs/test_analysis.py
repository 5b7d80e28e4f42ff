"""Shapes, counts, cost, receptive field and latency against numbers worked out by hand."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.specs import analysis

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3, "dilation": 2}
STRIDED = {
    "kind": "sequential",
    "layers": {
        "first": {**CONV, "kernel_size": 5, "dilation": 1, "stride": 2, "padding": "valid"},
        "second": {**CONV, "in_channels": 5, "out_channels": 7, "padding": "valid"},
    },
}
TCN = {
    "kind": "tcn",
    "in_channels": 3,
    "channels": [4, 5, 5],
    "kernel_size": 3,
    "skip_connections": True,
    "output_projection": 2,
}


def described(document, length=None):
    return analysis.describe(tcnzoo.load_spec(document), length)


def test_one_convolution():
    found = described(CONV, 37)
    assert found.input_shape == (3, 37)
    assert found.output_shape == (5, 37)
    assert found.trainable == 3 * 5 * 3 + 5
    assert found.macs == 37 * 5 * 3 * 3
    assert found.receptive_field == 1 + 2 * 2
    assert found.latency == 0
    assert found.state_values == 3 * 4
    assert [row.path for row in found.layers] == ["output"]


def test_strides_multiply_what_follows():
    found = described(STRIDED, 37)
    first, second = found.layers
    assert (first.output_shape, second.output_shape) == ((5, 17), (7, 13))
    assert (first.macs, second.macs) == (17 * 5 * 3 * 5, 13 * 7 * 5 * 3)
    assert found.macs == first.macs + second.macs
    assert (first.receptive_field, second.receptive_field) == (5, 5 + 2 * 4)
    assert found.stride == "2"
    # `valid` waits for its last tap: 4 steps, and 4 steps of the strided signal.
    assert found.latency == 4 + 2 * 4


def test_latency_is_when_the_first_output_comes():
    spec = tcnzoo.load_spec(STRIDED)
    model = tcnzoo.create(spec, "numpy")
    state, fed = tcnzoo.init_state(model), 0
    while True:
        y, state = tcnzoo.step(model, np.ones((1, 3, 1)), state)
        if y.shape[2]:
            break
        fed += 1
    assert fed == analysis.describe(spec).latency


def test_tcn_rows_name_blocks_skips_and_projection():
    found = described(TCN, 37)
    rows = {row.path: row for row in found.layers}
    assert list(rows) == [
        "blocks.0", "blocks.1", "blocks.2", "skips.0", "activation", "output",
    ]  # fmt: skip
    # Kernels, biases and weight-norm gains of both convolutions, and the 1x1 residual.
    assert rows["blocks.0"].trainable == (3 * 4 * 3 + 4 + 4) + (4 * 4 * 3 + 4 + 4) + (3 * 4 + 4)
    assert rows["blocks.0"].macs == 37 * (3 * 4 * 3 + 4 * 4 * 3 + 3 * 4)
    assert rows["skips.0"].output_shape == (5, 37)
    assert [rows[f"blocks.{level}"].receptive_field for level in range(3)] == [5, 13, 29]
    assert rows["skips.0"].receptive_field == 5
    assert sum(row.macs for row in found.layers) == found.macs
    assert sum(row.trainable for row in found.layers) == found.trainable


@pytest.mark.parametrize(
    "name, trainable, buffers, field, latency",
    [
        ("deepepi", 97_362, 1_344, 125, None),
        ("tcn-eeg-encoder", 12_103_040, 0, 457 + 15, 15),
        ("tcn-eeg-encoder-rf12s", 12_103_040, 0, 3061 + 15, 15),
    ],
)
def test_presets(name, trainable, buffers, field, latency):
    found = described(name, 3200)
    assert (found.trainable, found.buffers) == (trainable, buffers)
    assert found.receptive_field == field
    assert found.latency == latency
    assert sum(row.macs for row in found.layers) == found.macs


def test_global_pool_is_named_and_stands_against_streaming():
    found = described("deepepi", 750)
    assert found.whole_signal == ("pool",)
    assert "needs the whole signal" in found.obstacle
    assert found.state_values == 0


def test_upsampling_halves_the_stride():
    found = described({"kind": "upsample", "factor": 2}, 10)
    assert (found.output_shape, found.stride) == ((2, 20), "1/2")


@pytest.mark.parametrize("document, length", [(CONV, 1), (STRIDED, 13), (TCN, 1), ("deepepi", 125)])
def test_min_length(document, length):
    assert tcnzoo.load_spec(document).min_length() == length


def test_min_length_is_the_edge():
    spec = tcnzoo.load_spec({**TCN, "padding_mode": "reflect"})
    shortest = spec.min_length()
    # The widest padding is (3 - 1) * 4 steps, and reflection needs one more than that.
    assert shortest == 9
    with pytest.raises(InputError, match="reflect padding"):
        spec.output_shape((3, shortest - 1))


def test_length_below_one_is_refused():
    with pytest.raises(InputError, match="input_length must be at least 1, but is 0"):
        described(CONV, 0)


def test_default_length_fills_the_receptive_field():
    assert described(TCN).input_shape == (3, 29)
    assert described("deepepi").input_shape == (1, 125)
