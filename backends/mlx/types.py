"""Float types of MLX arrays, and what 16-bit ones are added up in."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from tcnzoo.arrays import Array

HALVES = (mx.float16, mx.bfloat16)


def on_cpu() -> bool:
    """Whether the work that is described now will run on the CPU device."""
    return bool(mx.default_device().type == mx.cpu)


def wide(x: mx.array) -> mx.array:
    """The same in float32 at least."""
    return x if x.dtype == mx.float64 else x.astype(mx.float32)


def reduced(compute: Callable[..., Any], x: mx.array, *others: mx.array | None) -> mx.array:
    """compute(x, *others); of a 16-bit x in float32, and the result rounded once to x's type.

    MLX adds 16-bit values up in 16 bits: a sum stops growing at 256 times what is added
    (bfloat16), or overflows at 65504 (float16). So every sum goes through this.

    Args:
        compute: adds values up; takes x and the others.
        x: of any float type.
        others: arrays of any float type, or None.
    """
    if x.dtype not in HALVES:
        y: mx.array = compute(x, *others)
        return y
    y = compute(*(None if array is None else wide(array) for array in (x, *others)))
    return y.astype(x.dtype)


def multiplied(compute: Callable[..., Any], x: mx.array, *others: mx.array | None) -> mx.array:
    """The same for sums of products: convolutions and products of matrices.

    MLX's kernels for GPUs add these up in float32 themselves, so only a CPU needs wide arrays.
    """
    if x.dtype in HALVES and on_cpu():
        return reduced(compute, x, *others)
    y: mx.array = compute(x, *others)
    return y


def beside(x: mx.array, table: Array) -> mx.array:
    """A table of numpy in float64 beside a signal of that type, else in float32."""
    return mx.array(table, dtype=mx.float64 if x.dtype == mx.float64 else mx.float32)
