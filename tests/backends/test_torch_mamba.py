"""Mamba-2 on a CPU, whose parts have backward passes of their own: derivatives of both orders."""

import numpy as np
import pytest
import torch

import tcnzoo
from tcnzoo.backends.torch.kernels import mamba_cpu
from tcnzoo.backends.torch.kernels.ssd import Inputs, chunked
from tcnzoo.backends.torch.run import activation_bytes
from tests.support.cases import mamba2
from tests.support.compare import assert_close, noise, weights_of

BATCH, HEADS, WIDTH, GROUPS, STATE, CHUNK = 2, 4, 3, 2, 2, 3


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Blocks of a few steps and spans of two chunks, so that there are several."""
    monkeypatch.setattr(mamba_cpu, "BLOCK", 24)
    monkeypatch.setattr(mamba_cpu, "SPAN", 2 * CHUNK * BATCH * HEADS * (WIDTH + STATE))


def _random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def _inputs(steps, per_channel):
    """State and inputs of the recurrence, all of which get gradients."""
    dt = (_random(BATCH, steps, HEADS).detach().abs() + 0.1).requires_grad_()
    a = (-_random(HEADS).detach().abs() - 0.2).requires_grad_()
    x, skip = _random(BATCH, steps, HEADS, WIDTH), _random(HEADS, WIDTH if per_channel else 1)
    b, c = (_random(BATCH, steps, GROUPS, STATE, seed=place) for place in (1, 2))
    return _random(BATCH, HEADS, WIDTH, STATE), x, dt, a, b, c, skip


def _derived(function, inputs):
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


# One step, less than a chunk, whole chunks of one span and of two, and a rest.
@pytest.mark.parametrize("steps", [1, 2, 6, 9, 14])
@pytest.mark.parametrize("per_channel", [False, True])
def test_recurrence(steps, per_channel):
    inputs = _inputs(steps, per_channel)
    found = mamba_cpu.Scan.apply(CHUNK, *inputs)
    expected = chunked(Inputs(*inputs[1:]), inputs[0], CHUNK)
    with torch.no_grad():
        without = mamba_cpu.in_chunks(Inputs(*inputs[1:]), inputs[0], CHUNK)
    for ours, plain, bare in zip(found, expected, without, strict=True):
        assert torch.allclose(ours, plain, rtol=0, atol=1e-13)
        assert torch.equal(ours, bare)
    if not per_channel or steps == 14:
        _derived(lambda *some: mamba_cpu.Scan.apply(CHUNK, *some), inputs)


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_convolution(steps):
    inputs = _random(2, steps, 3), _random(3, 1, 4), _random(3)
    expected = mamba_cpu._plain_convolution(*inputs)
    assert torch.allclose(mamba_cpu.convolve(*inputs), expected, rtol=0, atol=1e-13)
    _derived(mamba_cpu.convolve, inputs)


@pytest.mark.parametrize("groups", [1, 2])
def test_gated_norm(groups):
    inputs = _random(2, 5, 6), _random(2, 5, 6, seed=1), _random(6)
    expected = mamba_cpu._plain_norm(groups, 0.01)(*inputs)
    found = mamba_cpu.gated_norm(*inputs, groups, 0.01)
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)
    _derived(lambda *some: mamba_cpu.gated_norm(*some, groups, 0.01), inputs)


def _model(**fields):
    spec = mamba2(**fields)
    return tcnzoo.create(spec, "torch", weights=weights_of(spec))


def test_frozen_parts_and_plain_inputs_differentiate():
    """Twice, though only some of the inputs of each form ask for gradients."""
    model, x = _model().train(), torch.from_numpy(noise(2, 3, 11).astype(np.float32))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in ("A_log", "norm.weight"))
    wanted = [one for one in model.parameters() if one.requires_grad]
    first = torch.autograd.grad(model(x).square().sum(), wanted, create_graph=True)
    second = torch.autograd.grad(sum(one.square().sum() for one in first), wanted)
    assert all(one.abs().max() > 0 for one in (*first, *second))


def test_transforms_of_functions_see_plain_operations():
    model, x = _model(), torch.from_numpy(noise(2, 3, 11).astype(np.float32)).requires_grad_()
    (expected,) = torch.autograd.grad(model(x).square().sum(), x)
    found = torch.func.grad(lambda one: model(one).square().sum())(x)
    assert_close(found.detach().numpy(), expected.numpy())
    each = torch.func.vmap(lambda one: model(one.unsqueeze(0)).squeeze(0))(x)
    assert_close(each.detach().numpy(), model(x).detach().numpy())


def test_nothing_of_heads_by_time_by_chunk_is_kept():
    """The inputs, and states of chunks: a chunk four times as long does not keep more."""
    x = noise(1, 3, 256).astype(np.float32)
    short, long = (activation_bytes(_model(chunk_size=size), x) for size in (32, 128))
    assert long <= short


def test_16_bits_are_computed_in_32():
    """Within what the linear layers and the convolution round to."""
    x = noise(2, 3, 200).astype(np.float32)
    expected = tcnzoo.predict(_model(), x)
    spec = mamba2()
    half = tcnzoo.create(spec, "torch", weights=weights_of(spec), dtype="bfloat16")
    assert_close(tcnzoo.predict(half, x).astype(np.float32), expected, 0.03)


@pytest.mark.parametrize("eager", [True, False])
def test_gradients_of_outputs_before_nan(eager, monkeypatch):
    # Of the steps before it they are those of the signal that ends there.
    if not eager:
        monkeypatch.setattr("tcnzoo.backends.torch.mamba.watched", lambda: True)
    model, x = _model(), torch.from_numpy(noise(2, 3, 90).astype(np.float32))
    x[0, 1, 80] = torch.nan
    whole, short = (one.clone().requires_grad_() for one in (x, x[..., :80]))
    model(whole)[..., :80].square().sum().backward()
    model(short).square().sum().backward()
    assert_close(whole.grad[..., :77], short.grad[..., :77])  # its convolution reaches back 3 steps
