"""NaN and infinity kept from the outputs before them, where products over time are masked by zeros.

The chunked forms of the Mamba-2 recurrence multiply later steps by 0, and 0 * NaN is NaN.
"""

import math

import torch
from torch import Tensor

from .blockwise import watched
from .ssd import Inputs


def screened(inputs: Inputs) -> tuple[Inputs, Tensor | None]:
    """Replace all steps from the first value that is not finite on by zeros.

    Args:
        inputs: see Inputs.
    Returns:
        (the same with zeros, which steps of which signals these are, (batch, time); None where
        there are none).
    """
    rows = (inputs.x, inputs.dt, inputs.b, inputs.c)
    # On a CPU sums show them in one pass; elsewhere to look at one would wait for the device.
    visible = inputs.x.device.type == "cpu" and not watched()
    if visible and all(math.isfinite(row.detach().sum().item()) for row in rows):
        return inputs, None
    finite = [(row.detach().abs() < math.inf).flatten(2).all(2) for row in rows]
    bad = ~(finite[0] & finite[1] & finite[2] & finite[3])
    later = bad.to(torch.float32).cumsum(1) > 0
    x, dt, b, c = (_filled(row, later, 0.0) for row in rows)
    return Inputs(x, dt, inputs.a, b, c, inputs.d), later


def unscreened(y: Tensor, later: Tensor | None) -> Tensor:
    """NaN in the steps of an output (batch, time, ...) that were replaced."""
    return y if later is None else _filled(y, later, math.nan)


def _filled(x: Tensor, where: Tensor, value: float) -> Tensor:
    """A value in some steps (batch, time) of (batch, time, ...)."""
    return x.masked_fill(where.view(*where.shape, *[1] * (x.dim() - 2)), value)
