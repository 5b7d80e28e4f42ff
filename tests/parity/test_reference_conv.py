"""The float64 reference's convolutions against loops over every single product."""

import itertools

import numpy as np
import pytest

import tcnzoo
from tests.support import oracles
from tests.support.cases import MODES
from tests.support.compare import assert_close, noise, reference, weights_of

# Sums of a few dozen float64 products, in another order.
EXACT = 1e-13


def _run(spec, weights, x):
    return tcnzoo.predict(reference(spec, weights), x)


def _conv1d(x, **fields):
    spec = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 4, **fields}
    weights = weights_of(spec)
    names = ("stride", "dilation", "groups", "padding")
    options = {name: spec[name] for name in names if name in spec}
    kernel, bias = weights["weight"].astype(float), weights.get("bias")
    mode = spec.get("padding_mode", "zeros")
    return _run(spec, weights, x), oracles.conv1d(x, kernel, bias, mode=mode, **options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", ["causal", "same", "valid"])
def test_padding_equals_loop(padding, mode):
    for stride, dilation, kernel_size in itertools.product((1, 2), (1, 3), (1, 4, 5)):
        found, expected = _conv1d(
            noise(2, 3, 17), padding=padding, padding_mode=mode, stride=stride, dilation=dilation,
            kernel_size=kernel_size,
        )  # fmt: skip
        assert_close(found, expected, EXACT, f"stride {stride} dilation {dilation} k {kernel_size}")


@pytest.mark.parametrize("groups", [1, 3])
def test_groups_equal_loop(groups):
    found, expected = _conv1d(
        noise(2, 6, 13), in_channels=6, out_channels=9, groups=groups, stride=2
    )
    assert_close(found, expected, EXACT)


def test_padding_as_long_as_the_mode_allows():
    for mode, length in (("reflect", 10), ("circular", 9), ("replicate", 1), ("zeros", 1)):
        found, expected = _conv1d(noise(2, 3, length), dilation=3, padding_mode=mode)
        assert_close(found, expected, EXACT, mode)


@pytest.mark.parametrize("padding", ["causal", "same", "valid"])
@pytest.mark.parametrize(
    "k, s, d", [(1, 1, 1), (4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1), (3, 2, 3)]
)
def test_transposed_equals_loop(padding, k, s, d):
    spec = {
        "kind": "conv_transpose1d", "in_channels": 3, "out_channels": 5, "kernel_size": k,
        "stride": s, "dilation": d, "padding": padding,
    }  # fmt: skip
    if padding == "same" and (k - 1) * d + 1 < s:
        with pytest.raises(tcnzoo.SpecError, match="padding 'same' needs"):
            tcnzoo.load_spec(spec)
        return
    weights, x = weights_of(spec), noise(2, 3, 11)
    kernel = weights["weight"].astype(float)
    expected = oracles.conv_transpose1d(x, kernel, weights["bias"], s, d, padding)
    assert_close(_run(spec, weights, x), expected, EXACT)


@pytest.mark.parametrize("kind, out_axis", [("conv1d", 0), ("conv_transpose1d", 1)])
def test_weight_norm_equals_loop(kind, out_axis):
    spec = {
        "kind": kind, "in_channels": 3, "out_channels": 5, "kernel_size": 4, "stride": 2,
        "weight_norm": True,
    }  # fmt: skip
    weights, x = weights_of(spec), noise(2, 3, 11)
    kernel = oracles.weight_norm(weights["weight_v"], weights["weight_g"], out_axis)
    loop = oracles.conv1d if kind == "conv1d" else oracles.conv_transpose1d
    assert_close(_run(spec, weights, x), loop(x, kernel, weights["bias"], stride=2), EXACT)


def test_no_bias_means_zero_for_a_zero_input():
    for kind in ("conv1d", "conv_transpose1d"):
        spec = {"kind": kind, "in_channels": 3, "out_channels": 5, "kernel_size": 4, "bias": False}
        assert not _run(spec, weights_of(spec), np.zeros((2, 3, 11))).any()


def test_dense_equals_loop():
    spec = {"kind": "dense", "in_features": 3, "out_features": 5}
    weights, x = weights_of(spec), noise(2, 3, 11)
    kernel = weights["weight"].astype(float)[:, :, None]
    expected = oracles.conv1d(x, kernel, weights["bias"])
    assert_close(_run(spec, weights, x), expected, EXACT)
    assert_close(_run(spec, weights, x[:, :, 4]), expected[:, :, 4], EXACT)
