"""NaN and infinity: never in outputs before them, and never kept for ever without an error."""

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.cli import app
from tcnzoo.models.outputs import first
from tests.support.cases import BLOCKS, mamba2
from tests.support.compare import assert_close, beside, noise, weights_of
from tests.support.streams import STREAMED, STREAMED_DEVICES

# These refuse NaN, each by its own rule.
REFUSING = ("hsmm", "vector_quantizer", "residual_vq", "fsq")
CAUSAL = {
    name: spec
    for name, (spec, shape) in BLOCKS.items()
    if len(shape) > 2
    and tcnzoo.load_spec(spec).streaming_blocker() is None
    and (tcnzoo.load_spec(spec).state() or spec["kind"] == "upsample")
    and spec["kind"] not in REFUSING
    and name != "conv1d-exactly-long-enough"  # of one step
} | {name: {**STREAMED, **STREAMED_DEVICES}[name] for name in ("up-down-se", "down-mamba2-up")}
# Longer than the chunks of mamba2, and wide enough for halved convolutions in MLX.
LONG = {
    "mamba2": (mamba2(channels=4), 150),
    "mamba2-chunks": (mamba2(channels=4, chunk_size=16, groups=2, d_state=8), 70),
    "halved": (
        {"kind": "conv1d", "in_channels": 32, "out_channels": 32, "kernel_size": 5, "dilation": 2},
        48,
    ),
    "cumulative": ({"kind": "squeeze_excitation", "channels": 4, "pool": "cumulative"}, 1300),
}
MEMORIES = {
    "cumulative": {"kind": "squeeze_excitation", "channels": 4, "pool": "cumulative"},
    "mamba2": mamba2(channels=4),
}


def assert_causal(backend, spec, x, value, place):
    """Outputs of which the first `place` steps are known, with and without a value after them."""
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    start, state = x[..., :place], tcnzoo.init_state(model, len(x))
    known = tcnzoo.step(model, start, state, **beside(spec, start.shape))[0].shape[-1]
    inputs = beside(spec, x.shape)
    spoilt = x.copy()
    spoilt[0, 0, ..., place] = value
    with np.errstate(all="ignore"):
        found = first(tcnzoo.predict(model, spoilt, **inputs))
    clean = first(tcnzoo.predict(model, x, **inputs))
    assert known > 0
    assert_close(found[..., :known], clean[..., :known])
    assert_close(found[1], clean[1])
    return found[0, ..., known:]


@pytest.mark.parametrize("name", CAUSAL)
def test_outputs_before_nan_do_not_see_it(backend, name):
    spec = CAUSAL[name]
    shape = tcnzoo.load_spec(spec).signal_shape(37, BLOCKS[name][1][1] if name in BLOCKS else 3)
    assert_causal(backend, spec, noise(2, *shape), np.nan, 30)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])  # of 1e30 products within overflow
@pytest.mark.parametrize("name", LONG)
def test_long_signals_before_a_value_that_is_not_finite(backend, name, value):
    spec, length = LONG[name]
    x = noise(2, tcnzoo.load_spec(spec).input_channels, length)
    after = assert_causal(backend, spec, x, value, length - 7)
    if not np.isfinite(value) and name.startswith("mamba2"):
        assert not np.isfinite(after).any()


def _refused(sentence, call, *args, **options):
    """Hold that a call raises InputError with a sentence that begins like this."""
    with np.errstate(all="ignore"), pytest.raises(tcnzoo.InputError, match=f"^{sentence}"):
        call(*args, **options)


@pytest.fixture
def memory(backend):
    """(model with a part `memory`, state in mid-stream, next chunk, the same with NaN)."""

    def make(part):
        spec = {"kind": "sequential", "layers": {"memory": MEMORIES[part]}}
        model = tcnzoo.create(spec, backend, weights=weights_of(spec))
        x = noise(2, 4, 12)
        _, state = tcnzoo.step(model, x[..., :5], tcnzoo.init_state(model, 2))
        chunk = x[..., 5:]
        spoilt = chunk.copy()
        spoilt[1, 2, 3] = np.nan
        return model, state, chunk, spoilt

    return make


@pytest.mark.parametrize("part", MEMORIES)
def test_by_default_nan_is_an_error_and_the_state_stays_good(memory, part):
    model, state, chunk, spoilt = memory(part)
    kept = {name: to_numpy(array).copy() for name, array in state.items()}
    right, _ = tcnzoo.step(model, chunk, state)
    sentence = r"memory \(.*\) would hold NaN or infinity .* pass nonfinite='hold' or 'reset'"
    _refused(sentence, tcnzoo.step, model, spoilt, state)
    for name, array in state.items():
        np.testing.assert_array_equal(to_numpy(array), kept[name])
    assert_close(tcnzoo.step(model, chunk, state)[0], right)


@pytest.mark.parametrize("part", MEMORIES)
def test_hold_and_reset(memory, part):
    model, state, chunk, spoilt = memory(part)
    with np.errstate(all="ignore"):
        y, held = tcnzoo.step(model, spoilt, state, nonfinite="hold")
        again, fresh = tcnzoo.step(model, spoilt, state, nonfinite="reset")
    assert np.isfinite(y[:, :, :3]).all()
    assert np.isnan(y[1, :, 3:]).any()
    np.testing.assert_array_equal(y, again)
    start = tcnzoo.init_state(model, 2)
    for name in state:
        np.testing.assert_array_equal(to_numpy(held[name]), to_numpy(state[name]))
        np.testing.assert_array_equal(to_numpy(fresh[name]), to_numpy(start[name]))


@pytest.mark.parametrize("policy", ["hold", "reset"])
@pytest.mark.parametrize("part", MEMORIES)
def test_nan_at_the_end_of_a_chunk_does_not_spoil_the_next_one(memory, part, policy):
    model, state, chunk, spoilt = memory(part)
    with np.errstate(all="ignore"):
        _, after = tcnzoo.step(model, spoilt[:, :, :4], state, nonfinite=policy)
    y, _ = tcnzoo.step(model, chunk[:, :, 4:], after)
    kept = state if policy == "hold" else tcnzoo.init_state(model, 2)
    assert_close(y, tcnzoo.step(model, chunk[:, :, 4:], kept)[0])


def test_a_state_that_is_spoilt_cannot_be_held(memory):
    model, state, chunk, _ = memory("cumulative")
    bad = {name: to_numpy(array).copy() for name, array in state.items()}
    bad["memory.mean"][0, 0] = np.nan
    sentence = "memory .* held NaN or infinity before this chunk"
    _refused(sentence, tcnzoo.step, model, chunk, bad, nonfinite="hold")
    _, after = tcnzoo.step(model, chunk, bad, nonfinite="reset")
    assert int(to_numpy(after["memory.count"])) == 0
    assert np.isfinite(tcnzoo.step(model, chunk, after)[0]).all()


def test_convolutions_forget_nan(backend):
    spec = {"kind": "conv1d", "in_channels": 3, "out_channels": 2, "kernel_size": 3, "dilation": 2}
    model, x = tcnzoo.create(spec, backend), noise(1, 3, 20)
    right = tcnzoo.predict(model, x)
    x[0, 0, 4] = np.nan
    state, pieces = tcnzoo.init_state(model), []
    for start in range(20):
        y, state = tcnzoo.step(model, x[..., start : start + 1], state)
        pieces.append(y)
    found = np.concatenate(pieces, axis=2)
    bad = np.isnan(found).any(axis=(0, 1))
    np.testing.assert_array_equal(np.flatnonzero(bad), [4, 6, 8])
    assert_close(found[..., ~bad], right[..., ~bad])


def test_large_finite_values_are_no_alarm(backend):
    # Their sum is infinite in float32, they are not.
    model = tcnzoo.create(MEMORIES["cumulative"], backend)
    x = np.full((8, 4, 1), 2e37, dtype=np.float32)
    _, state = tcnzoo.step(model, x, tcnzoo.init_state(model, 8))
    assert_close(to_numpy(state["mean"]) / 1e37, np.full((8, 4), 2.0))


def test_an_unknown_policy_is_refused(backend):
    model = tcnzoo.create(MEMORIES["cumulative"], backend)
    call = (tcnzoo.step, model, np.zeros((1, 4, 3)), tcnzoo.init_state(model))
    sentence = "nonfinite must be one of raise, hold, reset, but is 'rest'.*'reset'"
    _refused(sentence, *call, nonfinite="rest")


def test_policy_of_the_command_line(backend, tmp_path):
    tcnzoo.save(tcnzoo.create(MEMORIES["cumulative"], backend), tmp_path / "net")
    x = noise(4, 12)
    x[1, 5] = np.nan
    np.save(tmp_path / "x.npy", x)
    words = ["stream", str(tmp_path / "net"), "--input", str(tmp_path / "x.npy"), "--chunk", "3"]
    words += ["--backend", backend, "--output", str(tmp_path / "y.npy")]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2
    assert "hold NaN" in " ".join(found.stderr.split())
    assert CliRunner().invoke(app, [*words, "--nonfinite", "hold"]).exit_code == 0
    np.testing.assert_array_equal(
        np.isnan(np.load(tmp_path / "y.npy")).any(axis=0)[5:], [1, *[0] * 6]
    )
