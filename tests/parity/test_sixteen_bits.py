"""16-bit models add up in float32 and round once, in every backend, forward and backward.

Each signal here is one on which sums in the type itself go wrong: they stop growing at 256
(bfloat16) or 2048 (float16) times what is added, overflow at 65504, or lose squares below 6e-8.
"""

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.arrays import to_numpy
from tests.support.cases import ACTIVATIONS
from tests.support.compare import assert_close, assert_refused, noise, reference, stream, weights_of

TYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}
# The relative error of one rounding.
ROUNDING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
# What a block may be off by, in roundings of its largest output: 1 for the output, 1 for a kernel
# that is folded before, and the rest for parts whose own outputs are rounded.
PLAIN, JOINED = 3.0, 16.0


def conv(inputs, outputs, size, **fields):
    return {
        "kind": "conv1d", "in_channels": inputs, "out_channels": outputs, "kernel_size": size,
        "padding": "valid", **fields,
    }  # fmt: skip


def transposed(**fields):
    return {
        "kind": "conv_transpose1d", "in_channels": 96, "out_channels": 3, "kernel_size": 31,
        "stride": 2, **fields,
    }  # fmt: skip


def conv2d(**fields):
    return {
        "kind": "conv2d", "in_channels": 32, "out_channels": 4, "kernel_size": [2, 31],
        "devices": 2, "padding": "valid", **fields,
    }  # fmt: skip


def dense(inputs, outputs):
    return {"kind": "dense", "in_features": inputs, "out_features": outputs}


def attention(channels):
    return {"kind": "device_attention", "channels": channels, "heads": 2}


def squeeze(**fields):
    return {"kind": "squeeze_excitation", "channels": 4, "reduction": 2, **fields}


GATED = {
    "kind": "graph",
    "in_channels": 3,
    "nodes": {
        "mean": {"layer": {"kind": "pool"}, "inputs": ["input"]},
        "gate": {"layer": dense(3, 3), "inputs": ["mean"]},
        "all": {"layer": {"kind": "merge", "mode": "multiply"}, "inputs": ["gate", "input"]},
    },
}


def merged(mode, parts):
    nodes = {"all": {"layer": {"kind": "merge", "mode": mode}, "inputs": ["input"] * parts}}
    return {"kind": "graph", "in_channels": 2, "nodes": nodes}


AVERAGE = {"kind": "window_pool", "mode": "average", "channels": 2}
MAMBA = {"kind": "mamba2", "channels": 4, "expand": 2, "head_dim": 4, "d_state": 8}
MAMBA |= {"dt_limit": [0.001, 0.004], "chunk_size": 32}
HDP = {"kind": "hdp", "clusters": 4, "channels": 48}
HSMM = {"kind": "hsmm", "states": 3, "max_duration": 4, "channels": 48}
CODES = {"kind": "vector_quantizer", "channels": 48, "codes": 5}
CODES |= {"initializer": {"name": "normal", "gain": 1.0}}

# (spec, shape of the signal, what it lies around, its deviation, roundings that it may be off by).
SUMS = {
    "mean": ({"kind": "pool"}, (1, 2, 70_000), 1.5, 0.1, PLAIN),
    "mean of parts": (
        {"kind": "pool", "mode": "adaptive_average", "output_size": 3},
        (1, 2, 100_000), 1.5, 0.1, PLAIN,
    ),
    "mean of windows": ({**AVERAGE, "size": 512}, (1, 2, 1500), 2.5, 0.1, PLAIN),
    "mean of long windows": ({**AVERAGE, "size": 40_000}, (1, 2, 80_000), 2.5, 0.1, PLAIN),
    "mean of windows over the ends": (
        {**AVERAGE, "size": 700, "padding": "same"}, (1, 2, 900), 2.5, 0.1, PLAIN,
    ),
    "squeeze-and-excitation": (squeeze(pool="global"), (1, 4, 70_000), 1.5, 0.1, JOINED),
    "mean so far": (squeeze(pool="cumulative"), (1, 4, 5_000), 25.0, 1.0, JOINED),
    "taps": (conv(8, 16, 301), (1, 8, 400), 1.0, 1.0, PLAIN),
    "channels and taps": (conv(256, 8, 31, dilation=2), (1, 256, 90), 1.0, 1.0, PLAIN),
    "taps of groups": (conv(8, 16, 301, groups=4), (1, 8, 400), 1.0, 1.0, PLAIN),
    "taps of strides": (conv(8, 16, 301, stride=3), (1, 8, 400), 1.0, 1.0, PLAIN),
    "channels": (conv(700, 8, 1), (1, 700, 9), 1.0, 1.0, PLAIN),
    "transposed taps": (transposed(), (1, 96, 40), 1.0, 1.0, PLAIN),
    "weight norm": (conv(64, 8, 101, weight_norm=True), (1, 64, 120), 1.0, 1.0, JOINED),
    "taps of devices": (conv2d(), (1, 32, 2, 50), 1.0, 1.0, PLAIN),
    "dilated taps of devices": (conv2d(dilation=2), (1, 32, 2, 80), 1.0, 1.0, PLAIN),
    "groups of devices": (conv2d(groups=2), (1, 32, 2, 50), 1.0, 1.0, PLAIN),
    "dense": (dense(2000, 4), (3, 2000), 1.0, 1.0, PLAIN),
    "layer norm": ({"kind": "layer_norm", "channels": 600}, (1, 600, 5), 500.0, 60.0, PLAIN),
    "rms norm": ({"kind": "rms_norm", "channels": 600}, (1, 600, 5), 500.0, 60.0, PLAIN),
    "rms norm of groups": (
        {"kind": "rms_norm", "channels": 600, "groups": 2}, (1, 600, 5), 500.0, 60.0, PLAIN,
    ),
    "batch norm": ({"kind": "batch_norm", "channels": 6}, (2, 6, 50), 200.0, 60.0, PLAIN),
    "softmax": ({"kind": "activation", "name": "softmax"}, (1, 600, 5), 3.0, 0.1, PLAIN),
    "log softmax": ({"kind": "activation", "name": "log_softmax"}, (1, 600, 5), 3.0, 0.1, PLAIN),
    "attention": (attention(32), (1, 32, 2, 9), 2.0, 1.0, JOINED),
    "mean of devices": (
        {"kind": "device_pool", "mode": "average", "devices": 600},
        (1, 3, 600, 4), 2.5, 0.1, PLAIN,
    ),
    "interpolation": (
        {"kind": "upsample", "mode": "linear", "factor": 5}, (1, 2, 9), 500.0, 1.0, PLAIN,
    ),
    "sum of many signals": (merged("add", 700), (1, 2, 9), 1.0, 0.1, PLAIN),
    "product of many signals": (merged("multiply", 12), (1, 2, 9), 1.5, 0.1, PLAIN),
    "state space": (MAMBA, (1, 4, 600), 1.0, 1.0, JOINED),
    "mixture": (HDP, (1, 48, 9), 1.0, 1.0, PLAIN),
    "mixture of codes": (
        {"kind": "hdp", "clusters": 4, "components": "codes", "codes": 48},
        (1, 48, 9), 0.3, 0.1, PLAIN,
    ),
    "states so far": ({**HSMM, "output": "filtered"}, (1, 48, 30), 1.0, 1.0, PLAIN),
    "states": (HSMM, (1, 48, 30), 1.0, 1.0, PLAIN),
    "nearest code": (CODES, (1, 48, 30), 100.0, 1.0, PLAIN),
}  # fmt: skip


def signal(shape, level, deviation, dtype):
    """A signal that the type holds, as float64."""
    return (noise(*shape) * deviation + level).astype(TYPES[dtype]).astype(np.float64)


def weights(spec, dtype, level=0.0):
    """Weights that the type holds, as float64; statistics lie around the level."""
    found = weights_of(spec)
    for name in found:
        if name.endswith("running_mean"):
            found[name] = found[name] * 10.0 + level
        if name.endswith(("running_var", "codebook")):
            found[name] = found[name] + level * (level if name.endswith("var") else 1.0)
    return {name: array.astype(TYPES[dtype]).astype(np.float64) for name, array in found.items()}


def small(spec, held, backend, dtype):
    """A 16-bit model."""
    narrow = {name: array.astype(np.float32) for name, array in held.items()}
    return tcnzoo.create(spec, backend, weights=narrow, dtype=dtype)


def assert_rounded(found, expected, roundings, dtype):
    """Hold a result within so many roundings of the largest number in it."""
    scale = np.abs(expected).max()
    assert np.asarray(found).dtype == TYPES[dtype]
    found = np.asarray(found).astype(np.float64)
    assert_close(found / scale, expected / scale, roundings * ROUNDING[dtype])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_are_rounded_once(name, dtype, native):
    spec, shape, level, deviation, roundings = SUMS[name]
    x, held = signal(shape, level, deviation, dtype), weights(spec, dtype, level)
    expected = tcnzoo.predict(reference(spec, held), x)
    found = tcnzoo.predict(small(spec, held, native, dtype), x.astype(np.float32))
    assert_rounded(found, expected, roundings, dtype)


# Softmax and its logarithm stand among the sums.
POINTWISE = [name for name in ACTIVATIONS if "softmax" not in name]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_value_of_an_activation_is_rounded_once(dtype, native):
    low, high = (-10.0, 3e4) if dtype == "float16" else (-10.0, 1e30)
    grid = np.concatenate([np.linspace(low, 12.0, 1200), np.geomspace(13.0, high, 40)])
    x = grid.astype(TYPES[dtype]).astype(np.float64).reshape(1, 1, -1)
    for name in [*POINTWISE, "glu"]:
        spec, fed = {"kind": "activation", "name": name}, x
        if name == "square":  # the largest value is that of the type
            fed = np.clip(x, -10.0, 100.0)
        if name == "glu":
            spec, fed = {"kind": "glu"}, np.concatenate([x, np.minimum(x, 12.0)[..., ::-1]], axis=1)
        expected = tcnzoo.predict(reference(spec, {}), fed)
        found = tcnzoo.predict(small(spec, {}, native, dtype), fed.astype(np.float32))
        # In the tail of GELU float32 itself keeps 1e-6 of x, and float16 has no digits below 6e-5.
        size = np.maximum(np.abs(expected), 1e-3)
        apart = np.abs(np.asarray(found).astype(np.float64) - expected) / size
        assert apart.max() <= PLAIN * ROUNDING[dtype], (name, fed.ravel()[apart.argmax()])


def squares(spec, held, x, backend, dtype, training=False):
    """Gradients of the mean square of the outputs, and the model."""
    narrow = {name: array.astype(np.float32) for name, array in held.items()}
    model = tcnzoo.create(spec, backend, weights=narrow, dtype=dtype)
    y = tcnzoo.predict(reference(spec, held), x)
    _, found = tcnzoo.gradients(model, x, np.zeros_like(y), loss="mse", training=training)
    return {name: np.asarray(one).astype(np.float64) for name, one in found.items()}, model


# (spec, shape, level): what sums over time, batch, channels and taps on the way back.
SLOPES = {
    "steps of a kernel": (conv(3, 4, 5), (2, 3, 1200), 1.0),
    "steps of a grouped kernel": (conv(4, 4, 5, groups=2), (2, 4, 1200), 1.0),
    "signals of a batch": (conv(3, 4, 5), (700, 3, 6), 1.0),
    "steps of a weight norm": (conv(3, 4, 5, weight_norm=True), (2, 3, 1200), 1.0),
    "steps of a transposed kernel": (
        {**transposed(), "in_channels": 3, "kernel_size": 5}, (2, 3, 700), 1.0,
    ),
    "signals of a transposed kernel": (
        {**transposed(), "in_channels": 3, "kernel_size": 5}, (700, 3, 4), 1.0,
    ),
    "steps of devices": (conv2d(in_channels=3, kernel_size=[2, 3]), (2, 3, 2, 700), 1.0),
    "signals of devices": (conv2d(in_channels=3, kernel_size=[2, 3]), (700, 3, 2, 4), 1.0),
    "steps of a dense layer": (dense(3, 4), (2, 3, 1200), 1.0),
    "steps of a root-mean-square norm": ({"kind": "rms_norm", "channels": 6}, (2, 6, 1200), 20.0),
    "steps of a layer norm": ({"kind": "layer_norm", "channels": 6}, (2, 6, 1200), 20.0),
    "steps of a batch norm": ({"kind": "batch_norm", "channels": 3}, (2, 3, 1200), 20.0),
    "steps of a gate": (squeeze(pool="global"), (1, 4, 1500), 1.0),
    "steps of an attention": (attention(4), (2, 4, 2, 600), 1.0),
    "steps of a vector": (GATED, (1, 3, 1500), 1.0),
    "steps of a state space": (MAMBA, (1, 4, 500), 1.0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", SLOPES)
def test_gradients_are_summed_in_float32(name, dtype, native, backends):
    if "torch" not in backends:
        pytest.skip("torch in float64 is what gradients are held to")
    spec, shape, level = SLOPES[name]
    x, held = signal(shape, level, 0.5, dtype), weights(spec, dtype)
    expected, _ = squares(spec, held, x, "torch", "float64")
    found, _ = squares(spec, held, x, native, dtype)
    for one, array in expected.items():
        scale = max(np.abs(array).max(), 1e-2 * max(np.abs(two).max() for two in expected.values()))
        # Outputs that are rounded are differentiated, so that each gradient starts with an error.
        assert_close(found[one] / scale, array / scale, JOINED * ROUNDING[dtype], one)


@pytest.mark.parametrize("dtype", TYPES)
def test_batch_statistics_are_taken_in_float32(dtype, native):
    spec = {"kind": "batch_norm", "channels": 2}
    x, held = signal((3, 2, 1000), 200.0, 5.0, dtype), weights(spec, dtype, 200.0)
    _, model = squares(spec, held, x, native, dtype, training=True)
    found = tcnzoo.get_weights(model)
    mean, variance = x.mean((0, 2)), x.var((0, 2), ddof=1)
    for name, batch in (("running_mean", mean), ("running_var", variance)):
        assert_rounded(found[name], 0.9 * held[name] + 0.1 * batch, PLAIN, dtype)


# (spec, shape, level): what a stream carries on from chunk to chunk.
STREAMS = {
    "context": (conv(3, 4, 31, padding="causal"), (2, 3, 120), 1.0),
    "tail": ({**transposed(), "in_channels": 3}, (2, 3, 90), 1.0),
    "mean": (squeeze(pool="cumulative"), (1, 4, 1500), 1.0),
    "ssm": (MAMBA, (1, 4, 900), 1.0),
    "ages": ({**HSMM, "channels": 3, "output": "filtered"}, (1, 3, 150), 1.0),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_equals_the_whole_signal(name, dtype, native):
    spec, shape, level = STREAMS[name]
    x, model = signal(shape, level, 0.5, dtype), small(spec, weights(spec, dtype), native, dtype)
    expected = np.asarray(tcnzoo.predict(model, x.astype(np.float32))).astype(np.float64)
    found, state = stream(model, x.astype(np.float32), range(3, shape[-1], 6))
    assert_rounded(found, expected, PLAIN, dtype)
    # What is added to at every step is kept in float32; what has merely been seen is not.
    kinds = {key: np.asarray(to_numpy(one)).dtype for key, one in state.items()}
    wanted = {key: item.dtype(dtype) for key, item in model.tcnzoo.state.items()}
    assert kinds == {key: TYPES.get(kind, np.dtype(kind)) for key, kind in wanted.items()}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_16_bits_goes_on_in_another_backend(name, backends):
    spec, shape, level = STREAMS[name]
    x, held = signal(shape, level, 0.5, "bfloat16"), weights(spec, "bfloat16")
    expected = tcnzoo.predict(reference(spec, held), x)
    engines = [one for one in backends if one != "numpy"]
    pieces, state = [], None
    for part, backend in zip(np.array_split(x, len(engines), axis=-1), engines, strict=True):
        model = small(spec, held, backend, "bfloat16")
        piece, state = stream(model, part.astype(np.float32), [7], state=state)
        pieces.append(piece)
    assert_rounded(np.concatenate(pieces, axis=-1), expected, JOINED, "bfloat16")


@pytest.mark.parametrize("dtype, codes", [("bfloat16", 257), ("float16", 2049)])
def test_codes_that_a_type_does_not_hold_are_refused(dtype, codes, native):
    spec = {"kind": "hsmm", "states": 2, "max_duration": 3, "emission": "categorical"}
    tcnzoo.create({**spec, "codes": codes}, native, dtype=dtype)
    sentence = (
        f"hsmm: codes up to {codes} come as numbers in one channel, and '{dtype}' holds whole "
        f"numbers up to {codes - 1} only; use float32, or encoding 'one_hot'"
    )
    more = {**spec, "codes": codes + 1}
    assert_refused(tcnzoo.SpecError, sentence, tcnzoo.create, more, native, dtype=dtype)
    tcnzoo.create({**more, "encoding": "one_hot"}, native, dtype=dtype)
    tcnzoo.create(more, native)
