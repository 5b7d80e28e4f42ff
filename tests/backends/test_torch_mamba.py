"""Mamba-2 on a CPU, whose parts have backward passes of their own: derivatives of both orders."""

from functools import partial

import numpy as np
import pytest
import torch

import tcnzoo
from tcnzoo import engines
from tcnzoo.backends.torch.kernels import mamba_cpu
from tcnzoo.backends.torch.kernels.mamba_cpu import Rates
from tcnzoo.backends.torch.kernels.ssd import Inputs, chunked
from tcnzoo.backends.torch.run import activation_bytes
from tests.support.cases import mamba2
from tests.support.compare import assert_close, noise, reference, weights_of

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


def _by_itself(signals, *inputs):
    """The fused form as a function of state, dt, a, d and what x, b and c are made of."""
    state, *rates = inputs[:4]
    return mamba_cpu.scan(signals, inputs[4:], Rates(*rates), state, CHUNK)


def _expected(signals, *inputs):
    """The same by torch's own operations."""
    (state, dt, a, d), (x, b, c) = inputs[:4], signals(*inputs[4:]).plain(*inputs[4:])
    return chunked(Inputs(x, dt, a, b, c, d), state, CHUNK)


# One step, less than a chunk, whole chunks of one span and of two, and a rest.
@pytest.mark.parametrize("steps", [1, 2, 6, 9, 14])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("convolved", [False, True])
def test_recurrence(steps, per_channel, convolved):
    state, x, dt, a, b, c, skip = _inputs(steps, per_channel)
    signals, parts = mamba_cpu.Given, (x, b, c)
    if convolved:
        sizes = mamba_cpu.Sizes(HEADS, WIDTH, GROUPS, STATE)
        channels = HEADS * WIDTH + 2 * GROUPS * STATE
        signals = partial(mamba_cpu.Convolved, sizes)
        parts = _random(BATCH, steps, channels), _random(channels, 1, 4), _random(channels)
    inputs = state, dt, a, skip, *parts
    found, expected = _by_itself(signals, *inputs), _expected(signals, *inputs)
    with torch.no_grad():
        without = _by_itself(signals, *inputs)
    for ours, plain, bare in zip(found, expected, without, strict=True):
        assert torch.allclose(ours, plain, rtol=0, atol=1e-13)
        assert torch.equal(ours, bare)
    if not per_channel or steps == 14:
        _derived(partial(_by_itself, signals), inputs)


def test_steps_of_zero_and_steeper_than_a_float_holds():
    """dt = 0 leaves the state; decays of e^-3000 between steps are not e^3000 the other way."""
    state, x, dt, a, b, c, skip = (one.detach() for one in _inputs(14, False))
    dt[:, 3:5] = 0.0
    dt[:, 8] = 1e4
    inputs = [one.requires_grad_() for one in (state, dt, a, skip, x, b, c)]
    found, expected = (
        torch.autograd.grad(form(mamba_cpu.Given, *inputs)[0].sum(), inputs)
        for form in (_by_itself, _expected)
    )
    for ours, plain in zip(found, expected, strict=True):
        assert_close(ours.numpy(), plain.numpy(), 1e-10)  # sums of thousands in another order


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


@pytest.mark.parametrize("fields", [{}, {"groups": 2, "d_per_channel": True}, {"d_conv": 2}])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_engine_gives_the_reference(fields, batch, monkeypatch):
    """Forward and gradients, of a signal that is no multiple of any chunk."""
    spec = mamba2(**fields)
    x = noise(batch, 3, 133).astype(np.float32)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x.astype(np.float64))
    gradients = {}
    for engine in (engines.PLAIN, *(f"chunks of {size}" for size in mamba_cpu.CHUNKS)):
        monkeypatch.setenv(engines.ENGINE, engine)
        monkeypatch.setattr(mamba_cpu, "SMALL", 0)
        model = _model(**fields)
        assert_close(tcnzoo.predict(model, x), expected)
        signal = torch.from_numpy(x).requires_grad_()
        inputs = signal, *model.parameters()
        gradients[engine] = torch.autograd.grad(model(signal).square().sum(), inputs)
    for other in gradients.values():
        for ours, plain in zip(other, gradients[engines.PLAIN], strict=True):
            # Relative to the largest, 1e-4: sums over all steps in another order.
            assert_close(ours.numpy(), plain.numpy(), 1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fast", ["plain", "chunks of 16", "chunks of 64"])
def test_the_chunk_is_the_one_that_was_fastest(fast, training, monkeypatch, tmp_path):
    """A clock on which one engine takes a second, the others two."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    monkeypatch.delenv(engines.ENGINE, raising=False)
    monkeypatch.setattr(mamba_cpu, "SMALL", 0)
    now, sizes = [0.0], []
    monkeypatch.setattr(engines, "clock", lambda: now[0])
    engines.forget()

    def mixed(shape, signal, weight, bias, rates, size):
        sizes.append(size)
        now[0] += 1.0 if fast == ("plain" if size is None else f"chunks of {size}") else 2.0

    monkeypatch.setattr(mamba_cpu, "mix", mixed)
    shape, signal = mamba_cpu.Sizes(HEADS, WIDTH, GROUPS, STATE), _random(1, 100, 20)
    with torch.set_grad_enabled(training):
        size = mamba_cpu.chunk_for(shape, signal, None)
    assert size == (None if fast == "plain" else int(fast.split()[-1]))
    assert set(sizes) == {None, *mamba_cpu.CHUNKS}
    # Torch's own operations keep (heads x time x chunk): a long signal is cut all the same.
    long = _random(1, 2000, 20)
    sizes.clear()
    assert mamba_cpu.chunk_for(shape, long, None) is not None
    assert mamba_cpu.chunk_for(shape, long, 7) == 7
    engines.forget()
