"""Nearest codes in row blocks, and the two gradients that pass through a choice of codes."""

from typing import Any

from keras import ops

from tcnzoo.inference.codebook import ROWS

from ..block import Tensor

# A block holds this many scores where that is more than ROWS rows.
SCORES = 2**20


def nearest(values: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code, argmin(|c|^2 / 2 - x.c) after centring, lowest on ties.

    Both are centred by the mean of the codes. The n x K matrix is never whole in memory.

    Args:
        values: (n, channels).
        codes: (K, channels).
    Returns:
        (n,) int32.
    """
    values, codes = ops.stop_gradient(values), ops.stop_gradient(codes)
    centre = ops.mean(codes, axis=0)
    centred = codes - centre
    half = 0.5 * ops.sum(ops.square(centred), axis=1)
    places = ops.arange(codes.shape[0], dtype="int32")

    def chosen(block: Tensor) -> Tensor:
        scores = ops.matmul(block - centre, ops.transpose(centred)) - half
        best = ops.max(scores, axis=1, keepdims=True)
        # Not ops.argmax: with TensorFlow it treats -0 in a way that LiteRT has no operator for.
        return ops.min(ops.where(scores >= best, places, codes.shape[0] - 1), axis=1)

    rows, (known, width) = max(ROWS, SCORES // codes.shape[0]), values.shape
    if known is not None and known <= rows:
        return chosen(values)
    count = ops.shape(values)[0]
    spare = ops.zeros((rows, width), dtype=values.dtype)[: (-count) % rows]
    blocks = ops.reshape(ops.concatenate([values, spare]), (-1, rows, width))
    return ops.reshape(ops.map(chosen, blocks), (-1,))[:count]


def passed(gradient: str, values: Tensor, codes: Tensor, chosen: Tensor) -> Tensor:
    """The chosen codes, (n, channels), with a gradient to the values.

    Args:
        gradient: `straight_through` hands it on. `rotation` turns and scales it as value to code:
            with u = x / |x|, v = q / |q|, w = (u + v) / |u + v|, that is the gradient of
            |q| / |x| (x - 2 w (w.x) + 2 v (u.x)) with all but x constant.
        values: (n, channels).
        codes: (K, channels).
        chosen: (n,) indices.
    """
    output = ops.take(ops.stop_gradient(codes), chosen, axis=0)
    if gradient == "rotation":
        values = _rotated(values, output)
    # The difference is 0, so the codes keep their bits; it is NaN where a value is.
    return output + (values - ops.stop_gradient(values))


def _rotated(values: Tensor, output: Tensor) -> Tensor:
    """The values turned and scaled onto their codes."""
    fixed = ops.stop_gradient(values)
    size, length = (ops.maximum(ops.norm(x, axis=1, keepdims=True), 1e-6) for x in (fixed, output))
    u, v = fixed / size, output / length
    w = u + v
    w = w / ops.maximum(ops.norm(w, axis=1, keepdims=True), 1e-6)
    turned = values - 2.0 * w * _dots(w, values) + 2.0 * v * _dots(u, values)
    return turned * (length / size)


def _dots(a: Tensor, b: Tensor) -> Any:
    """Scalar product of each row, (n, 1)."""
    return ops.sum(a * b, axis=1, keepdims=True)
