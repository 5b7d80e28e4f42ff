"""One training step of a quantiser in every framework against a float64 one by hand."""

import numpy as np
import pytest

import tcnzoo
from tests.support.compare import GRADIENT_TOLERANCE, assert_close, noise, weights_of
from tests.support.quantizers import quantizer, residual, signal, train_step

# Those with restarts have a threshold that about half of the codes fall below.
SPECS = {
    f"{gradient}-{update}-{'cosine' if cosine else 'plain'}": quantizer(
        gradient=gradient, update=update, cosine=cosine, decay=0.8
    )
    for gradient in ("straight_through", "rotation")
    for update in ("ema", "gradient")
    for cosine in (False, True)
}
SPECS |= {
    "restart": quantizer(dead_code_threshold=2.0, decay=0.8),
    "restart-more-than-values": quantizer(dead_code_threshold=1e3, codes=90),
    "restart-cosine": quantizer(dead_code_threshold=2.0, decay=0.8, cosine=True),
    "levels": residual(False, gradient="rotation", dead_code_threshold=2.0, decay=0.8),
    "levels-shared": residual(True, gradient="rotation", dead_code_threshold=2.0, decay=0.8),
}
SHAPE = (3, 5, 23)


class ByHand:
    """One codebook in float64, a value at a time, as the spec's formulas stand."""

    def __init__(self, spec, weights, prefix=""):
        self.spec = spec
        self.arrays = {
            name: weights[prefix + name].astype(np.float64) for name in spec.own_params()
        }

    def unit(self, vector):
        return vector / np.sqrt(vector @ vector) if self.spec.cosine else vector

    def choose(self, values):
        """Codes, indices and the loss of raw rows."""
        values = [self.unit(value) for value in values]
        codes = [self.unit(code) for code in self.arrays["codebook"]]
        chosen = [np.argmin([np.sum((v - c) ** 2) for c in codes]) for v in values]
        found = np.array([codes[one] for one in chosen])
        weight = self.spec.commitment + (self.spec.update == "gradient")
        return found, np.array(chosen), weight * np.mean((np.array(values) - found) ** 2)

    def observe(self, values, chosen):
        decay = self.spec.decay
        for code in range(self.spec.codes):
            mine = [self.unit(v) for v, one in zip(values, chosen, strict=True) if one == code]
            size, mean = self.arrays["cluster_size"], self.arrays["embed_avg"]
            size[code] = decay * size[code] + (1 - decay) * len(mine)
            mean[code] = decay * mean[code] + (1 - decay) * sum(mine, np.zeros(values.shape[1]))

    def refresh(self, seen):
        size, eps, codes = self.arrays["cluster_size"], self.spec.eps, self.spec.codes
        total = size.sum()
        for code in range(codes):
            smoothed = (size[code] + eps) * total / (total + codes * eps)
            self.arrays["codebook"][code] = self.unit(self.arrays["embed_avg"][code] / smoothed)
        threshold = self.spec.dead_code_threshold
        dead = [code for code in range(codes) if size[code] < threshold][: len(seen)]
        for rank, code in enumerate(dead):
            value = self.unit(seen[(2 * rank + 1) * len(seen) // (2 * len(dead))])
            self.arrays["codebook"][code] = value
            size[code], self.arrays["embed_avg"][code] = threshold, threshold * value

    def pull(self, values, found, slope, share):
        """Gradient to raw rows: of the chosen estimator, of the commitment, through the scaling."""
        rows = []
        for raw, q, g in zip(values, found, slope, strict=True):
            x = self.unit(raw)
            if self.spec.gradient == "rotation":
                u, v = x / np.linalg.norm(x), q / np.linalg.norm(q)
                w = (u + v) / np.linalg.norm(u + v)
                turn = np.eye(len(x)) - 2 * np.outer(w, w) + 2 * np.outer(v, u)
                g = np.linalg.norm(q) / np.linalg.norm(x) * turn.T @ g
            g = g + self.spec.commitment * 2 * (x - q) / share
            if self.spec.cosine:
                g = (g - x * (x @ g)) / np.linalg.norm(raw)
            rows.append(g)
        return np.array(rows)


def by_hand(spec, weights, x, slope, mask):
    """(output, indices, loss, gradient to x, weights after) of one training step."""
    spec = tcnzoo.load_spec(spec)
    rows, slopes = (np.moveaxis(one, 1, -1)[mask].astype(np.float64) for one in (x, slope))
    paths = list(spec.children()) or [""]
    books = [
        ByHand(part, weights, f"{path}." if path else "")
        for path, part in (spec.children() or {"": spec}).items()
    ]
    levels = getattr(spec, "levels", 1)
    left, seen, outputs, indices, losses, gradient = rows, [], [], [], [], 0.0
    for level in range(levels):
        book = books[min(level, len(books) - 1)]
        found, chosen, loss = book.choose(left)
        seen.append(left)
        gradient = gradient + book.pull(left, found, slopes, left.size)
        if book.spec.update == "ema":
            book.observe(left, chosen)
            if len(books) == levels:
                book.refresh(left)
        left = left - found
        outputs.append(found), indices.append(chosen), losses.append(loss)
    if len(books) < levels:
        books[0].refresh(np.stack(seen, axis=1).reshape(-1, x.shape[1]))
    after = {
        f"{path}.{name}" if path else name: array
        for path, book in zip(paths, books, strict=True)
        for name, array in book.arrays.items()
    }
    return sum(outputs), np.array(indices), sum(losses), gradient, after


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", SPECS)
def test_a_training_step_equals_float64(native, name, masked):
    spec, x, slope = SPECS[name], signal(*SHAPE), signal(*SHAPE, seed=1)
    weights = weights_of(spec)
    mask = noise(3, 23, seed=2) > 0.3 if masked else None
    model = tcnzoo.create(spec, native, weights=weights)
    step = train_step(native, model, x, slope, mask)
    kept = np.ones((3, 23), dtype=bool) if mask is None else mask
    output, indices, loss, gradient, after = by_hand(spec, weights, x, slope, kept)
    found = step.found
    rows = np.moveaxis(found.output, 1, -1)
    assert_close(rows[kept], output)
    np.testing.assert_array_equal(rows[~kept], 0.0)
    shape = (len(indices), *kept.shape)
    codes = np.moveaxis(found.indices.reshape(3, len(indices), 23), 1, 0).reshape(shape)
    np.testing.assert_array_equal(codes[:, kept], indices)
    np.testing.assert_array_equal(codes[:, ~kept], -1)
    assert_close(found.vq_loss, loss)
    of_input = np.moveaxis(step.gradients["input"], 1, -1)
    assert_close(of_input[kept], gradient, GRADIENT_TOLERANCE)
    np.testing.assert_array_equal(of_input[~kept], 0.0)
    assert list(step.weights) == list(after)
    for key, array in after.items():
        assert_close(step.weights[key], array, label=key)


@pytest.mark.parametrize("cosine", [False, True], ids=["plain", "cosine"])
def test_the_codebook_gets_the_gradient_of_its_loss(native, cosine):
    spec = quantizer(update="gradient", cosine=cosine)
    weights, x = weights_of(spec), signal(*SHAPE)
    model = tcnzoo.create(spec, native, weights=weights)
    step = train_step(native, model, x, signal(*SHAPE, seed=1))
    codes = weights["codebook"].astype(np.float64)
    rows = np.moveaxis(x, 1, -1).reshape(-1, 5).astype(np.float64)
    book = ByHand(tcnzoo.load_spec(spec), weights)
    _, chosen, _ = book.choose(rows)

    def loss(moved):
        values = np.array([book.unit(row) for row in rows])
        return np.mean((values - np.array([book.unit(code) for code in moved])[chosen]) ** 2)

    for code, channel in ((0, 1), (3, 4), (6, 0)):
        rise = np.zeros_like(codes)
        rise[code, channel] = 1e-5
        expected = (loss(codes + rise) - loss(codes - rise)) / 2e-5
        assert step.gradients["codebook"][code, channel] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(step.weights["codebook"], weights["codebook"])


@pytest.mark.parametrize("name", ["restart", "levels-shared"])
def test_evaluation_moves_nothing_and_still_has_a_gradient(native, name):
    spec, x = SPECS[name], signal(*SHAPE)
    weights = weights_of(spec)
    model = tcnzoo.create(spec, native, weights=weights)
    target = noise(*SHAPE, seed=3)
    _, found = tcnzoo.gradients(model, x, target)
    assert np.abs(found["input"]).max() > 1e-4
    after = tcnzoo.get_weights(model)
    assert all(np.array_equal(after[key], weights[key]) for key in weights)
    tcnzoo.gradients(model, x, target, training=True)
    after = tcnzoo.get_weights(model)
    assert not np.array_equal(after["codebook" if name == "restart" else "levels.0.codebook"], 0)
    assert any(not np.array_equal(after[key], weights[key]) for key in weights)


def test_the_first_step_starts_with_kmeans_and_only_that(native):
    spec = quantizer(kmeans_iterations=3)
    x, slope = signal(*SHAPE), signal(*SHAPE, seed=1)
    model = tcnzoo.create(spec, native)
    first = train_step(native, model, x, slope)
    plain = quantizer()
    placed = tcnzoo.create(plain, native)
    tcnzoo.initialise_codebook(placed, x, iterations=3)
    expected = train_step(native, placed, x, slope)
    assert first.weights.pop("initialised")[0] == 1.0
    for key, array in expected.weights.items():
        assert_close(first.weights[key], array, label=key)
    again = train_step(native, model, signal(*SHAPE, seed=5), slope)
    assert_close(
        again.weights["codebook"],
        train_step(native, placed, signal(*SHAPE, seed=5), slope).weights["codebook"],
    )
