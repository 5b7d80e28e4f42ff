"""Convolutions as matrix products, for MLX's CPU device, and as MLX's own kernels elsewhere.

On the CPU `mx.conv1d` with dilation, and `mx.conv_transpose1d`, take a naive path that is tens of
times slower than matrix products over the taps; on a GPU they are the fastest form.
"""

from typing import Any

import mlx.core as mx

from ..types import on_cpu
from .fir import dilated


def convolve(x: mx.array, weight: mx.array, bias: mx.array | None, spec: Any) -> mx.array:
    """Convolve a signal that is padded already.

    Args:
        x: (batch, time, in), of at least `spec.reach + 1` steps.
        weight: (out, K, in / groups).
        bias: (out,) or None.
        spec: Conv1dSpec; its padding is not looked at.
    Returns:
        (batch, (time - reach - 1) // stride + 1, out).
    """
    steps = (x.shape[1] - spec.reach - 1) // spec.stride + 1
    if spec.groups > 1 and x.dtype == mx.float64:
        y = grouped(windows(x, spec, steps), weight)
    elif spec.groups > 1 or not on_cpu():
        y = mx.conv1d(x, weight, stride=spec.stride, dilation=spec.dilation, groups=spec.groups)
    elif spec.stride > 1 or spec.kernel_size == 1 or 4 * x.shape[0] * steps <= spec.out_channels:
        # So few windows are sooner copied than the kernel is laid out in another order.
        return affine(windows(x, spec, steps), weight.reshape(weight.shape[0], -1), bias)
    else:
        y = dilated(spec.dilation)(x, mx.contiguous(weight.transpose(1, 2, 0)))
    return y if bias is None else y + bias


def affine(x: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
    """W x + b of the last axis: (..., in) with (out, in) and (out,) -> (..., out)."""
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


def windows(x: mx.array, spec: Any, steps: int) -> mx.array:
    """Lay the taps of every step side by side: (batch, time, in) -> (batch, steps, K * in)."""
    if steps == 1:
        return x[:, : spec.reach + 1 : spec.dilation].reshape(x.shape[0], 1, -1)
    last = (steps - 1) * spec.stride + 1
    firsts = range(0, spec.reach + 1, spec.dilation)
    return mx.concatenate([x[:, first : first + last : spec.stride] for first in firsts], axis=-1)


def grouped(seen: mx.array, weight: mx.array) -> mx.array:
    """A convolution in groups of float64, for which MLX has no kernel.

    Args:
        seen: (..., K * in), the taps of every step side by side, as `windows` lays them.
        weight: (out, ..., in / groups), K taps in all.
    Returns:
        (..., out).
    """
    outputs, inputs = weight.shape[0], weight.shape[-1]
    taps = weight.size // (outputs * inputs)
    groups = seen.shape[-1] // (taps * inputs)
    parts = mx.moveaxis(seen.reshape(-1, taps, groups, inputs), 2, 0)
    kernel = weight.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    y = parts.reshape(groups, -1, kernel.shape[1]) @ kernel
    return mx.moveaxis(y, 0, 1).reshape(*seen.shape[:-1], outputs)


def scatter(x: mx.array, weight: mx.array, spec: Any) -> mx.array:
    """Transposed convolution without bias or crop.

    Args:
        x: (batch, time, in), at least one step.
        weight: (out, K, in).
        spec: ConvTranspose1dSpec.
    Returns:
        (batch, (time - 1) * stride + reach + 1, out).
    """
    if not on_cpu():
        return mx.conv_transpose1d(x, weight, stride=spec.stride, dilation=spec.dilation)
    last = (x.shape[1] - 1) * spec.stride + 1
    y = mx.zeros((x.shape[0], last + spec.reach, weight.shape[0]), dtype=x.dtype)
    for tap, kernel in enumerate(mx.contiguous(weight.transpose(1, 2, 0))):
        first = tap * spec.dilation
        y = y.at[:, first : first + last : spec.stride].add(x @ kernel)
    return y
