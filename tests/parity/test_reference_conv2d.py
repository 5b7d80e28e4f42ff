"""Convolutions of several devices, attention, and stacks: against loops and by impulse."""

import math

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tests.support import oracles
from tests.support.cases import BLOCKS, DEVICES, conv2d
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    assert_refused,
    noise,
    reference,
    stream,
    weights_of,
)
from tests.support.streams import STREAMED_DEVICES

CONVOLUTIONS = [name for name in BLOCKS if name.startswith("conv2d-")]
GRADIENTS = (
    "conv2d-rows-dilated", "conv2d-groups", "temporal_block_2d-batch_norm-causal1",
    "device_attention", "device_pool-max", "sequential-devices", "hdp-gaussian", "hdp-codes",
)  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_its_sum(name):
    spec, shape = BLOCKS[name]
    weights, x = weights_of(spec), noise(*shape)
    options = {name: spec[name] for name in ("dilation", "groups", "padding") if name in spec}
    expected = oracles.conv2d(x, weights["weight"], weights.get("bias"), **options)
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, 1e-12)


def test_a_block_treats_every_device_as_a_conv1d_block_does():
    # The same kernels with one axis less: two independent implementations of one law.
    spec = {
        "kind": "temporal_block_2d", "in_channels": 3, "channels": 5, "dilation": 2,
        "norm": "batch_norm",
    }  # fmt: skip
    flat = {**spec, "kind": "temporal_block", "kernel_size": 3}
    weights, x = weights_of(spec), noise(2, 3, 4, 19)
    narrow = {name: a[:, :, 0] if a.ndim == 4 else a for name, a in weights.items()}
    found = tcnzoo.predict(reference(spec, weights), x)
    for device in range(4):
        y = tcnzoo.predict(reference(flat, narrow), x[:, :, device])["output"]
        assert_close(found[:, :, device], y, 1e-12)


def test_attention_is_that_of_torch():
    torch = pytest.importorskip("torch")
    spec, _ = BLOCKS["device_attention-three"]
    weights, x = weights_of(spec), noise(2, 6, 3, 5)
    native = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        native.in_proj_weight.copy_(torch.tensor(weights["projection_in.weight"]))
        native.in_proj_bias.copy_(torch.tensor(weights["projection_in.bias"]))
        native.out_proj.weight.copy_(torch.tensor(weights["projection_out.weight"]))
        native.out_proj.bias.copy_(torch.tensor(weights["projection_out.bias"]))
        tokens = torch.tensor(x + weights["embedding"].T[:, :, None]).permute(0, 3, 2, 1)
        tokens = tokens.reshape(10, 3, 6)
        expected = native(tokens, tokens, tokens)[0].reshape(2, 5, 3, 6).permute(0, 3, 2, 1)
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected.numpy(), 1e-12)


def test_devices_side_by_side_and_apart_again():
    x = noise(2, 3, 2, 5)
    spec = {"kind": "device_pool", "mode": "concat", "devices": 2}
    joined = tcnzoo.predict(tcnzoo.create(spec, "numpy"), x)
    assert_close(joined, np.concatenate([x[:, :, 0], x[:, :, 1]], axis=1), 1e-6)
    split = tcnzoo.create({"kind": "device_split", "devices": 2}, "numpy")
    assert_close(tcnzoo.predict(split, joined), x, 1e-6)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "same"])
def test_an_impulse_moves_the_steps_that_the_field_says(backend, causal):
    spec = {
        "kind": "tcn_2d", "in_channels": 3, "channels": [4, 4], "causal": causal,
        "activation": "silu",
    }  # fmt: skip
    model, x = tcnzoo.create(spec, backend, weights=weights_of(spec)), noise(1, 3, 2, 41)
    moved = x.copy()
    moved[0, 1, 0, 20] += 1.0
    change = np.abs(tcnzoo.predict(model, moved) - tcnzoo.predict(model, x))
    steps = np.flatnonzero(change[0, :, 0].max(axis=0) > 0.0)
    field = tcnzoo.load_spec(spec).field()
    assert field.size == 13  # 1 + 2 (k - 1) (1 + 2)
    first = 20 - field.delay
    assert (steps.min(), steps.max()) == (first, first + field.size - 1)
    assert field.delay == (0 if causal else 6)
    # A block leaves devices apart.
    assert change[0, :, 1].max() == 0.0


@pytest.mark.parametrize("name", STREAMED_DEVICES)
def test_chunks_equal_whole(backend, name):
    spec = tcnzoo.load_spec(STREAMED_DEVICES[name])
    weights, x = weights_of(spec), noise(2, spec.input_channels, 2, 29)
    model = tcnzoo.create(spec, backend, weights=weights)
    expected = tcnzoo.predict(reference(spec, weights), x)
    for cuts in ([1, 2, 3, 11, 11, 28], []):
        found, state = stream(model, x, cuts)
        assert_close(found, expected)
    assert {name: np.asarray(one).shape[1:] for name, one in state.items()} == {
        name: item.shape for name, item in spec.state().items()
    }


def test_a_state_is_handed_over_between_backends(backends):
    spec = STREAMED_DEVICES["sequential-devices"]
    weights, x = weights_of(spec), noise(2, 3, 2, 29)
    models = [tcnzoo.create(spec, name, weights=weights) for name in backends]
    pieces, state = [], tcnzoo.init_state(models[0], 2)
    for place in range(29):
        chunk = x[..., place : place + 1]
        piece, state = tcnzoo.step(models[place % len(models)], chunk, state)
        pieces.append(piece)
    expected = tcnzoo.predict(reference(spec, weights), x)
    assert_close(np.concatenate(pieces, axis=3), expected)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_equal_those_of_float64(native, name):
    pytest.importorskip("torch")
    spec, shape = BLOCKS[name]
    weights, x = weights_of(spec), noise(*shape)
    target = noise(shape[0], *tcnzoo.load_spec(spec).output_shape(shape[1:]), seed=3)
    exact = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
    loss, expected = tcnzoo.gradients(exact, x, target)
    model = tcnzoo.create(spec, native, weights=weights)
    found_loss, found = tcnzoo.gradients(model, x, target)
    assert_close(found_loss, loss)
    assert_gradients_close(found, expected)


def test_statistics_of_a_batch_are_over_devices_too(native):
    spec = {"kind": "batch_norm", "channels": 3, "momentum": 0.4}
    model = tcnzoo.create({"kind": "sequential", "layers": {
        "conv": conv2d(1, 1, out_channels=3, bias=False), "norm": spec,
    }}, native)  # fmt: skip
    weights = tcnzoo.get_weights(model)
    weights["conv.weight"] = np.eye(3)[:, :, None, None]
    tcnzoo.set_weights(model, weights)
    x = noise(*DEVICES) + 1.0
    tcnzoo.gradients(model, x, np.zeros(DEVICES), training=True)
    after = tcnzoo.get_weights(model)
    assert_close(after["norm.running_mean"], 0.4 * x.mean(axis=(0, 2, 3)), 1e-6)
    unbiased = 0.6 + 0.4 * x.var(axis=(0, 2, 3), ddof=0) * 76 / 75
    assert_close(after["norm.running_var"], unbiased, 1e-6)


def test_counts_and_costs_by_hand():
    spec = tcnzoo.load_spec({
        "kind": "tcn_2d", "in_channels": 9, "channels": [16, 16], "kernel_size": 5,
        "norm": "batch_norm",
    })  # fmt: skip
    first = (9 * 16 * 5 + 16) + (16 * 16 * 5 + 16) + (9 * 16 + 16)
    second = 2 * (16 * 16 * 5 + 16)
    assert tcnzoo.count_params(spec) == (first + second + 4 * 32, 4 * 32)
    steps = 2 * 100
    kernels = 9 * 16 * 5 + 16 * 16 * 5 + 9 * 16 + 2 * 16 * 16 * 5
    assert spec.macs_of((9, 2, 100)) == steps * (kernels + 4 * 16)
    assert spec.receptive_field() == 1 + 2 * 4 * (1 + 2)
    assert math.prod(spec.output_shape((9, 2, 100))) == 16 * steps


def _refused(spec, sentence):
    assert_refused(SpecError, sentence, tcnzoo.load_spec, spec)


def test_specs_that_mean_nothing_are_refused():
    _refused(
        {**conv2d(2, 3), "devices": None},
        "devices must be at least 2, as many as the kernel spans, but is missing",
    )
    _refused(
        {"kind": "device_attention", "channels": 6},
        "heads must divide the 6 channels, but is 4",
    )
    _refused(
        {"kind": "device_pool", "mode": "concat"},
        "mode 'concat' must name its devices",
    )
    _refused(
        {"kind": "temporal_block_2d", "in_channels": 2, "channels": 2, "norm": "weight_norm"},
        "norm of a temporal_block_2d must be batch_norm, layer_norm or none, but is weight_norm",
    )
    _refused(
        {"kind": "sequential", "layers": {"a": conv2d(1, 1), "b": {"kind": "pool"}}},
        "layer 'b': pool expects a signal (batch, channels, time), "
        "but a signal with devices (batch, 5, 2, 1048576) came",
    )


@pytest.mark.parametrize(
    "shape, sentence",
    [
        (
            (2, 3, 19),
            "the input must be (batch, channels, devices, time), but has shape (2, 3, 19)",
        ),
        (
            (2, 4, 2, 19),
            "conv2d expects 3 channels on axis 1 of (batch, channels, time), but 4 came",
        ),
        (
            (2, 3, 3, 19),
            "conv2d expects a signal (batch, channels, 2, time), but (batch, 3, 3, 19) came",
        ),
    ],
)
def test_a_signal_of_the_wrong_shape_is_refused(backend, shape, sentence):
    model = tcnzoo.create(conv2d(2, 3), backend)
    assert_refused(InputError, sentence, tcnzoo.predict, model, np.zeros(shape))


def test_a_signal_without_devices_keeps_its_rank(backend):
    model = tcnzoo.create(BLOCKS["conv1d-causal-zeros"][0], backend)
    sentence = (
        "the input must be (batch, channels, time), or (batch, channels) for a model of vectors, "
        "but has shape (2, 3, 2, 19)"
    )
    assert_refused(InputError, sentence, tcnzoo.predict, model, np.zeros(DEVICES))


def test_what_looks_ahead_does_not_stream(backend):
    model = tcnzoo.create(conv2d(1, 3, padding="same"), backend)
    sentence = (
        "this model cannot stream: conv2d: padding 'same' does not stream in a conv2d; use 'causal'"
    )
    assert_refused(InputError, sentence, tcnzoo.init_state, model)
