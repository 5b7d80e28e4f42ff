"""Convolutions as matrix products, for MLX's CPU device, and as MLX's own kernels elsewhere.

On the CPU `mx.conv1d` with dilation, and `mx.conv_transpose1d`, take a naive path that is tens of
times slower than matrix products over the taps; on a GPU they are the fastest form.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import mlx.core as mx


def on_cpu() -> bool:
    """Whether the work that is described now will run on the CPU device."""
    return bool(mx.default_device().type == mx.cpu)


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
    if spec.groups > 1 or not on_cpu():
        y = mx.conv1d(x, weight, stride=spec.stride, dilation=spec.dilation, groups=spec.groups)
    elif spec.stride > 1 or spec.kernel_size == 1 or x.shape[0] * steps <= spec.out_channels:
        # The windows of the signal are less to copy than the kernel is to lay out anew.
        return affine(windows(x, spec, steps), weight.reshape(weight.shape[0], -1), bias)
    else:
        y = _dilated(spec.dilation)(x, mx.contiguous(weight.transpose(1, 2, 0)))
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


def _sum_taps(x: mx.array, kernels: Iterable[mx.array], dilation: int, steps: int) -> mx.array:
    """Sum x[:, tap * dilation + t] @ kernel over the taps, with one accumulator."""
    y: mx.array | None = None
    for tap, kernel in enumerate(kernels):
        seen = x[:, tap * dilation : tap * dilation + steps]
        # Broadcast, since a batched product takes the slices as they are and a flat one copies.
        kernel = mx.broadcast_to(kernel, (x.shape[0], *kernel.shape))
        y = seen @ kernel if y is None else mx.addmm(y, seen, kernel)
    assert y is not None
    return y


@functools.cache
def _dilated(dilation: int) -> Callable[..., Any]:
    """The convolution of stride 1 with (batch, time, in) and (K, in, out).

    Its gradient is written out: that of the slices would pad and add one signal for every tap.
    """

    @mx.custom_function
    def convolution(x: mx.array, weight: mx.array) -> mx.array:
        return _sum_taps(x, weight, dilation, x.shape[1] - (len(weight) - 1) * dilation)

    @convolution.vjp
    def gradient(
        primals: tuple[mx.array, mx.array], slope: mx.array, output: mx.array
    ) -> tuple[mx.array, mx.array]:
        x, weight = primals
        steps, reach = slope.shape[1], (len(weight) - 1) * dilation
        spread = mx.pad(slope, [(0, 0), (reach, reach), (0, 0)])
        back = _sum_taps(spread, weight[::-1].swapaxes(1, 2), dilation, x.shape[1])
        firsts = range(0, reach + 1, dilation)
        kernel = [(x[:, a : a + steps].swapaxes(1, 2) @ slope).sum(axis=0) for a in firsts]
        return back, mx.stack(kernel)

    return convolution


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
