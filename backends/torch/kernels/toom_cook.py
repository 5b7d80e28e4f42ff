"""Convolutions with fewer products: Toom-Cook F(4, K) along time; see `toom_points`.

Of K = 3, 5, 7 products half, two fifths and five fourteenths are left. The transforms around them
are read and written once for each channel, so they pay off for wide layers. With a dilation d the
tiles of the d interleaved signals are computed side by side. Signals are (batch, time, channels).
Time is cut into blocks, so that what is transformed stays in the processor's cache.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from .channels_last import laid_out, no_view
from .toom_points import POINTS, TILE, matrices

# Output steps of a block, for each thread. A block on the way back writes all slopes of the kernel.
STEPS, STEPS_BACK = 512, 1024
# Fewer channels are never faster.
NARROWEST = 32


def serves(kernel_size: int, stride: int, groups: int, channels: tuple[int, int]) -> bool:
    """Whether a convolution can be computed here; whether it is faster is a matter of measuring."""
    return kernel_size in POINTS and stride == groups == 1 and min(channels) >= NARROWEST


def tiled(steps: int, dilation: int) -> int:
    """Output steps that are computed for `steps` of them: a multiple of TILE * dilation."""
    tile = TILE * dilation
    return -(-steps // tile) * tile


class _Transforms(NamedTuple):
    """A^T, G and B^T as tensors."""

    outputs: Tensor
    kernel: Tensor
    inputs: Tensor


_TABLES: dict[tuple[int, torch.dtype], _Transforms] = {}


def _transforms(taps: int, dtype: torch.dtype) -> _Transforms:
    """The transforms of F(TILE, taps) in a float type."""
    key = taps, dtype
    if key not in _TABLES:
        tables = matrices(taps)
        with torch.inference_mode(False):
            _TABLES[key] = _Transforms(
                *(
                    torch.from_numpy(table).to(dtype)
                    for table in (tables.outputs, tables.kernel, tables.inputs)
                )
            )
    return _TABLES[key]


def prepared(weight: Tensor) -> Tensor:
    """Transform a kernel in float64: (out, in, K) -> (n, in, out) of its own float type."""
    return _transformed_kernel(weight.double()).to(weight.dtype).transpose(1, 2).contiguous()


def _transformed_kernel(weight: Tensor) -> Tensor:
    """G w, (n, out, in)."""
    out, channels, taps = weight.shape
    table = _transforms(taps, weight.dtype).kernel
    return (table @ weight.reshape(-1, taps).t()).view(-1, out, channels)


class _Tiles:
    """A signal, padded for whole tiles, and the blocks in which it is computed."""

    def __init__(self, signal: Tensor, taps: int, dilation: int) -> None:
        """View a contiguous (batch, time, channels) signal of `tiled` steps and the reach."""
        self.dilation, self.points = dilation, TILE + taps - 1
        batch, length, channels = signal.shape
        row = dilation * channels
        self.count = (length - (taps - 1) * dilation) // (TILE * dilation)
        self.inputs = signal.as_strided(
            (self.points, batch, self.count, dilation, channels),
            (row, length * channels, TILE * row, channels, 1),
        )
        self._rooms: dict[str, Tensor] = {}

    def blocks(self, steps: int) -> Iterator[tuple[slice, slice]]:
        """Slices of signals and of tiles, of so many steps for each thread."""
        steps, tile = steps * torch.get_num_threads(), TILE * self.dilation
        batch, count = self.inputs.shape[1], self.count
        together, size = max(1, steps // (count * tile)), max(1, steps // tile)
        for first in range(0, batch, together):
            for start in range(0, count, size):
                yield slice(first, first + together), slice(start, start + size)

    def transformed(self, block: tuple[slice, slice]) -> Tensor:
        """B^T x of a block, (n, rows, channels)."""
        inputs = self.inputs[:, block[0], block[1]]
        table = _transforms(self.points - TILE + 1, inputs.dtype).inputs
        taps = self.room("taps", *inputs.shape).copy_(inputs).view(self.points, -1)
        y = torch.mm(table, taps, out=self.room("inputs", *taps.shape))
        return y.view(self.points, -1, inputs.shape[-1])

    def room(self, name: str, *shape: int) -> Tensor:
        """Memory for a result that is used within one block only; the next block gets the same."""
        size = math.prod(shape)
        memory = self._rooms.get(name)
        if memory is None or len(memory) < size:
            memory = self._rooms[name] = self.inputs.new_empty(size)
        return memory[:size].view(shape)

    def zeros(self, channels: int) -> Tensor:
        """Zeros for what all tiles cover, (batch, tiles and more, TILE, dilation, channels)."""
        count = self.count + (self.points - 1) // TILE
        shape = self.inputs.shape[1], count, TILE, self.dilation, channels
        return self.inputs.new_zeros(shape)

    def outputs(self, y: Tensor) -> Tensor:
        """View a (batch, tiled steps, out) tensor as (TILE, batch, tiles, dilation, out)."""
        shape = y.shape[0], self.count, TILE, self.dilation, y.shape[2]
        return y.view(shape).permute(2, 0, 1, 3, 4)


def convolve(
    signal: Tensor, kernel: Tensor, bias: Tensor | None, taps: int, dilation: int
) -> Tensor:
    """Convolve a padded signal.

    Args:
        signal: (batch, tiled(steps) + reach, in), contiguous.
        kernel: see `prepared`.
        bias: (out,).
        taps: K.
        dilation: steps between taps.
    Returns:
        (batch, tiled(steps), out), contiguous.
    """
    tiles = _Tiles(signal, taps, dilation)
    out, table = kernel.shape[2], _transforms(taps, signal.dtype).outputs
    y = signal.new_empty(signal.shape[0], tiles.count * TILE * dilation, out)
    outputs = tiles.outputs(y)
    for block in tiles.blocks(STEPS):
        target = outputs[:, block[0], block[1]]
        rows = tiles.transformed(block)
        products = torch.bmm(rows, kernel, out=tiles.room("products", *rows.shape[:2], out))
        flat = products.view(tiles.points, -1)
        sums = torch.mm(table, flat, out=tiles.room("sums", TILE, flat.shape[1])).view(target.shape)
        if bias is None:
            target.copy_(sums)
        else:
            torch.add(sums, bias, out=target)
    return y


def _padded(x: Tensor, taps: int, dilation: int, pads: tuple[int, int]) -> tuple[Tensor, int]:
    """The signal with its padding and whole tiles, and how many of its outputs count."""
    steps = x.shape[2] + sum(pads) - (taps - 1) * dilation
    return laid_out(x, pads[0], pads[1] + tiled(steps, dilation) - steps), steps


def run(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    taps: int,
    dilation: int,
    pads: tuple[int, int],
) -> Tensor:
    """Pad (batch, in, time) with zeros and convolve -> (batch, out, time')."""
    signal, steps = _padded(x, taps, dilation, pads)
    return convolve(signal, kernel, bias, taps, dilation)[:, :steps].transpose(1, 2)


class ToomCook(torch.autograd.Function):
    """The same with gradients; the input is kept as it is and transformed again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dilation: int,
        pads: tuple[int, int],
    ) -> Tensor:
        """Convolve (batch, in, time) with (out, in, K)."""
        ctx.save_for_backward(x, weight)
        ctx.dilation, ctx.pads, ctx.has_bias = dilation, pads, bias is not None
        kernel = _transformed_kernel(weight).transpose(1, 2).contiguous()
        return no_view(run(x, kernel, bias, weight.shape[2], dilation, pads))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # for gradients of gradients
            slopes = _differentiable(x, weight, grad, ctx.dilation, ctx.pads, wanted)
        else:
            slopes = _slopes(x, weight, grad, ctx.dilation, ctx.pads, wanted)
        bias_slope = grad.sum((0, 2)) if ctx.has_bias and wanted[2] else None
        return *slopes, bias_slope, None, None


def _differentiable(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    dilation: int,
    pads: tuple[int, int],
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """The two gradients by torch's own operations."""
    padded = F.pad(x, pads)
    padded_slope, weight_slope, _ = torch.ops.aten.convolution_backward(
        grad, padded, weight, None, [1], [0], [dilation], False, [0], 1, [*wanted[:2], False]
    )
    if padded_slope is None:
        return None, weight_slope
    return padded_slope[:, :, pads[0] : pads[0] + x.shape[2]], weight_slope


def _slopes(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    dilation: int,
    pads: tuple[int, int],
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """The two gradients: the transposed transforms in the opposite order."""
    out, channels, taps = weight.shape
    table = _transforms(taps, x.dtype)
    signal, steps = _padded(x, taps, dilation, pads)
    tiles = _Tiles(signal, taps, dilation)
    slopes_y = tiles.outputs(laid_out(grad, 0, tiled(steps, dilation) - steps))
    kernel = _transformed_kernel(weight)
    padded_slope = tiles.zeros(channels) if wanted[0] else None
    kernel_slope = torch.zeros_like(kernel) if wanted[1] else None
    for block in tiles.blocks(STEPS_BACK):
        slopes = slopes_y[:, block[0], block[1]]
        flat = tiles.room("slopes", *slopes.shape).copy_(slopes).view(TILE, -1)
        products = tiles.room("products", tiles.points, flat.shape[1])
        torch.mm(table.outputs.t(), flat, out=products)
        products = products.view(tiles.points, -1, out)
        if kernel_slope is not None:
            kernel_slope.baddbmm_(products.transpose(1, 2), tiles.transformed(block))
        if padded_slope is not None:
            inputs = tiles.room("inputs", *products.shape[:2], channels)
            flat = torch.bmm(products, kernel, out=inputs).view(tiles.points, -1)
            parts = torch.mm(table.inputs.t(), flat, out=tiles.room("taps", *flat.shape))
            _add_tiles(padded_slope, parts, tiles, block)
    weight_slope = None
    if kernel_slope is not None:
        weight_slope = (kernel_slope.view(tiles.points, -1).t() @ table.kernel).view_as(weight)
    if padded_slope is None:
        return None, weight_slope
    inside = padded_slope.flatten(1, 3)[:, pads[0] : pads[0] + x.shape[2]]
    return inside.transpose(1, 2), weight_slope


def _add_tiles(total: Tensor, parts: Tensor, tiles: _Tiles, block: tuple[slice, slice]) -> None:
    """Add overlapping tiles where they belong.

    Steps TILE apart do not overlap, so TILE of the n rows are added at once.

    Args:
        total: (batch, tiles and more, TILE, dilation, channels).
        parts: (n, rows * channels).
        tiles: of the signal.
        block: which signals and tiles the rows are of.
    """
    first, last, _ = block[1].indices(tiles.count)
    signals = total[block[0]]
    shape = tiles.points, len(signals), last - first, *total.shape[3:]
    rows = parts.view(shape).permute(1, 2, 0, 3, 4)
    for later, some in enumerate(rows.split(TILE, 2)):
        signals[:, first + later : last + later, : some.shape[2]] += some
