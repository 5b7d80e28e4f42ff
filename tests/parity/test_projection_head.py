"""Projection head: features of unit length, whatever their size and type."""

import numpy as np
import pytest

import tcnzoo

SPEC = {"kind": "projection_head", "in_features": 4, "out_features": 4, "layers": 1}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e3])
def test_features_have_unit_length(backend, dtype, size):
    """The sum of squares of 1000 overflows in float16, and an eps of 1e-12 is zero there."""
    if backend == "numpy" and dtype != "float32":
        pytest.skip("the reference computes in float32 and float64")
    weights = {"output.weight": np.eye(4, dtype=np.float32), "output.bias": np.zeros(4, np.float32)}
    model = tcnzoo.create(SPEC, backend, weights=weights, dtype=dtype)
    y = np.asarray(tcnzoo.predict(model, np.full((1, 4), size, np.float32)), np.float64)
    length = np.linalg.norm(y)
    assert length == (pytest.approx(1.0, abs=1e-2) if size else 0.0)
