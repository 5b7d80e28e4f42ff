"""What the tests compare with: noise, weights that hide nothing, and the float64 reference."""

from collections.abc import Mapping

import numpy as np
import pytest

import tcnzoo
from tcnzoo.models.side_inputs import by_role, drawn, ordered
from tcnzoo.specs.params import varied_weights
from tcnzoo.verification.parity import TOLERANCE

# float32 against float64. A gradient sums one rounding for each step and layer behind it; measured
# need on these models 8e-6. Relative to the gradient's own largest value, or to a hundredth of the
# largest of all: a bias before a batch norm has gradient zero in training, and noise of 4e-5 in it.
GRADIENT_TOLERANCE = 1e-4
GRADIENT_FLOOR = 1e-2


def noise(*shape, seed=0):
    """Seeded standard normal values, float64."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def weights_of(spec, seed=0):
    """Weights of a spec with every scale, shift and statistic off its start value."""
    return varied_weights(tcnzoo.load_spec(spec).params(), seed)


def rows_for(spec, batch, length, seed=7):
    """One array for each embedding of a spec that has no masks."""
    shapes = [
        (batch, one.channels) + ((length,) if one.per_step else ())
        for one in tcnzoo.load_spec(spec).embedding_specs
    ]
    return [noise(*shape, seed=seed + place) for place, shape in enumerate(shapes)]


def beside(spec, shape, seed=7):
    """What `predict` takes beside a signal: noise as embeddings, zeros and ones as masks.

    The last signal of a batch has masks of zeros only, as the last token of a mask of pairs has.
    """
    spec = tcnzoo.load_spec(spec)
    if not any(wanted.role == "mask" for wanted in spec.embedding_specs):
        return {"embeddings": rows_for(spec, shape[0], shape[-1], seed)}
    return by_role(spec, drawn(spec, shape, np.random.default_rng(seed)))


def in_order(spec, inputs):
    """What `beside` gives as one list, in the order of the model."""
    return ordered(
        tcnzoo.load_spec(spec).embedding_specs, inputs["embeddings"], inputs.get("masks", {})
    )


def reference(spec, weights):
    """The float64 reference model."""
    return tcnzoo.create(spec, "numpy", weights=weights, dtype="float64")


def assert_close(found, expected, tolerance=TOLERANCE, label=""):
    """Hold |found - expected| <= tolerance * max(1, max|expected|), and the shapes equal.

    Dictionaries are compared entry by entry; a NaN never passes.
    """
    if isinstance(expected, Mapping):
        assert list(found) == list(expected), f"{label}: {list(found)} instead of {list(expected)}"
        for name in expected:
            assert_close(found[name], expected[name], tolerance, f"{label} {name}")
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{label}: {found.shape} instead of {expected.shape}"
    if expected.size == 0:
        return
    error = np.abs(found.astype(np.float64) - expected).max() / max(1.0, np.abs(expected).max())
    assert error <= tolerance, f"{label}: error {error:.2e} is above {tolerance:.0e}"


def assert_same_bits(found, expected):
    """Hold two sets of weights or states equal in names, order, types, shapes and every bit."""
    assert list(found) == list(expected)
    for name in expected:
        one, other = np.asarray(found[name]), np.asarray(expected[name])
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), f"{name} differs"


def assert_gradients_close(found, expected):
    """Hold every gradient within tolerance of its own scale, or a hundredth of the largest one."""
    assert list(found) == list(expected)
    largest = max(np.abs(array).max() for array in expected.values())
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        scale = max(np.abs(array).max(), GRADIENT_FLOOR * largest)
        error = np.abs(found[name].astype(np.float64) - array).max() / scale
        assert error <= GRADIENT_TOLERANCE, f"gradient of {name}: relative error {error:.1e}"


def assert_refused(error, sentence, call, *args, **options):
    """Hold that a call raises just `error` with exactly this sentence."""
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    assert str(caught.value) == sentence


def assert_parity(spec, backend, *shape, label=""):
    """Hold a backend's output for noise of `shape` against the float64 reference."""
    spec = tcnzoo.load_spec(spec)
    weights, x = weights_of(spec), noise(*shape)
    inputs = beside(spec, shape)
    model = tcnzoo.create(spec, backend, weights=weights)
    expected = tcnzoo.predict(reference(spec, weights), x, **inputs)
    assert_close(tcnzoo.predict(model, x, **inputs), expected, label=label)


def stream(model, x, cuts, rows=(), state=None):
    """Feed x in chunks that end at `cuts` and at the end; return (all outputs, last state)."""
    state = tcnzoo.init_state(model, x.shape[0]) if state is None else state
    edges, pieces = [0, *cuts, x.shape[-1]], []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        part = [row[:, :, start:stop] if row.ndim == 3 else row for row in rows]
        piece, state = tcnzoo.step(model, x[..., start:stop], state, embeddings=part)
        pieces.append(piece)
    return np.concatenate(pieces, axis=-1), state
