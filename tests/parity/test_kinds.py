"""One proof for every kind of block: its oracle, and parity with gradients and streaming.

The oracle checks the reference, and parity checks every backend against the reference. So a kind
that passes here is right in outputs, chunks and gradients of every option that has a case.
"""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.models.backend import backend_of
from tests.support.compare import assert_close, beside, in_order, noise, reference, weights_of
from tests.support.kinds import (
    CASES,
    FEW_STEPS,
    ORACLES,
    gradient_obstacle,
    oracle_answer,
    proved_kind,
    registered_kinds,
    twice,
)

# Sums of some hundred float64 products, in another order.
EXACT = 1e-10


def _distinct():
    """Cases that differ for parity, which gives vectors to models of vectors only."""
    signals = [spec for spec, shape in CASES.values() if len(shape) > 2]
    return [name for name, (spec, shape) in CASES.items() if len(shape) > 2 or spec not in signals]


@pytest.mark.parametrize("name", _distinct())
def test_backend_is_proved(backend, name):
    raw, shape = CASES[name]
    spec = tcnzoo.load_spec(raw)
    report = tcnzoo.parity(spec, backends=[backend], input_length=shape[-1], gradients=True)
    (row,) = report.rows
    assert report.passed, row
    cannot_stream = spec.streaming_blocker() is not None or len(report.input_shape) == 2
    assert (row.stream_error is None) == cannot_stream
    no_gradients = backend == "numpy" or gradient_obstacle(spec) is not None
    assert (row.gradient_error is None) == no_gradients


@pytest.mark.parametrize("name", CASES)
def test_reference_equals_oracle(name):
    raw, shape = CASES[name]
    spec = tcnzoo.load_spec(raw)
    shape = (*shape[:-1], FEW_STEPS.get(spec.kind, shape[-1]))
    weights, x = weights_of(spec), noise(*shape)
    if spec.kind == "hsmm" and spec.emission == "categorical":
        x = np.abs(x)
    inputs = beside(spec, shape)
    found = tcnzoo.predict(reference(spec, weights), x, **inputs)
    assert_close(found, oracle_answer(spec, weights, x, in_order(spec, inputs)), EXACT)


def test_every_kind_has_an_oracle():
    assert set(ORACLES) == registered_kinds()


def test_every_kind_has_a_case():
    assert registered_kinds(["model"]) <= {spec["kind"] for spec, _ in CASES.values()}
    inside = {part.kind for spec, _ in CASES.values() for _, part in tcnzoo.load_spec(spec).walk()}
    assert registered_kinds(["node"]) <= inside


@pytest.mark.parametrize("kind", sorted(registered_kinds()))
def test_oracle_can_fail(kind, monkeypatch):
    block_class = backend_of("numpy").BLOCKS[kind]
    true = block_class.forward

    def doubled(self, *inputs, **options):
        y = true(self, *inputs, **options)
        return twice(y) if self.spec.kind == kind else y

    monkeypatch.setattr(block_class, "forward", doubled)
    with pytest.raises(AssertionError, match="error"):
        test_reference_equals_oracle(next(name for name in CASES if proved_kind(name) == kind))
