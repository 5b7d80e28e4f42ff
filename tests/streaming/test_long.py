"""Streams of days: means and counts stay right after 2^24, 2^26 and 2^31 steps, in any chunks."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.errors import InputError
from tests.support.cases import BLOCKS
from tests.support.compare import assert_close, noise, weights_of

SPEC = {"kind": "squeeze_excitation", "channels": 4, "pool": "cumulative", "reduction": 2}
# The mean is held to a few roundings of float32 of what it moved by, from 1 to 2.
MOVED = 1e-6


def _mean(state):
    """The mean that a state stands for, in float64."""
    return to_numpy(state["mean"]).astype(float) + to_numpy(state["mean_low"]).astype(float)


def _set_forward(model, count, batch=1):
    """The state after `count` steps of ones."""
    _, state = tcnzoo.step(model, np.ones((batch, 4, 1)), tcnzoo.init_state(model, batch))
    return {**state, "count": np.asarray(count, dtype=np.int64)}


@pytest.fixture(scope="module")
def models():
    """Build the model once for each backend and float type."""
    kept = {}

    def build(backend, dtype="float32"):
        if (backend, dtype) not in kept:
            kept[backend, dtype] = tcnzoo.create(
                SPEC, backend, weights=weights_of(SPEC), dtype=dtype
            )
        return kept[backend, dtype]

    return build


@pytest.mark.parametrize("chunks", [[1] * 60, [7, 1, 40, 12], [60]])
@pytest.mark.parametrize("count", [10, 2**24, 2**26, 2**31 - 5])
def test_mean_moves_by_every_step(models, backend, count, chunks):
    model, x = models(backend), 1.0 + np.abs(noise(1, 4, 60)).astype(np.float32)
    state = _set_forward(model, count)
    place = 0
    for steps in chunks:
        _, state = tcnzoo.step(model, x[:, :, place : place + steps], state)
        place += steps
    moved = (x.astype(float) - 1.0).sum(axis=2) / (count + 60)
    np.testing.assert_allclose(_mean(state) - 1.0, moved, rtol=MOVED, atol=1e-13)
    assert int(to_numpy(state["count"])) == count + 60


def test_outputs_after_two_to_the_31(models, backend):
    model, ones = models(backend), np.ones((1, 4, 8))
    right = tcnzoo.predict(model, ones)
    state = _set_forward(model, 2**31 - 3)
    for _ in range(2):
        y, state = tcnzoo.step(model, ones, state)
        assert_close(y, right)


def test_one_mean_for_many_chunks(models, backend):
    # Ten thousand steps, in ragged chunks and whole, against float64.
    model, x = models(backend), (noise(1, 4, 10_000) + 3.0).astype(np.float32)
    _, whole = tcnzoo.step(model, x, tcnzoo.init_state(model))
    state, place = tcnzoo.init_state(model), 0
    for steps in (1, 700, 1, 2, 5000, 3, 90, 10_000):
        _, state = tcnzoo.step(model, x[:, :, place : place + steps], state)
        place += steps
    exact = x.astype(float).mean(axis=2)
    np.testing.assert_allclose(_mean(whole), exact, rtol=MOVED)
    np.testing.assert_allclose(_mean(state), exact, rtol=MOVED)


def test_sums_by_blocks_do_not_drift(native):
    # 2.3 is no float32: summed one after the other its rounding errors all have one sign.
    x = np.full((1, 2, 300_001), 2.3, dtype=np.float32)
    steps = np.arange(1, x.shape[2] + 1)
    means = _block_sums(native, x) / steps
    np.testing.assert_allclose(means, np.broadcast_to(x.astype(float), x.shape), rtol=2 * MOVED)


def _block_sums(backend, x):
    """Sums up to each step of (batch, channels, time) by the helper of a backend, in float64."""
    if backend == "torch":
        import torch

        from tcnzoo.backends.torch.squeeze_excitation import by_blocks

        return by_blocks(torch.from_numpy(x)).numpy().astype(float)
    last = np.ascontiguousarray(x.swapaxes(1, 2))
    if backend == "mlx":
        import mlx.core as mx

        from tcnzoo.backends.mlx.squeeze_excitation import running_sums

        found = running_sums(mx.array(last))
    else:
        import keras

        from tcnzoo.backends.keras.squeeze_excitation import running_sums

        found = running_sums(keras.ops.convert_to_tensor(last))
    return to_numpy(found).swapaxes(1, 2).astype(float)


def test_long_offline_signals_of_any_length(native):
    # Keras compiles a function for unknown lengths after the second.
    model = tcnzoo.create(SPEC, native, weights=weights_of(SPEC))
    for length in (40, 1, 33, 2500):
        x = noise(2, 4, length) + 2.0
        exact = tcnzoo.create(SPEC, "numpy", weights=weights_of(SPEC), dtype="float64")
        assert_close(tcnzoo.predict(model, x), tcnzoo.predict(exact, x))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_models_of_16_bits_keep_their_mean_in_float32(models, native, dtype):
    model = models(native, dtype)
    state = tcnzoo.init_state(model)
    for _ in range(3):
        assert {to_numpy(state[name]).dtype for name in ("mean", "mean_low")} == {
            np.dtype(np.float32)
        }
        _, state = tcnzoo.step(model, np.full((1, 4, 5), 1.5), state)
    state = _set_forward(model, 2**24)
    _, state = tcnzoo.step(model, np.full((1, 4, 1), 2.0), state)
    np.testing.assert_allclose(_mean(state) - 1.0, 1 / (2**24 + 1), rtol=MOVED)


def test_states_of_earlier_versions_go_on(models, backend):
    model, x = models(backend), noise(2, 4, 9)
    _, state = tcnzoo.step(model, x, tcnzoo.init_state(model, 2))
    older = {"mean": to_numpy(state["mean"]), "count": np.asarray(9, dtype=np.int32)}
    right, expected = tcnzoo.step(model, x, state)
    y, after = tcnzoo.step(model, x, older)
    assert_close(y, right)
    assert_close(_mean(after), _mean(expected))
    assert int(to_numpy(after["count"])) == 18


def test_a_counter_that_has_overflowed_is_refused(models, backend):
    model, x = models(backend), noise(2, 4, 9)
    state = {"mean": np.ones((2, 4)), "count": np.asarray(-(2**31) + 5, dtype=np.int32)}
    with pytest.raises(InputError, match="'count' counts steps, but is -2147483643: an int32"):
        tcnzoo.step(model, x, state)


def test_hsmm_only_notes_that_it_has_begun(backend):
    model = tcnzoo.create(BLOCKS["hsmm-filtered"][0], backend)
    x = noise(1, model.tcnzoo.spec.input_channels, 6)
    state = tcnzoo.init_state(model)
    for start in (0, 2, 4):
        _, state = tcnzoo.step(model, x[..., start : start + 2], state)
        assert int(to_numpy(state["count"])) == 1
