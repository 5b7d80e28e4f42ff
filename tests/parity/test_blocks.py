"""Blocks of vectors, of float64 and far from zero, in each backend against the float64 reference.

Every option of every block on signals: test_kinds.py.
"""

import numpy as np
import pytest

import tcnzoo
from tests.support.cases import ACTIVATIONS, BLOCKS
from tests.support.compare import (
    assert_close,
    assert_parity,
    beside,
    noise,
    reference,
    weights_of,
)


@pytest.mark.parametrize("name", [name for name, (_, shape) in BLOCKS.items() if len(shape) == 2])
def test_block_of_vectors_equals_reference(backend, name):
    spec, shape = BLOCKS[name]
    assert_parity(spec, backend, *shape)


def _of_each_kind():
    """The first case of every kind, and convolutions of kernels of their own in float64."""
    found = {}
    for name, (spec, _) in BLOCKS.items():
        found.setdefault(spec["kind"], name)
    more = ["conv1d-s2-d3-g3", "conv1d-depthwise-weight_norm", "conv2d-groups", "rms_norm-g3"]
    return sorted({*found.values(), *more})


@pytest.mark.parametrize("name", _of_each_kind())
def test_block_in_float64_equals_reference(backend, name):
    spec, shape = BLOCKS[name]
    weights, x = weights_of(spec), noise(*shape)
    model = tcnzoo.create(spec, backend, weights=weights, dtype="float64")
    found = tcnzoo.predict(model, x, **beside(spec, shape))
    expected = tcnzoo.predict(reference(spec, weights), x, **beside(spec, shape))
    # Some hundred roundings of 1e-16; the HSMM of MLX computes in float32.
    rough = (backend, spec["kind"]) == ("mlx", "hsmm")
    assert_close(found, expected, 1e-6 if rough else 1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_float64_equals_reference(backend, name):
    spec, x = {"kind": "activation", "name": name}, noise(2, 3, 37) * 4.0
    found = tcnzoo.predict(tcnzoo.create(spec, backend, dtype="float64"), x)
    assert_close(found, tcnzoo.predict(reference(spec, {}), x), 1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_from_zero_stays_finite_and_right(backend, name):
    spec = {"kind": "activation", "name": name}
    x = np.linspace(-200.0, 200.0, 2 * 3 * 9).reshape(2, 3, 9)
    y = tcnzoo.predict(tcnzoo.create(spec, backend), x)
    assert np.isfinite(y).all()
    assert_close(y, tcnzoo.predict(reference(spec, {}), x))


@pytest.mark.parametrize(
    "name",
    [
        "conv1d-causal-zeros", "conv1d-same-reflect-stride2", "conv1d-valid-zeros",
        "conv1d-s2-d3-g3", "conv1d-k5-wn1-bias0", "conv1d-k1-stride3",
        "conv_transpose1d-same-k5-s2-d2", "conv_block-batch_norm", "conv_block-strided",
        "temporal_block-gate-norm", "squeeze_excitation-cumulative-r2-res1",
        "pool-adaptive_average-5",
    ],
)  # fmt: skip
def test_long_signal_equals_reference(backend, name):
    # Backends choose another kernel for long signals.
    spec, shape = BLOCKS[name]
    assert_parity(spec, backend, 3, shape[1], 331)


def test_a_change_of_length_and_batch_between_calls(backend):
    spec, _ = BLOCKS["conv_block-batch_norm"]
    weights = weights_of(spec)
    model, true = tcnzoo.create(spec, backend, weights=weights), reference(spec, weights)
    for batch, length in ((2, 37), (1, 200), (3, 37), (2, 5)):
        x = noise(batch, 3, length)
        assert_close(tcnzoo.predict(model, x), tcnzoo.predict(true, x))


def test_one_signal_and_one_step_are_enough(backend):
    for name in ("conv1d-causal-zeros", "conv_block-layer_norm", "temporal_block", "dense-signal"):
        assert_parity(BLOCKS[name][0], backend, 1, 3, 1, label=name)


def test_a_large_offset_does_not_cost_precision_in_layer_norm(backend):
    # Variance as E[x^2] - E[x]^2 loses every digit here. The input itself is rounded to 2^-15 at
    # 300, which a division by a deviation near 1 hands on: so the reference gets it rounded.
    spec = {"kind": "layer_norm", "channels": 3}
    weights, x = weights_of(spec), (noise(2, 3, 37) + 300.0).astype(np.float32)
    expected = tcnzoo.predict(reference(spec, weights), x)
    found = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x)
    # 300 * 2^-24 is the rounding of the mean; six times that for the sums on the way.
    assert_close(found, expected, 1e-4)


def test_input_is_left_alone(backend):
    spec, shape = BLOCKS["conv_block-batch_norm"]
    x = noise(*shape).astype(np.float32)
    kept = x.copy()
    tcnzoo.predict(tcnzoo.create(spec, backend), x)
    np.testing.assert_array_equal(x, kept)


def test_output_is_float32_and_of_the_shape_the_spec_says(backend):
    for name in (
        "conv1d-same-zeros-stride2",
        "pool-global_average",
        "conv_transpose1d-same-k4-s2-d1",
    ):
        spec, shape = BLOCKS[name]
        y = tcnzoo.predict(tcnzoo.create(spec, backend), noise(*shape))
        assert y.dtype == np.float32
        assert y.shape[1:] == tcnzoo.load_spec(spec).output_shape(shape[1:])
