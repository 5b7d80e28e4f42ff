"""Quantisers of the reference against brute force, and of every backend where codes are far."""

import itertools

import numpy as np
import pytest

import tcnzoo
from tcnzoo import initialise_codebook, quantize
from tcnzoo.errors import InputError, SpecError
from tcnzoo.inference.codebook import kmeans, nearest, spread
from tests.support.compare import (
    assert_close,
    assert_same_bits,
    noise,
    reference,
    stream,
    weights_of,
)
from tests.support.quantizers import quantizer, residual, signal

SPECS = {
    "plain": quantizer(),
    "cosine": quantizer(cosine=True),
    "gradient": quantizer(update="gradient"),
    "rotation": quantizer(gradient="rotation"),
    "residual": residual(False),
    "shared": residual(True),
    "fsq": {"kind": "fsq", "levels": [3, 4, 5, 6, 8]},
}


def distances(values, codes):
    """Squared distance of each value to each code, without any algebra."""
    return ((values[:, None] - codes[None]) ** 2).sum(axis=2)


def rows_of(x):
    """(batch, channels, time) as rows, in the order batch, time."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_reference_takes_the_nearest_code(offset):
    spec, x = quantizer(commitment=0.4), noise(3, 5, 17) + offset
    weights = weights_of(spec)
    weights["codebook"] = (weights["codebook"] + offset).astype(np.float32)
    found = quantize(reference(spec, weights), x)
    codes = weights["codebook"].astype(np.float64)
    squares = distances(rows_of(x), codes)
    chosen = squares.argmin(axis=1)
    np.testing.assert_array_equal(found["indices"].reshape(-1), chosen)
    assert_close(found["output"], np.moveaxis(codes[chosen].reshape(3, 17, 5), -1, 1), 1e-15)
    assert found["vq_loss"] == pytest.approx(0.4 * squares.min(axis=1).sum() / x.size, rel=1e-12)
    share = np.bincount(chosen, minlength=7) / 51
    entropy = -sum(one * np.log(one) for one in share if one)
    assert found["perplexity"] == pytest.approx(np.exp(entropy), rel=1e-12)
    assert found["usage"] == np.count_nonzero(share) / 7


def test_reference_cosine_takes_the_smallest_angle():
    spec, x = SPECS["cosine"], noise(3, 5, 17)
    weights = weights_of(spec)
    codes = weights["codebook"].astype(np.float64)
    codes /= np.sqrt((codes**2).sum(axis=1, keepdims=True))
    values = rows_of(x)
    angles = values @ codes.T / np.sqrt((values**2).sum(axis=1, keepdims=True))
    found = quantize(reference(spec, weights), x)
    np.testing.assert_array_equal(found["indices"].reshape(-1), angles.argmax(axis=1))
    np.testing.assert_allclose(np.linalg.norm(found["output"], axis=1), 1.0, rtol=1e-14)
    # |x - c|^2 = 2 - 2 cos for vectors of length 1.
    mean = np.mean(2.0 - 2.0 * angles.max(axis=1)) / 5
    assert found["vq_loss"] == pytest.approx(0.25 * mean, rel=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_reference_levels_take_what_is_left(shared):
    spec, x = residual(shared), noise(2, 5, 13)
    weights = weights_of(spec)
    left, losses, indices = rows_of(x), [], []
    for level in range(3):
        codes = weights[f"levels.{0 if shared else level}.codebook"].astype(np.float64)
        squares = distances(left, codes)
        indices.append(squares.argmin(axis=1).reshape(2, 13))
        losses.append(0.25 * squares.min(axis=1).mean() / 5)
        left = left - codes[squares.argmin(axis=1)]
    found = quantize(reference(spec, weights), x)
    np.testing.assert_array_equal(found["indices"], np.stack(indices, axis=1))
    assert_close(rows_of(found["output"]), rows_of(x) - left, 1e-14)
    assert found["vq_loss"] == pytest.approx(sum(losses), rel=1e-12)
    assert found["perplexity"].shape == found["usage"].shape == (3,)


def test_reference_fsq_has_evenly_spaced_levels_and_every_index_once():
    spec = tcnzoo.load_spec({"kind": "fsq", "levels": [3, 4, 5]})
    grid = np.array(list(itertools.product(np.linspace(-6, 6, 61), repeat=3))).T[None]
    found = quantize(reference(spec, {}), grid)
    wanted = [[-1, 0, 1], [-1, -0.5, 0, 0.5], [-1, -0.5, 0, 0.5, 1]]
    for channel, levels in enumerate(wanted):
        np.testing.assert_array_equal(np.unique(found["output"][0, channel]), levels)
    codes = rows_of(found["output"])
    pairs = {(int(one), tuple(code)) for one, code in zip(found["indices"][0], codes, strict=True)}
    assert sorted(index for index, _ in pairs) == list(range(60))
    assert found["usage"] == 1.0
    middle = quantize(reference(spec, {}), np.zeros((1, 3, 1)))
    np.testing.assert_array_equal(middle["output"], 0.0)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("count", [1, 700, 2500])
def test_indices_are_true_wherever_the_gap_is_clear(backend, offset, count):
    # More values than a block holds, and a last block that is not full; 48 codes of 5 channels.
    spec = quantizer(codes=48)
    weights, x = weights_of(spec), signal(1, 5, count) + np.float32(offset)
    weights["codebook"] = weights["codebook"] + np.float32(offset)
    squares = np.sort(distances(rows_of(x.astype(np.float64)), weights["codebook"]), axis=1)
    truth = distances(rows_of(x.astype(np.float64)), weights["codebook"]).argmin(axis=1)
    # Centring rounds each difference to 2^-24 of its size; a product of two sums five of them.
    clear = squares[:, 1] - squares[:, 0] > 1e-4
    assert clear.mean() > 0.99
    found = quantize(tcnzoo.create(spec, backend, weights=weights), x)["indices"][0]
    np.testing.assert_array_equal(found[clear], truth[clear])


def test_ties_go_to_the_lowest_index(backend):
    # Small whole numbers, so that scores are exact, and codes 1, 4 and 6 the same.
    spec = quantizer(channels=2)
    weights = weights_of(spec)
    codes = np.array([[8, 0], [2, 2], [0, 8], [8, 8], [2, 2], [-6, -6], [2, 2]], dtype=np.float32)
    codes[5] = -codes.sum(axis=0) + codes[5]  # a mean of 0
    weights["codebook"] = codes
    # The last lies as far from code 0 as from code 3.
    x = np.array([[[2, 1, 6, 3, 9], [2, 3, 1, 3, 4]]], dtype=np.float32)
    found = quantize(tcnzoo.create(spec, backend, weights=weights), x)
    np.testing.assert_array_equal(found["indices"], [[1, 1, 0, 1, 0]])


@pytest.mark.parametrize("name", SPECS)
def test_quantize_equals_reference(backend, name):
    spec, x = SPECS[name], noise(3, 5, 23)
    weights = weights_of(spec)
    found = quantize(tcnzoo.create(spec, backend, weights=weights), x)
    expected = quantize(reference(spec, weights), x)
    np.testing.assert_array_equal(found["indices"], expected["indices"])
    assert found["indices"].dtype == np.int64
    assert_close(found, expected)
    assert_close(tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x), found["output"])


@pytest.mark.parametrize("name", SPECS)
def test_masked_steps_are_left_out(backend, name):
    spec, x = SPECS[name], noise(3, 5, 23)
    weights, mask = weights_of(spec), noise(3, 23, seed=4) > 0.2
    model = tcnzoo.create(spec, backend, weights=weights)
    found = quantize(model, x, mask)
    kept = x.transpose(0, 2, 1)[mask].T[None]
    alone = quantize(model, kept)
    for key in ("vq_loss", "perplexity", "usage"):
        assert_close(found[key], alone[key])
    outside = np.moveaxis(found["output"], 1, -1)[~mask]
    np.testing.assert_array_equal(outside, 0.0)
    indices = found["indices"] if found["indices"].ndim == 2 else found["indices"][:, 1]
    np.testing.assert_array_equal(indices[~mask], -1)
    assert (indices[mask] >= 0).all()
    # What stands where nobody looks does not matter, be it NaN.
    hidden = np.where(mask[:, None], x, np.nan)
    assert_close(quantize(model, hidden, mask), found, 1e-12)


def test_vectors_are_quantised_too(backend):
    spec, x = SPECS["residual"], noise(6, 5)
    weights = weights_of(spec)
    model = tcnzoo.create(spec, backend, weights=weights)
    found = quantize(model, x, np.array([True, False, True, True, True, False]))
    assert found["output"].shape == (6, 5)
    assert found["indices"].shape == (6, 3)
    assert (found["indices"][1] == -1).all()
    expected = tcnzoo.predict(reference(spec, weights), x)
    assert_close(found["output"][[0, 2, 3, 4]], expected[[0, 2, 3, 4]])


def test_a_stream_needs_no_state(backend):
    spec, x = SPECS["residual"], noise(2, 5, 31)
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    found, state = stream(model, x, [1, 2, 15])
    assert not dict(state)
    assert_close(found, tcnzoo.predict(model, x))


def test_kmeans_is_lloyds_algorithm():
    values = noise(97, 3)
    centres = values[[(2 * place + 1) * 97 // 12 for place in range(6)]]
    np.testing.assert_array_equal(values[spread(6, 97)], centres)
    for _ in range(4):
        chosen = distances(values, centres).argmin(axis=1)
        counts = np.bincount(chosen, minlength=6)
        centres = np.array([values[chosen == code].mean(axis=0) for code in range(6)])
    found, sizes = kmeans(values, 6, 4)
    np.testing.assert_allclose(found, centres, rtol=1e-12)
    np.testing.assert_array_equal(sizes, counts)


def test_kmeans_starts_empty_clusters_again_at_the_farthest_values():
    # 40 values at two places and one far off: the evenly spaced start sees only the two.
    values = np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0)
    values[7] = [30.0, 0.0]
    found, _ = kmeans(values, 3, 5)
    assert {tuple(centre) for centre in found} == {(0.0, 0.0), (1.0, 1.0), (30.0, 0.0)}


def test_initial_codes_have_the_same_bits_in_every_backend(backend):
    x = noise(2, 5, 41)
    for spec in (quantizer(kmeans_iterations=2), residual(False), residual(True)):
        weights = weights_of(spec)
        model = tcnzoo.create(spec, backend, weights=weights)
        initialise_codebook(model, x, iterations=3)
        twin = tcnzoo.create(spec, "numpy", weights=weights)
        initialise_codebook(twin, x, iterations=3)
        assert_same_bits(tcnzoo.get_weights(model), tcnzoo.get_weights(twin))
    placed = tcnzoo.get_weights(
        tcnzoo.create(quantizer(), "numpy", weights=weights_of(quantizer()))
    )
    model = tcnzoo.create(quantizer(), backend, weights=placed)
    initialise_codebook(model, x, iterations=3)
    centres, counts = kmeans(rows_of(x), 7, 3)
    after = tcnzoo.get_weights(model)
    np.testing.assert_array_equal(after["codebook"], centres.astype(np.float32))
    np.testing.assert_array_equal(after["cluster_size"], counts)


def test_codebooks_inside_a_model_start_at_what_reaches_them(backend):
    conv = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 2}
    spec = {"kind": "sequential", "layers": {"conv": conv, "codes": quantizer()}}
    weights, x = weights_of(spec), noise(2, 3, 41)
    model = tcnzoo.create(spec, backend, weights=weights)
    initialise_codebook(model, x, iterations=3)
    held = {name: weights[f"conv.{name}"] for name in ("weight", "bias")}
    inner = tcnzoo.predict(reference(conv, held), x)
    found = tcnzoo.get_weights(model)["codes.codebook"]
    np.testing.assert_array_equal(found, kmeans(rows_of(inner), 7, 3)[0].astype(np.float32))


def test_the_reference_search_is_done_in_blocks():
    values, codes = noise(1300, 4), noise(9, 4, seed=1)
    np.testing.assert_array_equal(nearest(values, codes), distances(values, codes).argmin(axis=1))


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"codes": 1}, "codes"),
        ({"gradient": "none"}, "gradient"),
        (
            {"update": "gradient", "kmeans_iterations": 3},
            "kmeans_iterations must be 0 with update 'gradient'; call initialise_codebook before "
            "training instead",
        ),
    ],
)
def test_specs_that_make_no_sense_are_refused(change, sentence):
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec(quantizer(**change))
    assert sentence in str(caught.value)


def test_levels_of_two_are_refused():
    with pytest.raises(SpecError, match="levels"):
        tcnzoo.load_spec({"kind": "fsq", "levels": [3, 2]})


def _refused(backend, sentence, call, **options):
    """Hold that a call on a fresh model of each kind is refused with one sentence."""
    for spec in (quantizer(), residual(False)):
        model = tcnzoo.create(spec, backend, weights=weights_of(spec))
        before = tcnzoo.get_weights(model)
        with pytest.raises(InputError) as caught:
            call(model, **options)
        assert str(caught.value) == sentence
        assert_same_bits(tcnzoo.get_weights(model), before)


def test_bad_input_is_refused_in_one_sentence(backend):
    x = noise(2, 5, 6)
    broken = np.where(np.arange(6) == 3, np.nan, x)
    finite = "a quantiser takes finite values only, but the input holds NaN or infinity"
    _refused(backend, finite, quantize, x=broken)
    _refused(backend, finite, initialise_codebook, x=broken)
    empty = "a quantiser needs at least one step that is not masked, but the batch holds none"
    _refused(backend, empty, quantize, x=x, mask=np.zeros((2, 6), dtype=bool))
    shape = "the mask must have one value a step, shape (2, 6), but has (2, 5)"
    _refused(backend, shape, quantize, x=x, mask=np.ones((2, 5), dtype=bool))
    few = "k-means for 7 codes needs at least 7 values, but 6 came"
    _refused(backend, few, initialise_codebook, x=x[:1])
    again = "iterations must be at least 1, but is 0"
    _refused(backend, again, initialise_codebook, x=x, iterations=0)


def test_models_without_a_codebook_are_refused(backend):
    dense = tcnzoo.create({"kind": "dense", "in_features": 3, "out_features": 5}, backend)
    with pytest.raises(InputError, match="vector_quantizer, residual_vq or fsq, but this one is a"):
        quantize(dense, noise(2, 3, 7))
    with pytest.raises(InputError, match="a dense model has no codebook to initialise"):
        initialise_codebook(dense, noise(2, 3, 7))
    fsq = tcnzoo.create(SPECS["fsq"], backend)
    with pytest.raises(InputError, match="a fsq model has no codebook to initialise"):
        initialise_codebook(fsq, noise(2, 5, 7))
