"""Toom-Cook convolutions: exact matrices, values, gradients, and the rounding that they add."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import tcnzoo
from tcnzoo import engines
from tcnzoo.backends.torch.kernels import toom_cook, toom_points
from tcnzoo.backends.torch.kernels.toom_cook import ToomCook
from tcnzoo.backends.torch.kernels.toom_points import POINTS, TILE
from tests.support.compare import noise, reference, weights_of

USUAL = ["0", "1", "-1", "1/2", "-1/2", "2", "-2", "1/4", "-1/4"]
# In float64 what is left is rounding, grown by less than 20 (see `growth`), over a thousand terms.
FLOAT64 = 1e-11


def _fractions(*shape):
    values = np.random.default_rng(3).integers(-9, 10, shape)
    return np.vectorize(lambda value: Fraction(int(value), 7))(values)


@pytest.mark.parametrize("taps", POINTS)
def test_the_matrices_are_exact(taps):
    points = [Fraction(0), *(s * Fraction(p) for p in POINTS[taps] for s in (1, -1))]
    outputs, kernel, inputs = (
        np.array(rows, dtype=object) for rows in toom_points.exact(TILE, taps, points)
    )
    x, w = _fractions(TILE + taps - 1), _fractions(taps)
    expected = [sum(w[tap] * x[step + tap] for tap in range(taps)) for step in range(TILE)]
    assert list(outputs @ ((kernel @ w) * (inputs @ x))) == expected


@pytest.mark.parametrize("points", [["0", "1"], ["0", "1", "-1", "1", "2"]])
def test_other_numbers_of_points_and_repeated_ones_are_refused(points):
    with pytest.raises(ValueError, match=r"F\(4, 3\) takes 5 different points"):
        toom_points.exact(4, 3, [Fraction(point) for point in points])


def test_the_points_keep_rounding_small():
    limits = {3: 3, 5: 6, 7: 14}
    assert all(toom_points.matrices(taps).growth < limits[taps] for taps in POINTS)
    rows = toom_points.exact(4, 7, [Fraction(point) for point in USUAL])
    usual = toom_points.Matrices(*(np.array(row, dtype=float) for row in rows))
    assert usual.growth > 70


def _tensors(taps, length, inside=3, outside=5, batch=3):
    shapes = (batch, inside, length), (outside, inside, taps), (outside,)
    return [torch.from_numpy(noise(*shape)).requires_grad_() for shape in shapes]


def _plain(x, weight, bias, dilation, pads):
    return F.conv1d(F.pad(x, pads), weight, bias, dilation=dilation)


def _cases():
    for taps in POINTS:
        for dilation, length in ((1, 1), (1, 37), (2, 3), (3, 64), (5, 41), (40, 7), (40, 100)):
            reach = (taps - 1) * dilation
            yield taps, dilation, length, (reach, 0)
            yield taps, dilation, length, (reach // 2, reach - reach // 2)


@pytest.mark.parametrize("steps", [8, 512])
@pytest.mark.parametrize("case", list(_cases()), ids=str)
def test_values_and_gradients_are_those_of_the_plain_form(monkeypatch, case, steps):
    taps, dilation, length, pads = case
    monkeypatch.setattr(toom_cook, "STEPS", steps)  # so that there are several blocks
    monkeypatch.setattr(toom_cook, "STEPS_BACK", steps)
    tensors = _tensors(taps, length)
    pairs = []
    for compute in (_plain, ToomCook.apply):
        y = compute(*tensors, dilation, pads)
        slopes = torch.autograd.grad(y, tensors, torch.from_numpy(noise(*y.shape)))
        pairs.append([y.detach(), *slopes])
    for expected, found in zip(*pairs, strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= FLOAT64 * max(1, expected.abs().max())


@pytest.mark.parametrize(
    "wanted", [(True, False, False), (False, True, False), (False, True, True)]
)
def test_only_gradients_that_are_asked_for_are_computed(wanted):
    tensors = _tensors(5, 23)
    for tensor, needed in zip(tensors, wanted, strict=True):
        tensor.requires_grad_(needed)
    leaves = [tensor for tensor in tensors if tensor.requires_grad]
    one, other = (
        torch.autograd.grad(compute(*tensors, 2, (8, 0)).square().sum(), leaves)
        for compute in (_plain, ToomCook.apply)
    )
    for expected, found in zip(one, other, strict=True):
        assert (found - expected).abs().max() <= FLOAT64 * expected.abs().max()


def test_gradients_of_gradients():
    x, weight, bias = _tensors(3, 9, inside=2, outside=2, batch=2)
    assert torch.autograd.gradcheck(
        lambda *tensors: ToomCook.apply(*tensors, 2, (4, 0)), (x, weight, bias)
    )
    assert torch.autograd.gradgradcheck(
        lambda *tensors: ToomCook.apply(*tensors, 2, (4, 0)), (x, weight, bias)
    )


def test_no_bias():
    x, weight, _ = _tensors(7, 20)
    found, expected = ToomCook.apply(x, weight, None, 1, (6, 0)), _plain(x, weight, None, 1, (6, 0))
    assert (found - expected).abs().max() <= FLOAT64 * expected.abs().max()


ENCODER = {
    "kind": "tcn", "in_channels": 19, "kernel_size": 7, "norm": "weight_norm",
    "channels": [64, 128, 256, 512] * 2, "dilations": [1, 2, 4, 8, 16, 1, 2, 4],
}  # fmt: skip


@pytest.mark.parametrize("varied", [False, True], ids=["initial", "varied"])
def test_half_of_the_tolerance_is_free_on_the_wide_encoder(monkeypatch, varied):
    monkeypatch.setenv(engines.ENGINE, "toom-cook")
    model = tcnzoo.create(ENCODER, "torch", weights=weights_of(ENCODER) if varied else None)
    x = noise(1, 19, 150)
    expected = tcnzoo.predict(reference(ENCODER, tcnzoo.get_weights(model)), x)
    error = np.abs(tcnzoo.predict(model, x) - expected).max() / max(1, np.abs(expected).max())
    # 3.2e-6 was measured; the plain form has 6e-7.
    assert 1e-6 < error <= 5e-6


def test_gradients_in_float32(monkeypatch):
    # Of SiLU, which is smooth: a ReLU whose input is rounded to the other side of 0 changes whole
    # rows. 1e-4 of the largest value is the tolerance of all gradients (tests/support/compare.py);
    # here 1.3e-5 is needed.
    spec = {
        "kind": "tcn", "in_channels": 3, "channels": [64, 96], "kernel_size": 7,
        "activation": {"kind": "activation", "name": "silu"},
    }  # fmt: skip
    x, target = noise(2, 3, 83), noise(2, 96, 83, seed=1)
    tables = []
    for name, dtype in (("plain", "float64"), ("toom-cook", "float32")):
        monkeypatch.setenv(engines.ENGINE, name)
        model = tcnzoo.create(spec, "torch", dtype=dtype, weights=weights_of(spec))
        tables.append(tcnzoo.gradients(model, x, target)[1])
    expected, found = tables
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() <= 5e-5 * np.abs(array).max(), name
