"""Weights go through backends, files and types without the loss of a bit."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.models.backend import get_backend
from tests.support.cases import BLOCKS
from tests.support.compare import (
    assert_close,
    assert_same_bits,
    noise,
    reference,
    rows_for,
    weights_of,
)
from tests.support.tcns import tcn

SPECS = {
    "tcn-batch_norm": tcn(
        "concat", "cumulative", gate=True, skip_connections=True, norm="batch_norm"
    ),
    "tcn-weight_norm": tcn("add", "global", norm="weight_norm", output_projection=2),
    "grouped": BLOCKS["conv1d-depthwise-weight_norm"][0],
    "transposed": BLOCKS["conv_transpose1d-weight_norm-bias1"][0],
    "nested": BLOCKS["sequential-nested"][0],
    "dense_block": BLOCKS["dense_block-batch_norm"][0],
}


@pytest.mark.parametrize("name", SPECS)
def test_set_then_get_gives_the_same_bits(backend, name):
    weights = weights_of(SPECS[name])
    model = tcnzoo.create(SPECS[name], backend)
    tcnzoo.set_weights(model, weights)
    assert_same_bits(tcnzoo.get_weights(model), weights)


@pytest.mark.parametrize("name", SPECS)
def test_round_all_backends_and_back_gives_the_same_bits(backends, name):
    weights = start = weights_of(SPECS[name])
    ring = [one for one in ("torch", "mlx", "keras", "numpy") if one in backends]
    for one in [*ring, ring[0]]:
        weights = tcnzoo.get_weights(tcnzoo.create(SPECS[name], one, seed=5, weights=weights))
    assert_same_bits(weights, start)


def test_round_through_checkpoints_of_all_backends(backends, tmp_path):
    spec = SPECS["tcn-batch_norm"]
    start = weights_of(spec)
    model = tcnzoo.create(spec, backends[0], weights=start)
    for place, (writer, reader) in enumerate(itertools.permutations(backends, 2)):
        tcnzoo.save(
            tcnzoo.create(spec, writer, weights=tcnzoo.get_weights(model)), tmp_path / str(place)
        )
        model = tcnzoo.load(tmp_path / str(place), reader)
        assert_same_bits(tcnzoo.get_weights(model), start)


def test_loaded_model_gives_the_same_output(backend, tmp_path):
    spec = SPECS["tcn-batch_norm"]
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    tcnzoo.save(model, tmp_path / "saved")
    loaded = tcnzoo.load(tmp_path / "saved", backend)
    x, rows = noise(2, 3, 21), rows_for(spec, 2, 21)
    np.testing.assert_array_equal(
        tcnzoo.predict(loaded, x, embeddings=rows), tcnzoo.predict(model, x, embeddings=rows)
    )


def test_new_weights_are_used_at_once(backend):
    # Also by whatever a backend has compiled, folded or packed for the old ones.
    for spec in (
        BLOCKS["conv_block-batch_norm"][0],
        BLOCKS["conv1d-k5-wn1-bias1"][0],
        tcn(norm="batch_norm"),
    ):
        model, x = tcnzoo.create(spec, backend), noise(2, 3, 21)
        streams = tcnzoo.load_spec(spec).streaming_blocker() is None
        for seed in range(3):
            weights = weights_of(spec, seed)
            tcnzoo.set_weights(model, weights)
            expected = tcnzoo.predict(reference(spec, weights), x)
            assert_close(tcnzoo.predict(model, x), expected)
            if streams:
                first, _ = tcnzoo.step(model, x[:, :, :1], tcnzoo.init_state(model, 2))
                assert_close(first, expected[:, :, :1])


def test_weights_come_as_copies(backend):
    spec = SPECS["dense_block"]
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    for array in tcnzoo.get_weights(model).values():
        array[...] = 7.0
    given = weights_of(spec)
    tcnzoo.set_weights(model, given)
    for array in given.values():
        array[...] = 7.0
    assert_same_bits(tcnzoo.get_weights(model), weights_of(spec))


def test_weights_of_any_strides_are_taken(backend):
    spec = SPECS["tcn-weight_norm"]
    weights = weights_of(spec)
    odd = {name: _strided(array) for name, array in weights.items()}
    assert any(not array.flags.c_contiguous for array in odd.values())
    assert_same_bits(tcnzoo.get_weights(tcnzoo.create(spec, backend, weights=odd)), weights)


def _strided(array):
    """The same values, every second element of a flipped and transposed block."""
    wide = np.zeros([2 * size for size in array.shape[::-1]], array.dtype)
    view = wide[tuple(slice(None, None, -2) for _ in array.shape)].T
    view[...] = array
    return view


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_weights_survive(backend, dtype, tmp_path):
    spec = SPECS["tcn-weight_norm"]
    numbers = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    weights = {name: array.astype(numbers) for name, array in weights_of(spec).items()}
    if dtype not in get_backend(backend).DTYPES:
        with pytest.raises(tcnzoo.SpecError, match=f"'{backend}' computes in .*, not in '{dtype}'"):
            tcnzoo.create(spec, backend, dtype=dtype)
        return
    model = tcnzoo.create(spec, backend, weights=weights, dtype=dtype)
    assert_same_bits(tcnzoo.get_weights(model), weights)
    tcnzoo.save(model, tmp_path / "saved")
    loaded = tcnzoo.load(tmp_path / "saved", backend)
    assert loaded.tcnzoo.dtype == dtype
    assert_same_bits(tcnzoo.get_weights(loaded), weights)
    widened = tcnzoo.load(tmp_path / "saved", backend, dtype="float32")
    wide = {name: array.astype(np.float32) for name, array in weights.items()}
    assert_same_bits(tcnzoo.get_weights(widened), wide)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_outputs_are_near(backend, dtype):
    if dtype not in get_backend(backend).DTYPES:
        pytest.skip(f"{backend} does not compute in {dtype}")
    spec = tcn("add", "cumulative", norm="layer_norm")
    weights, x, rows = weights_of(spec), noise(2, 3, 21), rows_for(spec, 2, 21)
    model = tcnzoo.create(spec, backend, weights=weights, dtype=dtype)
    found = tcnzoo.predict(model, x, embeddings=rows)
    assert str(found.dtype) == dtype
    expected = tcnzoo.predict(reference(spec, weights), x, embeddings=rows)
    # 8 and 11 bits of mantissa, over six convolutions.
    assert_close(found, expected, {"bfloat16": 0.1, "float16": 0.01}[dtype])
    state = tcnzoo.init_state(model, 2)
    found = {name: str(to_numpy(array).dtype) for name, array in state.items()}
    assert found == {name: item.dtype(dtype) for name, item in model.tcnzoo.state.items()}
    # The mean so far is a sum, and its count is one of months.
    assert set(found.values()) == {dtype, "float32", "int64"}


def test_sixteen_bit_files_load_in_the_float32_only_backend_by_name(tmp_path):
    spec = SPECS["dense_block"]
    half = {name: array.astype(np.float16) for name, array in weights_of(spec).items()}
    tcnzoo.checkpoints.directory.write_checkpoint(tmp_path / "half", tcnzoo.load_spec(spec), half)
    with pytest.raises(
        tcnzoo.SpecError, match="'numpy' computes in float32, float64, not in 'float16'"
    ):
        tcnzoo.load(tmp_path / "half", "numpy")
    model = tcnzoo.load(tmp_path / "half", "numpy", dtype="float32")
    assert_close(tcnzoo.get_weights(model), half, 0.0)
