"""Param tables: names, shapes and numbers of values, counted by hand."""

import pytest

import tcnzoo
from tcnzoo.specs.params import count
from tests.support.cases import BLOCKS
from tests.support.tcns import tcn


def _count(spec):
    return tuple(count(tcnzoo.load_spec(spec).params()))


def test_deepepi_by_hand():
    filters = [1, 16] + [32] * 11 + [64] * 2
    widths = [64, 64, 64, 32, 16]
    convolutions = sum(5 * a * b + b for a, b in zip(filters[:-1], filters[1:], strict=True))
    dense = sum(a * b + b for a, b in zip(widths[:-1], widths[1:], strict=True))
    normed = sum(filters[1:]) + sum(widths[1:])
    assert _count("deepepi") == (convolutions + dense + 2 * normed + 16 * 2 + 2, 2 * normed)
    assert _count("deepepi") == _count("deepepi-osd") == (97_362, 1_344)


def test_encoder_by_hand():
    body = _temporal_blocks([19, 64, 128, 256, 512, 64, 128, 256, 512], 7)
    gains = 2 * sum([64, 128, 256, 512] * 2)
    downsample = 512 * 512 * 16 + 512
    assert (body, body + gains) == (7_904_384, 7_908_224)
    for name in ("tcn-eeg-encoder", "tcn-eeg-encoder-rf12s"):
        assert _count(name) == (body + gains + downsample, 0) == (12_103_040, 0)
    plain = tcnzoo.load_spec("tcn-eeg-encoder", **{"layers.tcn.norm": None})
    assert _count(plain) == (body + downsample, 0)


def _temporal_blocks(widths, taps):
    """Kernels and biases of ungated blocks."""
    total = 0
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        total += taps * a * b + b + taps * b * b + b + (a * b + b if a != b else 0)
    return total


def test_squeeze_excitation_by_hand():
    spec = {"kind": "squeeze_excitation", "channels": 128, "reduction": 8}
    assert _count(spec) == (128 * 16 + 16 + 16 * 128 + 128, 0) == (4_240, 0)
    assert _count({**spec, "reduction": 0}) == (128 * 128 + 128, 0)
    assert _count({**spec, "reduction": 500}) == (128 + 1 + 128 + 128, 0)
    uneven = {**spec, "channels": 11, "reduction": 4}  # two units: rounded down
    assert _count(uneven) == (11 * 2 + 2 + 2 * 11 + 11, 0)


def test_tcn_with_everything_by_hand():
    spec = tcn(
        "concat",
        "cumulative",
        gate=True,
        skip_connections=True,
        norm="batch_norm",
        output_projection=2,
    )
    total, buffers = 0, 0
    for a, c in ((3, 4), (4, 4), (4, 6)):
        total += 3 * a * 2 * c + 2 * c + 3 * c * c + c  # conv1, conv2
        total += 7 * 2 * c + 2 * c + 4 * c * 2 * c + 2 * c  # embeddings of 4 + 3 channels
        total += 2 * 2 * c + 2 * c  # norm1, norm2
        buffers += 2 * 2 * c + 2 * c
        total += c * (c // 2) + c // 2 + (c // 2) * c + c  # se
        total += a * c + c if a != c else 0  # residual
    total += 2 * (4 * 6 + 6) + 6 * 2 + 2  # skips, output
    assert _count(spec) == (total, buffers)


def test_table_of_a_gated_block():
    spec = tcnzoo.load_spec(
        {"kind": "temporal_block", "in_channels": 3, "channels": 5, "kernel_size": 2, "gate": True}
    )
    assert {name: param.shape for name, param in spec.params().items()} == {
        "conv1.weight_v": (10, 3, 2),
        "conv1.weight_g": (10, 1, 1),
        "conv1.bias": (10,),
        "conv2.weight_v": (5, 5, 2),
        "conv2.weight_g": (5, 1, 1),
        "conv2.bias": (5,),
        "residual.weight": (5, 3, 1),
        "residual.bias": (5,),
    }


def test_grouped_and_transposed_kernels():
    conv = {"kind": "conv1d", "in_channels": 6, "out_channels": 9, "kernel_size": 2, "groups": 3}
    assert tcnzoo.load_spec(conv).params()["weight"].shape == (9, 2, 2)
    up = {"kind": "conv_transpose1d", "in_channels": 3, "out_channels": 5, "kernel_size": 2}
    params = tcnzoo.load_spec({**up, "weight_norm": True}).params()
    assert params["weight_v"].shape == (3, 5, 2)
    assert params["weight_g"].shape == (1, 5, 1)


@pytest.mark.parametrize("name", ["conv_block-batch_norm", "temporal_block", "sequential-nested"])
def test_native_module_holds_as_many(backend, name):
    spec = BLOCKS[name][0]
    assert tcnzoo.count_params(tcnzoo.create(spec, backend)) == _count(spec)


def test_weights_come_in_table_order(backend):
    spec = tcnzoo.load_spec(tcn("add", "global", norm="batch_norm"))
    table = spec.params()
    weights = tcnzoo.get_weights(tcnzoo.create(spec, backend))
    assert list(weights) == list(table)
    assert all(array.shape == table[name].shape for name, array in weights.items())
