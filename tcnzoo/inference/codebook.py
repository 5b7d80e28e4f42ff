"""Nearest codes, k-means and what every backend says of a batch, on numpy arrays."""

from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

# Values whose distances to all codes are held at once.
ROWS = 512


def nothing_to_quantize() -> InputError:
    """The error for a batch of which nothing is left."""
    return InputError(
        "a quantiser needs at least one step that is not masked, but the batch holds none"
    )


def not_finite() -> InputError:
    """The error for a batch with NaN in it."""
    return InputError("a quantiser takes finite values only, but the input holds NaN or infinity")


def check_mask(mask: Any, shape: tuple[int, ...]) -> None:
    """Raise InputError unless a mask has one value a step.

    Args:
        mask: anything with a shape.
        shape: of the input without channels.
    """
    if tuple(mask.shape) != tuple(shape):
        raise InputError(
            f"the mask must have one value a step, shape {tuple(shape)}, but has "
            f"{tuple(mask.shape)}"
        )


def unit(values: Array) -> Array:
    """Scale vectors, (..., channels), to length 1; zero stays zero."""
    scaled: Array = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
    return scaled


def nearest(values: Array, codes: Array) -> Array:
    """Index of the nearest code, argmin(|c|^2 / 2 - x.c) after centring, lowest on ties.

    Args:
        values: (n, channels).
        codes: (K, channels).
    Returns:
        (n,) int64. The n x K matrix is never whole in memory.
    """
    centre = codes.mean(axis=0)
    centred = codes - centre
    half = 0.5 * np.square(centred).sum(axis=1)
    indices = np.empty(len(values), dtype=np.int64)
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS] - centre
        indices[start : start + ROWS] = np.argmin(half - block @ centred.T, axis=1)
    return indices


def spread(count: int, among: int) -> Array:
    """Positions floor((2 i + 1) among / (2 count)) of `count` values, evenly over `among`."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * among // (2 * count)


def kmeans(values: Array, codes: int, iterations: int, cosine: bool = False) -> tuple[Array, Array]:
    """Lloyd's k-means in float64, without chance: it starts at values evenly over the batch.

    A cluster that loses all its values starts again at the value that is farthest from its own
    centre; the i-th such cluster takes the i-th farthest.

    Args:
        values: (n, channels), finite.
        codes: K.
        iterations: at least 1.
        cosine: scale values and centres to length 1.
    Returns:
        centres (K, channels) and how many values each has, (K,).
    Raises:
        InputError: fewer values than codes, or NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < codes:
        raise InputError(
            f"k-means for {codes} codes needs at least {codes} values, but {len(values)} came"
        )
    if not np.isfinite(values).all():
        raise not_finite()
    values = unit(values) if cosine else values
    centres = values[spread(codes, len(values))]
    counts = np.zeros(codes)
    for _ in range(iterations):
        centres, counts = _moved(values, centres, cosine)
    return centres, counts


def _moved(values: Array, centres: Array, cosine: bool) -> tuple[Array, Array]:
    """One step of Lloyd's algorithm: new centres, and the counts they are means of."""
    chosen = nearest(values, centres)
    counts = np.bincount(chosen, minlength=len(centres)).astype(np.float64)
    means = sums(values, chosen, len(centres)) / np.maximum(counts, 1.0)[:, None]
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        distance = np.square(values - centres[chosen]).sum(axis=1)
        means[empty] = values[np.argsort(-distance, kind="stable")[: len(empty)]]
    return (unit(means) if cosine else means), counts


def sums(values: Array, chosen: Array, codes: int) -> Array:
    """Sum of the values that chose each code, (K, channels)."""
    order = np.argsort(chosen, kind="stable")
    total = np.zeros((codes, values.shape[1]), dtype=values.dtype)
    present, starts = np.unique(chosen[order], return_index=True)
    total[present] = np.add.reduceat(values[order], starts, axis=0)
    return total
