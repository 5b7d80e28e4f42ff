"""Convolutions as products of the taps, on signals (batch, time, channels)."""

import torch
from torch import Tensor

# Up to this many output steps the taps are gathered for one product; beyond, each is a product of
# its own, and nothing is gathered.
GATHERED = 96


def prepared(weight: Tensor) -> Tensor:
    """(out, in, K) -> (K, in, out)."""
    return weight.permute(2, 1, 0).contiguous()


def convolve(
    signal: Tensor, taps: Tensor, bias: Tensor | None, stride: int, dilation: int
) -> Tensor:
    """Convolve a padded signal.

    Args:
        signal: (batch, time, in), contiguous.
        taps: see `prepared`.
        bias: (out,).
        stride: steps between outputs.
        dilation: steps between taps.
    Returns:
        (batch, time', out), contiguous.
    """
    size, _, out = taps.shape
    batch, length, channels = signal.shape
    steps = (length - (size - 1) * dilation - 1) // stride + 1
    if steps > GATHERED and size > 1:
        return _one_by_one(signal, taps, bias, stride, dilation)
    row = length * channels, stride * channels
    gathered = signal.as_strided((batch, steps, size, channels), (*row, dilation * channels, 1))
    rows, matrix = gathered.reshape(batch * steps, -1), taps.reshape(-1, out)
    y = rows @ matrix if bias is None else torch.addmm(bias, rows, matrix)
    return y.view(batch, steps, out)


def _one_by_one(
    signal: Tensor, taps: Tensor, bias: Tensor | None, stride: int, dilation: int
) -> Tensor:
    """Add up one product for each tap; batches too are taken one by one."""
    size, _, out = taps.shape
    batch, length, channels = signal.shape
    steps = (length - (size - 1) * dilation - 1) // stride + 1
    y = signal.new_empty(batch, steps, out)
    for one, sums in zip(signal, y, strict=True):
        for tap in range(size):
            rows = one[tap * dilation :].as_strided(
                (steps, channels), (stride * channels, 1), one[tap * dilation :].storage_offset()
            )
            if tap:
                sums.addmm_(rows, taps[tap])
            elif bias is None:
                torch.mm(rows, taps[tap], out=sums)
            else:
                torch.addmm(bias, rows, taps[tap], out=sums)
    return y
