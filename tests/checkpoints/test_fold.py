"""Folding gives an equal model without weight norm and without the batch norms behind kernels."""

import numpy as np
import pytest

import tcnzoo
from tests.support.cases import BLOCKS, NORMS
from tests.support.compare import (
    assert_close,
    assert_same_bits,
    noise,
    reference,
    rows_for,
    weights_of,
)
from tests.support.tcns import tcn

DEEP = {
    "kind": "sequential",
    "layers": {
        "block": {**BLOCKS["conv_block-batch_norm"][0], "bias": False},
        "normed": {"kind": "batch_norm", "channels": 5},
        "tcn": {**tcn(norm="weight_norm"), "in_channels": 5},
        "up": {**BLOCKS["conv_transpose1d-weight_norm-bias0"][0], "in_channels": 6},
        "pool": {"kind": "pool"},
        "dense": {"kind": "dense_block", "in_features": 5, "out_features": 2, "norm": "batch_norm"},
    },
}
SPECS = {
    **{f"tcn-{norm}": tcn("add", "cumulative", norm=norm, gate=True) for norm in NORMS},
    **{f"conv_block-{norm}": BLOCKS[f"conv_block-{norm}"][0] for norm in NORMS},
    "grouped": BLOCKS["conv1d-depthwise-weight_norm"][0],
    "transposed": BLOCKS["conv_transpose1d-weight_norm-bias1"][0],
    "block-without-bias": BLOCKS["conv_block-strided"][0],
    "temporal_block": {**BLOCKS["temporal_block"][0], "norm": "batch_norm"},
    "deep": DEEP,
}


@pytest.mark.parametrize("name", SPECS)
def test_folded_model_is_equal(name):
    spec = tcnzoo.load_spec(SPECS[name])
    weights, x, rows = weights_of(spec), noise(2, 3, 21), rows_for(spec, 2, 21)
    wide = {key: array.astype(np.float64) for key, array in weights.items()}
    folded, fewer = tcnzoo.fold(spec, wide)
    expected = tcnzoo.predict(reference(spec, weights), x, embeddings=rows)
    # Weights stay float64 when they are given so: only the order of products differs.
    assert_close(tcnzoo.predict(reference(folded, fewer), x, embeddings=rows), expected, 1e-12)
    assert list(fewer) == list(folded.params())


@pytest.mark.parametrize("name", ["tcn-weight_norm", "tcn-batch_norm", "deep"])
def test_folded_model_is_equal_in_each_backend(backend, name):
    spec = tcnzoo.load_spec(SPECS[name])
    weights, x, rows = weights_of(spec), noise(2, 3, 21), rows_for(spec, 2, 21)
    folded, fewer = tcnzoo.fold(spec, weights)
    expected = tcnzoo.predict(reference(spec, weights), x, embeddings=rows)
    model = tcnzoo.create(folded, backend, weights=fewer)
    assert_close(tcnzoo.predict(model, x, embeddings=rows), expected)


def test_what_is_left_and_what_is_gone():
    spec = tcnzoo.load_spec(DEEP)
    folded, weights = tcnzoo.fold(spec, weights_of(spec))
    names = " ".join(weights)
    assert "weight_v" not in names
    assert "weight_g" not in names
    # A batch norm that stands alone has no kernel to go into.
    assert [name for name in weights if "running_mean" in name] == ["normed.running_mean"]
    assert "block.conv.bias" in weights
    assert folded.layers["block"].bias
    assert all(array.dtype == np.float32 for array in weights.values())


def test_layer_norm_is_left():
    spec = tcnzoo.load_spec(SPECS["tcn-layer_norm"])
    weights = weights_of(spec)
    folded, same = tcnzoo.fold(spec, weights)
    assert folded == spec
    assert list(same) == list(weights)


def test_given_weights_are_not_changed():
    spec = tcnzoo.load_spec(SPECS["tcn-batch_norm"])
    weights = weights_of(spec)
    kept = {name: array.copy() for name, array in weights.items()}
    tcnzoo.fold(spec, weights)
    np.testing.assert_equal(weights, kept)


def test_folding_twice_is_folding_once():
    spec = tcnzoo.load_spec(DEEP)
    folded, weights = tcnzoo.fold(spec, weights_of(spec))
    again, same = tcnzoo.fold(folded, weights)
    assert again == folded
    np.testing.assert_equal(same, weights)


def test_layers_of_a_sequential_named_as_in_a_block_are_left_as_they_are():
    layers = {"conv": {"kind": "conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 2}}
    layers["norm"] = {"kind": "batch_norm", "channels": 4}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    weights = weights_of(spec)
    folded, effective = tcnzoo.fold(spec, weights)
    assert folded == spec
    assert_same_bits(effective, weights)
