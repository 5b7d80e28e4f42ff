"""NaN and infinity kept from the outputs before them, where products over time are masked by zeros.

The chunked forms of the Mamba-2 recurrence multiply later steps by 0, and 0 * NaN is NaN.
"""

import math

import torch
from torch import Tensor

from .blockwise import watched
from .ssd import Inputs


def screened(inputs: Inputs) -> tuple[Inputs, Tensor | None]:
    """Replace all steps from the first value, or product x dt, that is not finite on by zeros.

    Args:
        inputs: see Inputs.
    Returns:
        (the same with zeros, which steps of which signals these are, (batch, time); None where
        there are none).
    """
    rows = (inputs.x, inputs.dt, inputs.b, inputs.c)
    # On a CPU one pass shows them; elsewhere to look at a value would wait for the device.
    if inputs.x.device.type == "cpu" and not watched() and _harmless(inputs):
        return inputs, None
    scaled = inputs.x * inputs.dt.unsqueeze(3)  # may be infinite where both are not
    held = (scaled, *rows[1:])
    finite = [(row.detach().abs() < math.inf).flatten(2).all(2) for row in held]
    bad = ~(finite[0] & finite[1] & finite[2] & finite[3])
    later = bad.to(torch.float32).cumsum(1) > 0
    x, dt, b, c = (_filled(row, later, 0.0) for row in rows)
    return Inputs(x, dt, inputs.a, b, c, inputs.d), later


def _harmless(inputs: Inputs) -> bool:
    """Whether all values are finite, and no product of x and dt overflows."""
    x, dt = inputs.x, inputs.dt
    most = torch.finfo(torch.promote_types(x.dtype, dt.dtype)).max
    if not _largest(x) * _largest(dt) <= most:  # also where it is NaN
        return False
    return all(math.isfinite(row.detach().sum().item()) for row in (dt, inputs.b, inputs.c))


def _largest(x: Tensor) -> float:
    """The largest absolute value, NaN where there is one."""
    low, high = torch.aminmax(x.detach())
    return max(-low.item(), high.item())


def unscreened(y: Tensor, later: Tensor | None) -> Tensor:
    """NaN in the steps of an output (batch, time, ...) that were replaced."""
    return y if later is None else _filled(y, later, math.nan)


def _filled(x: Tensor, where: Tensor, value: float) -> Tensor:
    """A value in some steps (batch, time) of (batch, time, ...)."""
    return x.masked_fill(where.view(*where.shape, *[1] * (x.dim() - 2)), value)
