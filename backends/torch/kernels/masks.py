"""Dropout masks on a CPU from raw bits of torch's generator, four to a draw of 64 bits.

torch draws a number for each value and compares it; here 16 bits are compared instead. The
probability to keep a value is therefore a multiple of 2^-16, and values are scaled by the inverse
of what it really is, so that the expected output is the input. Rates of which so many bits say too
little are left to torch.
"""

from typing import Any

import torch
from torch import Tensor

LEVELS = 2**16
# So many levels at least are kept, and dropped: the rate is then right to 1 part in 128.
FEWEST = 64


def levels(rate: float) -> int:
    """How many of the 2^16 values of the bits keep a value."""
    return round((1.0 - rate) * LEVELS)


def serves(x: Tensor, rate: float) -> bool:
    """Whether the masks of this module are drawn for a call."""
    return x.device.type == "cpu" and FEWEST <= levels(rate) <= LEVELS - FEWEST


def drawn(shape: torch.Size, rate: float) -> Tensor:
    """Draw what is kept: 1 with probability levels(rate) / 2^16, else 0, in one byte each."""
    size = shape.numel()
    bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:size] < levels(rate) - LEVELS // 2
    return kept.view(torch.uint8).view(shape)


class Dropped(torch.autograd.Function):
    """x * mask / probability."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        """Drop values of a tensor of any shape."""
        # Axes in the order in memory, so that the two are multiplied fast.
        last = x.ndim == 3 and not x.is_contiguous()
        shape = x.transpose(1, 2).shape if last else x.shape
        mask = drawn(shape, rate).transpose(1, 2) if last else drawn(shape, rate)
        ctx.save_for_backward(mask)
        ctx.scale = LEVELS / levels(rate)
        return mask.to(x.dtype).mul_(ctx.scale).mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The gradient, dropped and scaled alike."""
        (mask,) = ctx.saved_tensors
        return mask.to(grad.dtype).mul_(ctx.scale) * grad, None
