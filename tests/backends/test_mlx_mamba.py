"""Mamba-2 in MLX: spans and chunks, and the depthwise convolution before them."""

import numpy as np
import pytest

import tcnzoo
from tests.support.cases import conv1d, mamba2
from tests.support.compare import assert_close, noise, reference, weights_of


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("fields", [{}, {"groups": 2, "d_per_channel": True}])
@pytest.mark.parametrize("size", [None, 7])
def test_spans_of_one_chunk_give_the_reference(fields, batch, size, monkeypatch):
    """What the state carries from span to span is what it carries from chunk to chunk."""
    monkeypatch.setattr("tcnzoo.backends.mlx.mamba.SPAN", 1)
    spec, x = mamba2(**fields), noise(batch, 3, 53).astype(np.float32)
    weights = weights_of(spec)
    expected = tcnzoo.predict(reference(spec, weights), x.astype(np.float64))
    model = tcnzoo.create(mamba2(**fields, chunk_size=size), "mlx", weights=weights)
    assert_close(tcnzoo.predict(model, x), expected)


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_convolution_of_each_channel_is_one_with_zeros_between_channels(dilation):
    """The output is the reference's, the gradients those of a dense kernel on its diagonal."""
    fields = {"in_channels": 3, "out_channels": 3, "dilation": dilation}
    spec, x = conv1d(**fields, groups=3), noise(2, 3, 29).astype(np.float32)
    weights = weights_of(spec)
    model = tcnzoo.create(spec, "mlx", weights=weights)
    y = tcnzoo.predict(reference(spec, weights), x.astype(np.float64))
    assert_close(tcnzoo.predict(model, x), y)
    full = weights["weight"] * np.eye(3, dtype=np.float32)[:, :, None]
    dense = tcnzoo.create(conv1d(**fields), "mlx", weights={**weights, "weight": full})
    target = noise(*y.shape, seed=1).astype(np.float32)
    _, found = tcnzoo.gradients(model, x, target)
    _, expected = tcnzoo.gradients(dense, x, target)
    assert_close(found["input"], expected["input"])
    assert_close(found["bias"], expected["bias"])
    diagonal = np.einsum("cck->ck", expected["weight"])[:, None]
    assert_close(found["weight"], diagonal)
