"""Nearest codes in row blocks, and the two gradients that pass through a choice of codes."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from torch.autograd.function import once_differentiable

from tcnzoo.inference.codebook import ROWS

# On an accelerator a block holds this many scores: few launches count more than memory there.
SCORES = 2**24
# Rows that are measured, or differentiated, at once on a CPU.
BLOCK = 4096


def traced() -> bool:
    """Whether this call is only looked at, to be compiled or written down."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_compiling() or tracing


def nearest(values: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code, argmin(|c|^2 / 2 - x.c) after centring, lowest on ties.

    Both are centred by the mean of the codes. The n x K matrix is never whole in memory, but in a
    graph that is traced or compiled.

    Args:
        values: (n, channels), float32 or float64.
        codes: (K, channels), of the same type.
    Returns:
        (n,) int64.
    """
    with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
        centre = codes.mean(0)
        centred = codes - centre
        half = -0.5 * centred.square().sum(1)
        if traced():
            return torch.addmm(half, values - centre, centred.T).argmax(1)
        if values.device.type == "cpu":
            return _on_cpu(values, centre, centred, half)
        size = max(ROWS, SCORES // len(codes))
        chosen = [
            torch.addmm(half, block - centre, centred.T).argmax(1) for block in values.split(size)
        ]
        return torch.cat(chosen) if chosen else values.new_zeros(0, dtype=torch.int64)


def _on_cpu(values: Tensor, centre: Tensor, codes: Tensor, half: Tensor) -> Tensor:
    """The same with numpy's argmax, which is four times as fast as torch's on a CPU."""
    count, rows = len(values), min(ROWS, len(values))
    scores, block = values.new_empty(rows, len(codes)), values.new_empty(rows, values.shape[1])
    chosen = torch.empty(count, dtype=torch.int64)
    score_array, chosen_array, columns = scores.numpy(), chosen.numpy(), codes.T
    for start in range(0, count, ROWS):
        stop = min(start + ROWS, count)
        size = stop - start
        torch.sub(values[start:stop], centre, out=block[:size])
        torch.addmm(half, block[:size], columns, out=scores[:size])
        score_array[:size].argmax(1, out=chosen_array[start:stop])
    return chosen


class _Passed(torch.autograd.Function):
    """Forward the codes and the mean square of their distances; backward to the values alone.

    The two are one function so that neither keeps a difference for the other: backward, the
    gradient of a distance is a multiple of the value less one of the code.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, codes: Tensor, chosen: Tensor, rotates: bool
    ) -> tuple[Tensor, Tensor]:
        """Look the codes up and measure."""
        output = F.embedding(chosen, codes)
        ctx.save_for_backward(values, output)
        ctx.rotates = rotates
        return output, mean_square(values, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, of_mean: Tensor) -> Any:
        """Add up the gradients of the codes and of the distances, in blocks on a CPU."""
        values, codes = ctx.saved_tensors
        pull = 2.0 * of_mean / max(1, values.numel())
        if traced() or values.device.type != "cpu":
            return _pulled(values, codes, slope, pull, ctx.rotates), None, None, None
        result = torch.empty_like(values)
        blocks = (one.split(BLOCK) for one in (result, values, codes, slope))
        for into, x, q, g in zip(*blocks, strict=True):
            into.copy_(_pulled(x, q, g, pull, ctx.rotates))
        return result, None, None, None


def _pulled(values: Tensor, codes: Tensor, slope: Tensor, pull: Tensor, rotates: bool) -> Tensor:
    """The gradient to values: of their codes, and `pull` times value less code."""
    if not rotates:
        return torch.sub(values, codes).mul_(pull).add_(slope)
    ratio, of_value, of_code = _rotation(values, codes, slope)
    result = slope * ratio[:, None]
    result.addcmul_(values, (of_value + pull)[:, None])
    return result.addcmul_(codes, (of_code - pull)[:, None])


def _rotation(values: Tensor, codes: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multiples of gradient, value and code that a turned and scaled gradient is the sum of.

    With u = x / |x|, v = q / |q| and w = (u + v) / |u + v| it is
    |q| / |x| (g - 2 w (w.g) + 2 u (v.g)), and w lies in the plane of value and code.
    """
    size, length = (one.norm(dim=1).clamp_min(1e-6) for one in (values, codes))
    u_g = _dots(values, slope) / size
    v_g = _dots(codes, slope) / length
    cosine = _dots(values, codes) / (size * length)
    # |u + v|^2 = 2 + 2 cosine; opposite vectors have no plane to turn in.
    both = torch.where(cosine > -1.0 + 1e-6, (u_g + v_g) / (1.0 + cosine), 0.0)
    ratio = length / size
    return ratio, ratio * (2.0 * v_g - both) / size, -ratio * both / length


def _dots(one: Tensor, other: Tensor) -> Tensor:
    """Scalar product of each row, (n,)."""
    return torch.einsum("nd,nd->n", one, other)


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    """Mean of the squared differences, a block of rows at a time; NaN of no rows."""
    if traced() or one.device.type != "cpu":
        return F.mse_loss(one, other)
    pairs = zip(one.split(BLOCK), other.split(BLOCK), strict=True)
    return torch.stack([(a - b).square_().sum() for a, b in pairs]).sum() / one.numel()


def passed(gradient: str, values: Tensor, codes: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The chosen codes, (n, channels), and the mean square of values less codes.

    Both have a gradient to the values, and none to the codes.

    Args:
        gradient: of the codes, `straight_through` or `rotation`.
        values: (n, channels).
        codes: (K, channels), without a gradient.
        chosen: (n,) indices.
    """
    if not (torch.is_grad_enabled() and values.requires_grad):
        output = F.embedding(chosen, codes)
        return output, mean_square(values, output)
    rotates = gradient == "rotation"
    passed: tuple[Tensor, Tensor]
    passed = _Passed.apply(values, codes, chosen, rotates)  # type: ignore[no-untyped-call]
    return passed
