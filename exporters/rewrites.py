"""Operators that runtimes lack or get wrong, in terms of others, for `run_decompositions`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

Table = dict[Any, Callable[..., Any]]


def rewritten(exported: Any, *, executorch: bool = False) -> Any:
    """A traced program without the operators of the tables below.

    Args:
        exported: torch.export.ExportedProgram.
        executorch: rewrite what ExecuTorch alone gets wrong, too.
    """
    return exported.run_decompositions(
        {**_common(), **(_wrong_in_executorch() if executorch else {})}
    )


def _common() -> Table:
    """Padding that crops or goes round, and pools over equal parts.

    Core ML and ExecuTorch lack forms of these, and AOTInductor gives NaN for the pools where the
    time is open.
    """
    import torch

    def pad(x: Any, pads: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
        left, right = pads[-2:] if len(pads) == 4 else pads[:2]
        if len(pads) != 2 or (mode != "circular" and min(left, right) >= 0):
            return NotImplemented
        length = x.shape[2]
        x = x[:, :, max(0, -left) : length - max(0, -right)]
        left, right = max(0, left), max(0, right)
        if mode == "circular":
            ends = [x[:, :, x.shape[2] - left :], x, x[:, :, :right]]
            return torch.cat([part for part in ends if part.shape[2]], dim=2)
        return torch.constant_pad_nd(x, [left, right], value or 0.0) if left or right else x

    def adaptive_max(x: Any, size: Sequence[int]) -> Any:
        values = [x[:, :, start:stop].amax(dim=2) for start, stop in _parts(x, size)]
        places = [x[:, :, start:stop].argmax(dim=2) + start for start, stop in _parts(x, size)]
        return torch.stack(values, dim=2), torch.stack(places, dim=2)

    def adaptive_average(x: Any, size: Sequence[int]) -> Any:
        if isinstance(x.shape[2], int):
            return NotImplemented
        means = [x[:, :, start:stop].mean(dim=2) for start, stop in _parts(x, size)]
        return torch.stack(means, dim=2)

    aten = torch.ops.aten
    return {
        aten.pad.default: pad,
        aten.adaptive_max_pool1d.default: adaptive_max,
        aten.adaptive_avg_pool1d.default: adaptive_average,
        aten.new_ones.default: lambda x, size, **options: torch.ones(size, dtype=x.dtype),
        aten.alias.default: lambda x: x,
    }


def _parts(x: Any, size: Sequence[int]) -> list[tuple[Any, Any]]:
    """First step and end of each of the equal parts of a signal; they overlap if it is short."""
    length, count = x.shape[2], size[0]
    return [
        (number * length // count, -(-(number + 1) * length // count)) for number in range(count)
    ]


def _wrong_in_executorch() -> Table:
    """GELU in its tanh form, which XNNPACK computes as the exact one, and layer norm.

    ExecuTorch's layer norm takes the variance as the mean of squares less the square of the mean,
    of which nothing is left for a signal around 1000. Here it is the mean of squares of what is
    left of the signal without its mean, which is taken off twice: the second time its rounding.
    """
    import torch

    def gelu(x: Any, *, approximate: str = "none") -> Any:
        if approximate != "tanh":
            return NotImplemented
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1.0 + torch.tanh(inner))

    def layer_norm(
        x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float = 1e-5, *rest: Any
    ) -> Any:
        y = x if x.dtype == torch.float32 else x.float()
        for _ in range(2):
            y = y - y.mean(dim=-1, keepdim=True)
        y = y * torch.rsqrt((y * y).mean(dim=-1, keepdim=True) + eps)
        return (y if x.dtype == torch.float32 else y.to(x.dtype)) * weight + bias

    aten = torch.ops.aten
    return {aten.gelu.default: gelu, aten.layer_norm.default: layer_norm}
