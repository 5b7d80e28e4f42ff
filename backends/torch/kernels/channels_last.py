"""Signals with channels last in memory, and torch's convolution on them, which keeps less."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def laid_out(x: Tensor, left: int, right: int) -> Tensor:
    """(batch, channels, time) -> (batch, left + time + right, channels), contiguous, with zeros."""
    if not left and not right:
        return x.transpose(1, 2).contiguous()
    batch, channels, length = x.shape
    padded = x.new_empty(batch, left + length + right, channels)
    padded[:, :left].zero_()
    padded[:, left + length :].zero_()
    padded[:, left : left + length].copy_(x.transpose(1, 2))
    return padded


def no_view(y: Tensor) -> Tensor:
    """The same memory as a tensor of its own; torch forbids writes to views made in Functions."""
    size, stride = y.shape, y.stride()
    return y.new_empty(0).set_(y.untyped_storage(), y.storage_offset(), size, stride)


class ChannelsLast(torch.autograd.Function):
    """A padded convolution as one of images of height 1; the padded copy is made again backwards.

    On a CPU this is faster for narrow layers than torch's form of one dimension.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: tuple[int, int, int],
        pads: tuple[int, int],
    ) -> Tensor:
        """Convolve (batch, in, time) with (out, in / groups, K).

        Args:
            ctx: of torch.
            x, weight, bias: of one float type.
            geometry: stride, dilation and groups.
            pads: zeros to be added before and after x.
        """
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.pads, ctx.has_bias = geometry, pads, bias is not None
        stride, dilation, groups = geometry
        image = laid_out(x, *pads).transpose(1, 2).unsqueeze(2)
        y = F.conv2d(image, weight.unsqueeze(2), bias, (1, stride), 0, (1, dilation), groups)
        return no_view(y.squeeze(2))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias, which can be differentiated again."""
        x, weight = ctx.saved_tensors
        (stride, dilation, groups), (left, right) = ctx.geometry, ctx.pads
        wanted = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]]
        image = F.pad(x.transpose(1, 2), (0, 0, left, right)).transpose(1, 2).unsqueeze(2)
        slopes = torch.ops.aten.convolution_backward(
            grad.unsqueeze(2), image, weight.unsqueeze(2), [len(weight)],
            [1, stride], [0, 0], [1, dilation], False, [0, 0], groups, wanted,
        )  # fmt: skip
        x_slope, weight_slope, bias_slope = slopes
        if x_slope is not None:
            x_slope = x_slope.squeeze(2)[:, :, left : left + x.shape[2]]
        return (
            x_slope,
            None if weight_slope is None else weight_slope.squeeze(2),
            bias_slope,
            None,
            None,
        )
