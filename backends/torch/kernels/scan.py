"""The Mamba-2 recurrence, in the form that fits a call."""

import contextlib

import torch
from torch import Tensor

from .blockwise import watched
from .ssd import Inputs, chunked, one_step
from .ssd_cpu import Scan, in_chunks

# Time steps of a chunk: the (chunk x chunk) products that are not matrix products grow with it, and
# on a CPU they soon take most of the time; what is done once a chunk grows with the state.
CHUNK, CHUNK_ON_CPU, CHUNK_OF_LARGE_STATES = 128, 32, 64
LARGE_STATE = 64


def scan(inputs: Inputs, state: Tensor | None, chunk: int | None) -> tuple[Tensor, Tensor]:
    """Run S_t = exp(dt_t a) S_{t-1} + dt_t x_t b_t^T, y_t = S_t c_t + d x_t.

    It is computed in float32 at least, also where autocast is on.

    Args:
        inputs: see Inputs.
        state: (batch, heads, head_dim, d_state) before the first step; None for zeros.
        chunk: time steps at once; None for a choice by device.
    Returns:
        (y as x, in float32 under autocast; state after the last step, in float32 at least).
    """
    x = inputs.x
    mixed = torch.is_autocast_enabled(x.device.type)
    if x.dtype.itemsize >= 4 and not mixed:
        return _scan(inputs, state, chunk)
    wide = Inputs(*(one.float() for one in inputs))
    with torch.autocast(x.device.type, enabled=False) if mixed else contextlib.nullcontext():
        y, last = _scan(wide, None if state is None else state.float(), chunk)
    return y if mixed else y.to(x.dtype), last


def _scan(inputs: Inputs, state: Tensor | None, chunk: int | None) -> tuple[Tensor, Tensor]:
    """See `scan`; everything is of one type."""
    x, steps = inputs.x, inputs.x.shape[1]
    if state is None:
        start = x.new_zeros(x.shape[0], *x.shape[2:], inputs.b.shape[3])
        return _in_chunks(inputs, start, chunk)
    if steps > 1:
        return _in_chunks(inputs, state, chunk)
    return one_step(inputs, state) if steps else (x, state)


def _in_chunks(inputs: Inputs, state: Tensor, chunk: int | None) -> tuple[Tensor, Tensor]:
    """Several steps at once, as the device likes it."""
    on_cpu = inputs.x.device.type == "cpu"
    if chunk is None and on_cpu:
        chunk = CHUNK_OF_LARGE_STATES if inputs.b.shape[3] > LARGE_STATE else CHUNK_ON_CPU
    size = min(chunk or CHUNK, inputs.x.shape[1])
    if not on_cpu or watched():
        return chunked(inputs, state, size)
    if not torch.is_grad_enabled():
        return in_chunks(inputs, state, size)
    found: tuple[Tensor, Tensor] = Scan.apply(size, state, *inputs)  # type: ignore[no-untyped-call]
    return found
