"""Convolutions as matrix products, for MLX's CPU device, and as MLX's own kernels elsewhere.

On the CPU `mx.conv1d` with dilation, and `mx.conv_transpose1d`, take a naive path that is tens of
times slower than matrix products over the taps; on a GPU they are the fastest form.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import mlx.core as mx

from tcnzoo.specs import Conv1dSpec, ConvTranspose1dSpec

from ..blas import current_blas
from ..types import on_cpu


def form_of(x: mx.array, spec: Conv1dSpec) -> str:
    """How `convolve` wants the kernel of a convolution of `x`, which is padded already."""
    alone = spec.groups == spec.in_channels == spec.out_channels and spec.stride == 1
    if alone and spec.groups > 1 and on_cpu():
        return "depthwise"
    if spec.groups > 1 or not on_cpu():
        return "whole"
    few = 4 * x.shape[0] * _steps(x, spec) <= spec.out_channels
    # So few windows are sooner copied than the kernel is laid out in another order.
    return "matrix" if spec.stride > 1 or spec.kernel_size == 1 or few else "taps"


def laid_out(weight: mx.array, form: str) -> mx.array:
    """A kernel (out, K, in / groups) as it is, as (out, K * in), (K, in, out) or (K, out)."""
    if form == "depthwise":
        return weight[..., 0].T
    if form == "matrix":
        return weight.reshape(weight.shape[0], -1)
    return mx.contiguous(weight.transpose(1, 2, 0)) if form == "taps" else weight


def _steps(x: mx.array, spec: Conv1dSpec) -> int:
    """Output steps of a convolution of `x`."""
    return (x.shape[1] - spec.reach - 1) // spec.stride + 1


def convolve(x: mx.array, weight: mx.array, bias: mx.array | None, spec: Conv1dSpec) -> mx.array:
    """Convolve a signal that is padded already.

    Args:
        x: (batch, time, in), of at least `spec.reach + 1` steps.
        weight: the kernel, laid out as `form_of(x, spec)` says.
        bias: (out,) or None.
        spec: its padding is not looked at.
    Returns:
        (batch, (time - reach - 1) // stride + 1, out).
    """
    form = form_of(x, spec)
    if form == "matrix":
        return affine(windows(x, spec, _steps(x, spec)), weight, bias)
    if form == "taps":
        y = dilated(spec.dilation)(x, weight)
    elif form == "depthwise":
        y = each_channel(x, weight, spec.dilation, _steps(x, spec))
    elif spec.groups > 1 and x.dtype == mx.float64:
        y = grouped(windows(x, spec, _steps(x, spec)), weight)
    else:
        y = mx.conv1d(x, weight, stride=spec.stride, dilation=spec.dilation, groups=spec.groups)
    return y if bias is None else y + bias


def each_channel(x: mx.array, weight: mx.array, dilation: int, steps: int) -> mx.array:
    """The convolution of (batch, time, channels) with (K, channels), of each channel by itself."""
    y = x[:, :steps] * weight[0]
    for tap in range(1, len(weight)):
        y = y + x[:, tap * dilation : tap * dilation + steps] * weight[tap]
    return y


@functools.cache
def dilated(dilation: int) -> Callable[..., Any]:
    """The convolution of (batch, time, in) with (K, in, out) at stride 1, without padding.

    Its gradient is written out: that of the slices would pad and add one signal for every tap.
    """

    @mx.custom_function
    def convolution(x: mx.array, weight: mx.array) -> mx.array:
        return sum_taps(x, weight, dilation, x.shape[1] - (len(weight) - 1) * dilation)

    @convolution.vjp
    def gradient(
        primals: tuple[mx.array, mx.array], slope: mx.array, output: mx.array
    ) -> tuple[mx.array, mx.array]:
        x, weight = primals
        steps, reach = slope.shape[1], (len(weight) - 1) * dilation
        spread = mx.pad(slope, [(0, 0), (reach, reach), (0, 0)])
        back = mx.contiguous(weight[::-1].swapaxes(1, 2))
        firsts = range(0, reach + 1, dilation)
        kernel = [(x[:, a : a + steps].swapaxes(1, 2) @ slope).sum(axis=0) for a in firsts]
        return sum_taps(spread, back, dilation, x.shape[1]), mx.stack(kernel)

    return convolution


def sum_taps(
    x: mx.array, weight: mx.array, dilation: int, steps: int, start: mx.array | None = None
) -> mx.array:
    """Sum x[:, tap * dilation + t] @ weight[tap] over the taps, for t = 0 .. steps - 1.

    Args:
        x: (batch, time, in), of at least `steps + (K - 1) * dilation` steps.
        weight: (K, in, out).
        dilation: steps between taps.
        steps: of the output.
        start: (batch, steps, out) to add to, or None.
    Returns:
        (batch, steps, out).
    """
    y, halved = start, 0
    wide = min(weight.shape[1:]) >= 32 and weight.dtype == mx.float32
    # Where products are so slow that a quarter fewer of them are worth four more passes.
    if wide and len(weight) > 2 and steps >= 8 * dilation and not current_blas().tuned:
        # Of an odd number of taps the last is left out: with it, outputs would take later inputs in
        # and cancel them, of which rounding errors or NaN stay.
        halved = len(weight) // 2 * 2
        y = _halved(x, weight[:halved], dilation, steps, start)
    for tap, kernel in enumerate(weight[halved:], halved):
        seen = x[:, tap * dilation : tap * dilation + steps]
        # Broadcast, since a batched product takes the slices as they are and a flat one copies.
        kernel = mx.broadcast_to(kernel, (x.shape[0], *kernel.shape))
        y = seen @ kernel if y is None else mx.addmm(y, seen, kernel)
    return cast(mx.array, y)  # there is a tap


def _halved(
    x: mx.array, weight: mx.array, dilation: int, steps: int, start: mx.array | None
) -> mx.array:
    """The same sum, of an even number of taps, by three convolutions of half the length and taps.

    With e and o the even and odd stretches of `dilation` steps, and a and b the even and odd taps,
    the even and odd outputs are p + a * (e - o) and p + b * (e later - o), where p = (a + b) * o.

    Source: Mou & Duhamel 1991, IEEE Trans. Signal Processing 39(6), fast FIR algorithms.
    """
    batch, pairs, more = x.shape[0], -(-steps // (2 * dilation)), len(weight) // 2
    x = x[:, : steps + (len(weight) - 1) * dilation]
    missing = (pairs + more) * 2 * dilation - x.shape[1]
    x = mx.pad(x, [(0, 0), (0, missing), (0, 0)])
    x = x.reshape(batch, pairs + more, 2, dilation, -1)
    even, odd = (x[:, :, i].reshape(batch, (pairs + more) * dilation, -1) for i in (0, 1))
    a, b = weight[0::2], weight[1::2]
    half = pairs * dilation
    shared = sum_taps(odd, a + b, dilation, half)
    outputs = [
        sum_taps(even - odd, a, dilation, half, shared),
        sum_taps(even[:, dilation:] - odd[:, :-dilation], b, dilation, half, shared),
    ]
    stretches = [y.reshape(batch, pairs, 1, dilation, -1) for y in outputs]
    y = mx.concatenate(stretches, axis=2).reshape(batch, 2 * half, -1)[:, :steps]
    return y if start is None else y + start


def affine(x: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
    """W x + b of the last axis: (..., in) with (out, in) and (out,) -> (..., out)."""
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


def windows(x: mx.array, spec: Conv1dSpec, steps: int) -> mx.array:
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


def scatter(x: mx.array, weight: mx.array, spec: ConvTranspose1dSpec) -> mx.array:
    """Transposed convolution without bias or crop.

    Args:
        x: (batch, time, in), at least one step.
        weight: (out, K, in).
        spec: its padding is not looked at.
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
