"""Float types of MLX arrays."""

import mlx.core as mx

from tcnzoo.arrays import Array


def wide(x: mx.array) -> mx.array:
    """The same in float32 at least: statistics of 16-bit values need it."""
    return x if x.dtype == mx.float64 else x.astype(mx.float32)


def beside(x: mx.array, table: Array) -> mx.array:
    """A table of numpy in float64 beside a signal of that type, else in float32."""
    return mx.array(table, dtype=mx.float64 if x.dtype == mx.float64 else mx.float32)
