"""The Mamba-2 recurrence by matrix products over chunks of time (structured state-space duality).

Source: Dao & Gu 2024, arXiv:2405.21060, section 6.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


class Inputs(NamedTuple):
    """What the recurrence is run on.

    Attributes:
        x: (batch, time, heads, head_dim).
        dt: (batch, time, heads), positive.
        a: (heads,), negative.
        b, c: (batch, time, groups, d_state).
        d: (heads, 1) or (heads, head_dim).
    """

    x: Tensor
    dt: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor


def one_step(inputs: Inputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """A single step, by the recurrence itself; see `chunked`."""
    x, dt, b, c = inputs.x[:, 0], inputs.dt[:, 0], inputs.b[:, 0], inputs.c[:, 0]
    batch, heads, _ = x.shape
    share = heads // b.shape[1]
    b, c = (one.repeat_interleave(share, dim=1) for one in (b, c))
    decay = torch.exp(dt * inputs.a)[:, :, None, None]
    state = decay * state + (dt.unsqueeze(2) * x).unsqueeze(3) * b.unsqueeze(2)
    y = torch.addcmul((state @ c.unsqueeze(3)).squeeze(3), x, inputs.d)
    return y.unsqueeze(1), state


def chunked(inputs: Inputs, state: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Run all steps, `size` at once.

    Args:
        inputs: see Inputs.
        state: (batch, heads, head_dim, d_state) before the first step.
        size: steps of a chunk.
    Returns:
        (y as x, state after the last step).
    """
    x, dt, a, b, c, d = inputs
    batch, steps, heads, width = x.shape
    groups, n = b.shape[2:]
    share, count = heads // groups, -(-steps // size)
    # Steps with dt = 0 leave the state as it is.
    x, dt, b, c = (_filled(one, count * size) for one in (x * dt.unsqueeze(3), dt, b, c))
    x = x.view(batch, count, size, heads, width)
    b, c = (
        one.view(batch, count, size, groups, n).permute(0, 1, 3, 2, 4) for one in (b, c)
    )  # (batch, count, groups, size, n)
    sums = (dt * a).view(batch, count, size, heads).cumsum(dim=2)
    by_head = sums.transpose(2, 3)  # (batch, count, heads, size)

    # Within each chunk.
    decay = _decay(by_head).view(batch, count, groups, share, size, size)
    mixed = ((c @ b.transpose(3, 4)).unsqueeze(3) * decay).flatten(2, 3)
    y = (mixed @ x.transpose(2, 3)).transpose(2, 3)  # (batch, count, size, heads, width)

    # What each chunk adds to the state, and the state before each.
    left = torch.exp(sums[:, :, -1:] - sums).unsqueeze(4)
    added = b.transpose(3, 4) @ _grouped(x * left, groups)
    states, last = _carry(added.view(batch, count, groups, n, share, width), by_head, state)

    # What the state before each chunk gives.
    carried = c @ states.view(batch, count, groups, n, share * width)
    carried = carried.view(batch, count, groups, size, share, width).transpose(2, 3)
    y = y + carried.reshape(y.shape) * torch.exp(sums).unsqueeze(4)
    y = y.reshape(batch, count * size, heads, width)[:, :steps]
    return torch.addcmul(y, inputs.x, d), last


def _filled(array: Tensor, steps: int) -> Tensor:
    """Add zeros at the end of axis 1, up to `steps`."""
    short = steps - array.shape[1]
    return F.pad(array, (0, 0) * (array.dim() - 2) + (0, short)) if short else array.contiguous()


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(batch, count, size, heads, width) -> (batch, count, groups, size, heads/groups * width)."""
    batch, count, size, heads, width = x.shape
    return x.view(batch, count, size, groups, heads // groups * width).transpose(2, 3)


def _decay(sums: Tensor) -> Tensor:
    """exp(s_i - s_j) for i >= j and 0 above, (..., size, size); the mask comes before the exp."""
    size = sums.shape[-1]
    future = torch.ones(size, size, dtype=torch.bool, device=sums.device).triu(1)
    return (sums.unsqueeze(-1) - sums.unsqueeze(-2)).masked_fill_(future, -torch.inf).exp()


def _carry(added: Tensor, sums: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state before each chunk and after the last.

    Args:
        added: (batch, count, groups, n, share, width), what each chunk adds.
        sums: (batch, count, heads, size), cumulative log decay within each chunk.
        state: (batch, heads, width, n) before the first.
    Returns:
        (states like `added`, last state like `state`).
    """
    batch, count, groups, n, share, width = added.shape
    decay = torch.exp(sums[..., -1]).view(batch, count, groups, 1, share, 1).unbind(1)
    carried = state.reshape(batch, groups, share, width, n).permute(0, 1, 4, 2, 3)
    states = []
    for kept, new in zip(decay, added.unbind(1), strict=True):
        states.append(carried)
        carried = torch.addcmul(new, kept, carried)
    last = carried.permute(0, 1, 3, 4, 2).reshape(batch, groups * share, width, n)
    return torch.stack(states, dim=1), last
