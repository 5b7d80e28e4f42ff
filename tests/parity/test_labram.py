"""LaBraM in every backend, with gradients, for inputs of 1e-3 and 1e3 times the usual size.

An eps that is not the original's shows in small inputs alone.
"""

from dataclasses import replace

import pytest

import tcnzoo
from tcnzoo.zoo.foreign.labram import (
    Encoder,
    classifier_document,
    mem_document,
    tokenizer_document,
)
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    beside,
    noise,
    reference,
    weights_of,
)

SMALL = Encoder(
    channels=16, depth=2, heads=2, hidden=12, patch=32, out_channels=4, rows=3,
    electrodes=("FP1", "CZ", "O2"),
)  # fmt: skip
HALF = replace(SMALL, qkv_bias="qv", qk_norm=False, layer_scale=None)
MODELS = {
    "classifier": classifier_document(SMALL, 3),
    "cls": classifier_document(SMALL, 2, "cls"),
    "mem": mem_document(SMALL, 5),
    "tokenizer": tokenizer_document(HALF, HALF, codes=7, code_channels=5, bins=9),
}
SCALES = (1e-3, 1.0, 1e3)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_the_reference(backend, name, scale):
    spec = tcnzoo.load_spec(MODELS[name])
    weights, x = weights_of(spec), scale * noise(2, 3, 64)
    inputs = beside(spec, x.shape)
    expected = tcnzoo.predict(reference(spec, weights), x, **inputs)
    found = tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x, **inputs)
    assert_close(found, expected)


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_equal_those_in_double_precision(native, scale):
    pytest.importorskip("torch")
    spec = tcnzoo.load_spec(MODELS["classifier"])
    weights, x, target = weights_of(spec), scale * noise(2, 3, 64), noise(2, 3, seed=3)
    exact = tcnzoo.create(spec, "torch", weights=weights, dtype="float64")
    loss, expected = tcnzoo.gradients(exact, x, target)
    found_loss, found = tcnzoo.gradients(tcnzoo.create(spec, native, weights=weights), x, target)
    assert_close(found_loss, loss)
    assert_gradients_close(found, expected)
