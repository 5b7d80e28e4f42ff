"""Streaming ONNX graphs: chunks of any sizes give what the whole signal gives."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.exporters.onnx import runtime
from tcnzoo.models.streaming import initial_state
from tcnzoo.runtimes.protocol import get_exporter
from tests.support.cases import BLOCKS, conv1d, conv_transpose1d, mamba2
from tests.support.compare import assert_close, noise, reference, weights_of
from tests.support.exported import ran, written
from tests.support.streams import STREAMED, STREAMED_TCNS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Those of all blocks that can stream, and models made for it.
MODELS = {
    name: (spec, shape)
    for name, (spec, shape) in BLOCKS.items()
    if len(shape) == 3
    and spec["kind"] != "hsmm"  # refused, see test_hsmm_errors
    and not tcnzoo.load_spec(spec).streaming_blocker()
}
MODELS |= {name: (spec, (2, 3, 53)) for name, spec in {**STREAMED, **STREAMED_TCNS}.items()}

# After a stride chunks come to be empty, and each of these meets them in its own way.
AFTER_A_STRIDE = {
    "conv1d": conv1d(3, in_channels=5, dilation=2),
    "conv1d-replicate": conv1d(3, in_channels=5, padding_mode="replicate"),
    "conv1d-valid": conv1d(3, in_channels=5, padding="valid"),
    "conv1d-pointwise": conv1d(1, in_channels=5),
    "conv1d-stride": conv1d(2, in_channels=5, stride=3),
    "conv_transpose1d": {**conv_transpose1d(kernel_size=4, stride=2), "in_channels": 5},
    "conv_transpose1d-gap": {**conv_transpose1d(kernel_size=1, stride=3), "in_channels": 5},
    "dense": {"kind": "dense", "in_features": 5, "out_features": 2},
    "layer_norm": {"kind": "layer_norm", "channels": 5},
    "mamba2": mamba2(channels=5, groups=2, dt_limit=[0.02, 0.05]),
    "mamba2-d_ssm": mamba2(channels=5, d_ssm=8, rms_norm=False),
    "rms_norm": {"kind": "rms_norm", "channels": 6, "groups": 2},
    "squeeze_excitation": {"kind": "squeeze_excitation", "channels": 5, "pool": "cumulative"},
    "upsample": {"kind": "upsample", "factor": 3},
    "window_pool": {"kind": "window_pool", "mode": "max", "size": 3, "stride": 2, "channels": 5},
    "tcn": {"kind": "tcn", "in_channels": 5, "channels": [4, 5], "embeddings": [2]},
}


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def streamed(session, x, cuts):
    """Outputs of chunks that end at `cuts`, and the last state."""
    state, pieces = runtime.start(session, len(x)), []
    for piece in np.split(x, cuts, axis=2):
        y, *after = session.run(None, {"x": piece, **state})
        state = dict(zip(state, after, strict=True))
        pieces.append(y)
    return np.concatenate(pieces, axis=2), state


@pytest.mark.parametrize("name", MODELS)
def test_chunks_equal_whole(name, tmp_path):
    spec, shape = MODELS[name]
    path, options = written("onnx", spec, shape, tmp_path, streaming=True)
    assert_close(*ran("onnx", spec, path, options, shape))


@pytest.mark.parametrize("name", AFTER_A_STRIDE)
def test_chunks_that_yield_no_step(name, tmp_path):
    then = AFTER_A_STRIDE[name]
    width = tcnzoo.load_spec(then).input_channels or 5
    down = conv1d(3, stride=5, padding="valid", out_channels=width)
    layers = {"down": down, "then": then}
    spec = {"kind": "sequential", "layers": layers}
    path, options = written("onnx", spec, (2, 3, 61), tmp_path, streaming=True)
    assert_close(*ran("onnx", spec, path, options, (2, 3, 61)))


@pytest.mark.parametrize("cuts", [range(1, 40), [1, 2, 3, 5, 8, 13, 21], [39], []])
def test_any_cuts_give_the_same(cuts, tmp_path):
    spec, x = STREAMED["down-down-up-up"], noise(3, 3, 40).astype(np.float32)
    path, _ = written("onnx", spec, x.shape, tmp_path, streaming=True)
    found, _ = streamed(session_of(path), x, list(cuts))
    assert_close(found, tcnzoo.predict(reference(spec, weights_of(spec)), x))


@pytest.mark.parametrize("name", STREAMED)
def test_state_is_that_of_the_backends(name, tmp_path):
    # A stream can go from a file to a backend and back.
    spec, x = tcnzoo.load_spec(STREAMED[name]), noise(2, 3, 29).astype(np.float32)
    path, _ = written("onnx", spec, x.shape, tmp_path, streaming=True)
    _, state = streamed(session_of(path), x[:, :, :17], [2, 9])
    model = reference(spec, weights_of(spec))
    first, expected = tcnzoo.step(model, x[:, :, :17], tcnzoo.init_state(model, 2))
    found = {entry.removeprefix("state."): array for entry, array in state.items()}
    assert_close(found, {entry: expected[entry] for entry in spec.state()})
    rest, _ = tcnzoo.step(model, x[:, :, 17:], found)
    whole = np.concatenate([first, rest], axis=2)
    assert_close(whole, tcnzoo.predict(model, x))


@pytest.mark.parametrize("name", STREAMED)
def test_file_says_how_a_stream_starts(name, tmp_path):
    spec = tcnzoo.load_spec(STREAMED[name])
    path, _ = written("onnx", spec, (2, 3, 29), tmp_path, streaming=True)
    expected = initial_state(spec.state(), 3, np.float32)
    found = runtime.start(session_of(path), 3)
    assert list(found) == [f"state.{entry}" for entry in expected]
    for entry, array in expected.items():
        start = found[f"state.{entry}"]
        assert (start.dtype, start.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(start, array)


def test_state_goes_in_and_comes_out_under_its_name(tmp_path):
    spec = conv1d(stride=2, dilation=3)
    path, _ = written("onnx", spec, (2, 3, 29), tmp_path, streaming=True)
    graph = onnx.load(path).graph
    assert [one.name for one in graph.input] == ["x", "state.context", "state.skip"]
    assert [one.name for one in graph.output] == ["y", "next.context", "next.skip"]


def test_chunks_of_one_size(tmp_path):
    spec, x = STREAMED_TCNS["downsampled"], noise(2, 3, 48).astype(np.float32)
    settled = {"streaming": True, "dynamic": False}
    path, _ = written(
        "onnx", {**spec, "layers": dict(spec["layers"])}, (2, 3, 12), tmp_path, **settled
    )
    session = session_of(path)
    assert session.get_inputs()[0].shape == [2, 3, 12]
    rows = [noise(2, 4), noise(2, 3, 48)]
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x, embeddings=rows)
    found = runtime.run(path, x, rows, streaming=True)
    assert_close(found, expected)


def test_half_precision_streams(tmp_path):
    spec = STREAMED_TCNS["layer_norm-add-se"]
    settled = {"streaming": True, "precision": "float16"}
    path, options = written("onnx", spec, (2, 3, 37), tmp_path, **settled)
    assert_close(*ran("onnx", spec, path, options, (2, 3, 37)), tolerance=1e-2)


@pytest.mark.parametrize(
    "spec, sums",
    [
        ({"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative"}, {"mean", "mean_low"}),
        (
            {
                "kind": "conv_transpose1d", "in_channels": 3, "out_channels": 4, "kernel_size": 7,
                "stride": 2,
            },
            {"tail"},
        ),
        (
            {
                "kind": "mamba2", "channels": 3, "expand": 4, "head_dim": 2, "d_state": 5,
                "dt_limit": [0.001, 0.004],
            },
            {"ssm"},
        ),
    ],
)  # fmt: skip
def test_half_precision_keeps_sums_in_float32(spec, sums, tmp_path):
    shape = (1, 3, 1500)
    path, options = written("onnx", spec, shape, tmp_path, streaming=True, precision="float16")
    ports = {one.name: one.type for one in session_of(path).get_inputs()}
    held = {name for name, kind in ports.items() if name != "x" and kind == "tensor(float)"}
    assert held == {f"state.{name}" for name in sums}
    # 0.0024 is five roundings: input, kernels and the parts' own outputs are float16.
    assert_close(*ran("onnx", spec, path, options, shape), tolerance=2.4e-3)


def test_a_changed_file_is_opened_anew(tmp_path):
    spec, x = tcnzoo.load_spec(conv1d()), noise(1, 3, 9).astype(np.float32)
    path, options = written("onnx", spec, x.shape, tmp_path)
    exporter = get_exporter("onnx")
    before = exporter.run(path, x, options)
    exporter.export(spec, weights_of(spec, seed=1), path, options)
    assert np.abs(exporter.run(path, x, options) - before).max() > 0.1


@pytest.mark.parametrize("count", [2**24, 2**26, 2**31 - 5])
def test_cumulative_means_after_days(count, tmp_path):
    spec = {"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative"}
    path, _ = written("onnx", spec, (1, 3, 8), tmp_path, streaming=True)
    session, x = session_of(path), 1.0 + np.abs(noise(1, 3, 40)).astype(np.float32)
    _, state = streamed(session, np.ones((1, 3, 1), np.float32), [])
    state["state.count"] = np.asarray(count, dtype=np.int64)
    for step in range(40):
        feeds = {"x": x[:, :, step : step + 1], **state}
        _, *after = session.run(None, feeds)
        state = dict(zip(state, after, strict=True))
    low = state["state.mean_low"].astype(float)
    moved = state["state.mean"].astype(float) + low - 1.0
    exact = (x.astype(float) - 1.0).sum(axis=2) / (count + 40)
    np.testing.assert_allclose(moved, exact, rtol=1e-6, atol=1e-13)
    assert state["state.count"] == count + 40


def test_nan_does_not_go_back_in_time(tmp_path):
    layers = {
        "mamba": mamba2(),
        "se": {"kind": "squeeze_excitation", "channels": 3, "pool": "cumulative"},
    }
    spec = {"kind": "sequential", "layers": layers}
    path, _ = written("onnx", spec, (2, 3, 29), tmp_path)
    x = noise(2, 3, 29).astype(np.float32)
    right = runtime.run(path, x, (), streaming=False)
    x[0, 1, 20] = np.nan
    found = runtime.run(path, x, (), streaming=False)
    np.testing.assert_array_equal(found[0, :, :20], right[0, :, :20])
    np.testing.assert_array_equal(found[1], right[1])
    assert np.isnan(found[0, :, 20:]).all()
