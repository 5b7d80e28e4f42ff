"""Multiply-accumulates, counted by hand."""

import pytest

import tcnzoo
from tests.support.tcns import tcn


@pytest.mark.parametrize(
    "spec, macs",
    [
        (dict(kind="conv1d", in_channels=6, out_channels=9, kernel_size=4), 37 * 9 * 6 * 4),
        (
            dict(kind="conv1d", in_channels=6, out_channels=9, kernel_size=4, groups=3),
            37 * 9 * 2 * 4,
        ),
        (
            dict(
                kind="conv1d",
                in_channels=6,
                out_channels=9,
                kernel_size=4,
                stride=2,
                padding="valid",
            ),
            17 * 9 * 6 * 4,
        ),
        (
            dict(kind="conv_transpose1d", in_channels=6, out_channels=9, kernel_size=4, stride=2),
            37 * 216,
        ),
        (dict(kind="dense", in_features=6, out_features=9), 37 * 54),
        (dict(kind="batch_norm", channels=6), 37 * 6),
        (dict(kind="activation", name="gelu"), 0),
        (dict(kind="pool"), 0),
        (dict(kind="squeeze_excitation", channels=6, reduction=2), 18 + 18 + 6 * 37),
        (
            dict(kind="squeeze_excitation", channels=6, reduction=2, pool="cumulative"),
            37 * (18 + 18 + 6),
        ),
        (
            dict(
                kind="conv_block",
                in_channels=6,
                out_channels=9,
                kernel_size=4,
                stride=2,
                norm="batch_norm",
            ),
            19 * 9 * 6 * 4 + 19 * 9,
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_block_by_hand(spec, macs):
    assert tcnzoo.load_spec(spec).macs(37) == macs


def test_tcn_by_hand():
    spec = tcnzoo.load_spec(
        tcn(gate=True, skip_connections=True, output_projection=2, norm="layer_norm")
    )
    total = 0
    for a, c in ((3, 4), (4, 4), (4, 6)):
        total += 3 * a * 2 * c + 3 * c * c + (a * c if a != c else 0)  # convolutions
        total += 2 * c + c  # norms
    total += 4 * 6 + 4 * 6 + 6 * 2  # skips, output
    assert spec.macs(37) == 37 * total


def test_sequential_counts_each_layer_at_its_own_length():
    conv = {"kind": "conv1d", "in_channels": 3, "out_channels": 3, "kernel_size": 5, "stride": 2}
    layers = {"a": conv, "b": conv, "pool": {"kind": "pool"}}
    layers["c"] = {"kind": "dense", "in_features": 3, "out_features": 4}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    assert spec.macs(37) == 19 * 45 + 10 * 45 + 12


def test_encoder_by_hand():
    widths = [19, 64, 128, 256, 512, 64, 128, 256, 512]
    kernels = sum(
        7 * a * b + 7 * b * b + (a * b if a != b else 0)
        for a, b in zip(widths[:-1], widths[1:], strict=True)
    )
    assert tcnzoo.load_spec("tcn-eeg-encoder").macs(15360) == 15360 * kernels + 960 * 512 * 512 * 16
