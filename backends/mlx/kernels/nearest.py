"""Nearest codes of blocks of values, and the two gradients that pass through a choice of codes."""

import mlx.core as mx

from tcnzoo.inference.codebook import ROWS

# A block of values has this many scores where that is more than ROWS values.
SCORES = 2**20


def nearest(values: mx.array, codes: mx.array) -> mx.array:
    """Index of the nearest code, argmin(|c|^2 / 2 - x.c) after centring, lowest on ties.

    Both are centred by the mean of the codes. The n x K matrix is never whole in memory.

    Args:
        values: (n, channels).
        codes: (K, channels).
    Returns:
        (n,) int32.
    """
    values, codes = mx.stop_gradient(values), mx.stop_gradient(codes)
    centre = codes.mean(axis=0)
    centred = codes - centre
    half = 0.5 * mx.square(centred).sum(axis=1)
    size = max(ROWS, SCORES // len(codes))
    chosen = [
        mx.argmax((values[start : start + size] - centre) @ centred.T - half, axis=1)
        for start in range(0, len(values), size)
    ]
    return mx.concatenate(chosen).astype(mx.int32) if chosen else mx.zeros((0,), dtype=mx.int32)


def passed(gradient: str, values: mx.array, codes: mx.array, chosen: mx.array) -> mx.array:
    """The chosen codes, (n, channels), with a gradient to the values.

    Args:
        gradient: `straight_through` hands it on. `rotation` turns and scales it as value to code:
            with u = x / |x|, v = q / |q|, w = (u + v) / |u + v|, that is the gradient of
            |q| / |x| (x - 2 w (w.x) + 2 v (u.x)) with all but x constant.
        values: (n, channels).
        codes: (K, channels).
        chosen: (n,) indices.
    """
    output = mx.stop_gradient(codes)[chosen]
    if gradient == "rotation":
        values = _rotated(values, output)
    # The difference is 0, so the codes keep their bits; it is NaN where a value is.
    return output + (values - mx.stop_gradient(values))


def _rotated(values: mx.array, output: mx.array) -> mx.array:
    """The values turned and scaled onto their codes."""
    fixed = mx.stop_gradient(values)
    size, length = (
        mx.maximum(mx.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        for vectors in (fixed, output)
    )
    u, v = fixed / size, output / length
    w = u + v
    w = w / mx.maximum(mx.linalg.norm(w, axis=1, keepdims=True), 1e-6)
    turned = values - 2.0 * w * (w * values).sum(axis=1, keepdims=True)
    turned = turned + 2.0 * v * (u * values).sum(axis=1, keepdims=True)
    return turned * (length / size)
