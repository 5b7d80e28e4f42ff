"""Dropout masks of torch on a CPU: their law, their seed, and what is left to torch."""

import math

import pytest
import torch

import tcnzoo
from tcnzoo.backends.torch.kernels import masks

SIZE = 200_003  # no multiple of the four values of a draw


def _dropout(rate):
    return tcnzoo.create({"kind": "dropout", "rate": rate}, "torch").train()


@pytest.mark.parametrize("rate", [0.002, 0.1, 0.5, 0.9, 0.998])
def test_values_are_kept_with_the_probability_that_they_are_scaled_by(rate):
    torch.manual_seed(0)
    y = _dropout(rate)(torch.ones(1, 1, SIZE))
    kept = masks.levels(rate) / masks.LEVELS
    assert math.isclose(kept, 1 - rate, abs_tol=0.5 / masks.LEVELS)
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / kept).item()}
    # Five standard deviations of a binomial count.
    deviation = 5 * math.sqrt(SIZE * kept * (1 - kept))
    assert abs(int((y > 0).sum()) - SIZE * kept) <= deviation


def test_the_values_of_one_draw_are_independent():
    torch.manual_seed(1)
    kept = masks.drawn(torch.Size([SIZE // 4, 4]), 0.3).double() - 0.7
    correlations = kept.t() @ kept / (len(kept) * 0.21)
    off = correlations - torch.eye(4)
    assert off.abs().max() <= 5 / math.sqrt(len(kept))


@pytest.mark.parametrize("layout", ["time last", "channels last", "vector"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_dropped_alike(dtype, layout):
    shapes = {"time last": (2, 5, 37), "channels last": (2, 37, 5), "vector": (7, 5)}
    leaf = torch.randn(shapes[layout], dtype=dtype, requires_grad=True)
    x = leaf.transpose(1, 2) if layout == "channels last" else leaf
    y = _dropout(0.25)(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y))
    kept = y != 0
    assert 0 < kept.sum() < kept.numel()
    scale = masks.LEVELS / masks.levels(0.25)
    assert torch.equal(slope, kept.to(dtype) * torch.tensor(scale, dtype=dtype))
    torch.testing.assert_close(y.detach(), x.detach() * slope)


def test_a_seed_gives_one_mask():
    layer, x = _dropout(0.5), torch.ones(2, 3, 41)
    outputs = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        outputs.append(layer(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("rate", [1e-6, 5e-4, 0.9999])
def test_rates_that_16_bits_say_too_little_of_are_left_to_torch(rate):
    torch.manual_seed(2)
    found = _dropout(rate)(torch.ones(1, 1, SIZE))
    torch.manual_seed(2)
    assert torch.equal(found, torch.nn.functional.dropout(torch.ones(1, 1, SIZE), rate))


def test_nothing_is_dropped_at_rate_0_or_in_evaluation():
    x = torch.randn(2, 3, 5)
    assert torch.equal(_dropout(0.0)(x), x)
    assert torch.equal(_dropout(0.4).eval()(x), x)


def test_gradients_of_gradients_go_through_a_mask():
    x = torch.randn(2, 3, 19, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(4)
    y = masks.Dropped.apply(x, 0.5)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x)
    scale = masks.LEVELS / masks.levels(0.5)
    torch.testing.assert_close(second, 2 * scale**2 * (y != 0).double())


def test_what_is_traced_and_compiled_keeps_torchs_own_operation():
    layer, x = _dropout(0.5), torch.ones(2, 3, 400)
    for run in (torch.compile(layer, backend="eager"), torch.func.vmap(layer, randomness="same")):
        y = run(x)
        assert 0.4 < float((y == 0).double().mean()) < 0.6
