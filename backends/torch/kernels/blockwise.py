"""Convolution and gated norm of Mamba-2 on a CPU, in blocks of time steps that fit in the cache.

Both keep their inputs alone for the backward pass, which computes the rest once more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

# Values of a block: a megabyte in float32.
BLOCK = 2**18

Found = tuple[Tensor | None, ...]


def watched() -> bool:
    """Whether a compiler, a tracer or a transform looks on, which wants plain operations."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state()
        or torch._C._are_functorch_transforms_active()
    )


def usable(*tensors: Tensor) -> bool:
    """Whether the forms here may serve a call: one type of at least 32 bits, on a CPU."""
    return (
        all(one.device.type == "cpu" and one.dtype == tensors[0].dtype for one in tensors)
        and tensors[0].dtype in (torch.float32, torch.float64)
        and not watched()
    )


def again(plain: Callable[..., Any], inputs: Sequence[Tensor], outside: Sequence[Tensor]) -> Found:
    """Gradients that can be differentiated once more: torch derives them from a plain form."""
    wanted = [one for one in inputs if one.requires_grad]
    found = torch.autograd.grad(plain(*inputs), wanted, outside, create_graph=True)
    table = dict(zip(map(id, wanted), found, strict=True))
    return tuple(table.get(id(one)) for one in inputs)


def _blocks(x: Tensor) -> list[slice]:
    """Where the blocks of (batch, time, channels) are."""
    batch, steps, channels = x.shape
    size = max(1, BLOCK // max(1, batch * channels))
    return [slice(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """silu(causal depthwise convolution).

    Args:
        x: (batch, time, channels).
        weight: (channels, 1, taps), the last for the current step.
        bias: (channels,).
    """
    y: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def _plain_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`convolve` by torch's own operations."""
    signal = F.pad(x.transpose(1, 2), (weight.shape[2] - 1, 0))
    return F.silu(F.conv1d(signal, weight, bias, groups=len(weight))).transpose(1, 2)


def _taps(weight: Tensor) -> list[Tensor]:
    """Of each tap its weights, (channels,), beginning with the current step's."""
    return list(weight[:, 0].t().contiguous().flip(0))


def _shift(here: slice, back: int) -> tuple[slice, slice]:
    """The steps that lie `back` before those of a block, and the part of the block after them."""
    begin, end = max(here.start - back, 0), max(here.stop - back, 0)
    return slice(begin, end), slice(begin + back - here.start, None)


def _convolved(x: Tensor, taps: list[Tensor], bias: Tensor, here: slice) -> Tensor:
    """A block of the convolution, by sums of shifted products."""
    y = torch.addcmul(bias, x[:, here], taps[0])
    for back, tap in enumerate(taps[1:], 1):
        there, part = _shift(here, back)
        y[:, part].addcmul_(x[:, there], tap)
    return y


class _Convolution(torch.autograd.Function):
    """See `convolve`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve and activate block by block."""
        ctx.save_for_backward(x, weight, bias)
        y, taps = x.new_empty(x.shape), _taps(weight)
        for here in _blocks(x):
            inner = _convolved(x, taps, bias, here)
            torch.mul(inner, inner.sigmoid(), out=y[:, here])
        return y

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Found:
        """Gradients of x, weight and bias."""
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return again(_plain_convolution, (x, weight, bias), outside)
        of_x, of_weight, of_bias = (torch.zeros_like(one) for one in (x, weight, bias))
        taps = _taps(weight)
        for here in _blocks(x):
            inner = _convolved(x, taps, bias, here)
            inner = torch.ops.aten.silu_backward(outside[0][:, here], inner)
            of_bias += inner.sum((0, 1))
            for back, tap in enumerate(taps):
                there, part = _shift(here, back)
                of_x[:, there].addcmul_(inner[:, part], tap)
                of_weight[:, 0, -1 - back] += (inner[:, part] * x[:, there]).sum((0, 1))
        return of_x, of_weight, of_bias


def gated_norm(y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Root-mean-square norm of y * silu(z), the mean over the channels of a group.

    Args:
        y, z: (batch, time, channels).
        weight: (channels,).
        groups: of the channels.
        eps: added to the mean square.
    """
    found: Tensor = _GatedNorm.apply(y, z, weight, groups, eps)  # type: ignore[no-untyped-call]
    return found


def _normed(y: Tensor, gate: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """y * gate before the norm's weight, and what it was multiplied by; by groups."""
    gated = (y * gate).unflatten(2, (groups, -1))
    scale = (gated.square().mean(3, keepdim=True) + eps).rsqrt_()
    return gated.mul_(scale), scale


class _GatedNorm(torch.autograd.Function):
    """See `gated_norm`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
        """Gate and normalise block by block."""
        ctx.save_for_backward(y, z, weight)
        ctx.options = groups, eps
        out = y.new_empty(y.shape)
        for here in _blocks(y):
            normed, _ = _normed(y[:, here], F.silu(z[:, here]), groups, eps)
            torch.mul(normed.flatten(2), weight, out=out[:, here])
        return out

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> Found:
        """Gradients of y, z and weight."""
        (y, z, weight), (groups, eps) = ctx.saved_tensors, ctx.options
        if torch.is_grad_enabled():
            return *again(_plain_norm(groups, eps), (y, z, weight), outside), None, None
        of_y, of_z = y.new_empty(y.shape), z.new_empty(z.shape)
        of_weight = torch.zeros_like(weight)
        for here in _blocks(y):
            gate, out = F.silu(z[:, here]), outside[0][:, here]
            normed, scale = _normed(y[:, here], gate, groups, eps)
            of_weight += (out * normed.flatten(2)).sum((0, 1))
            inner = (out * weight).view(normed.shape)
            along = (inner * normed).mean(3, keepdim=True)
            inner = inner.addcmul_(normed, along, value=-1).mul_(scale).flatten(2)
            torch.mul(inner, gate, out=of_y[:, here])
            of_z[:, here] = torch.ops.aten.silu_backward(inner.mul_(y[:, here]), z[:, here])
        return of_y, of_z, of_weight, None, None


def _plain_norm(groups: int, eps: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`gated_norm` by torch's own operations."""

    def plain(y: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        gated = (y * F.silu(z)).unflatten(2, (groups, -1))
        return F.rms_norm(gated, gated.shape[3:], eps=eps).flatten(2) * weight

    return plain
