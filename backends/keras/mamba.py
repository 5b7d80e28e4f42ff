"""Mamba-2 and its bidirectional layers; the recurrence by matrix products over chunks of time.

Source: Dao & Gu 2024, arXiv:2405.21060, section 6.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec

from .activation import silu, softplus
from .block import Block, Tensor, maybe
from .conv import Conv1d
from .dense import Dense
from .kernels.loop import Tensors, scan
from .norm import RmsNorm
from .types import reduced

# Time steps of a chunk where the spec leaves it open.
CHUNK = 64


def split(x: Tensor, widths: tuple[int, ...]) -> list[Tensor]:
    """Split the last axis into parts of the named widths, empty ones too."""
    edges = [sum(widths[:index]) for index in range(len(widths) + 1)]
    return [x[..., a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]


def decays(sums: Tensor) -> Tensor:
    """exp(s_i - s_j) for i >= j and 0 above, (..., size, size); the mask comes before the exp."""
    size = sums.shape[-1]
    difference = ops.expand_dims(sums, -1) - ops.expand_dims(sums, -2)
    past = np.tril(np.ones((size, size), bool))
    return ops.exp(ops.where(past, difference, ops.cast(-math.inf, difference.dtype)))


class Mamba2(Block[Mamba2Spec], kind="mamba2"):
    """A selective state space between two linear maps."""

    in_proj: Dense
    conv1d: Conv1d
    norm: RmsNorm | None
    out_proj: Dense

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> the same shape."""
        spec, sizes = self.spec, self.spec.sizes
        through, beside, z, xbc, dt = split(self.in_proj(x), sizes.sections)
        xbc = reduced(silu, self.conv1d(xbc, stream))
        tables = [self.arrays[name] for name in ("dt_bias", "A_log", "D")]
        y = reduced(partial(self._scan, stream=stream), xbc, dt, *tables)
        gate = reduced(silu, z)
        y = maybe(self.norm, y) * gate if spec.norm_before_gate else maybe(self.norm, y * gate)
        if sizes.sections[0]:
            y = ops.concatenate([reduced(silu, through) * beside, y], axis=2)
        return self.out_proj(y)

    def _scan(
        self,
        xbc: Tensor,
        dt: Tensor,
        dt_bias: Tensor,
        a_log: Tensor,
        skip: Tensor,
        stream: Stream | None,
    ) -> Tensor:
        """Run the recurrence on x, B, C (batch, time, convolved) and dt (batch, time, heads)."""
        (batch, steps, _), spec, sizes = ops.shape(xbc), self.spec, self.spec.sizes
        dt = softplus(dt + dt_bias)
        low, high = spec.dt_limit
        dt = ops.maximum(dt, low) if high is None else ops.clip(dt, low, high)
        inside = spec.groups * spec.d_state
        x, b, c = split(xbc, (sizes.width, inside, inside))
        x = ops.reshape(x, (batch, steps, sizes.heads, spec.head_dim))
        shape, share = (batch, steps, spec.groups, spec.d_state), sizes.heads // spec.groups
        b, c = (ops.repeat(ops.reshape(s, shape), share, axis=2) for s in (b, c))
        a = dt * -ops.exp(a_log)
        if stream is None:
            shape = (batch, sizes.heads, spec.head_dim, spec.d_state)
            state = ops.zeros(shape, dtype=x.dtype)
        else:
            state = stream.read(self.path, "ssm")
        size = spec.chunk_size or CHUNK
        later, (moved, a, b, c) = screened((x * ops.expand_dims(dt, -1), a, b, c))
        y, state = chunks(moved, a, b, c, state, size)
        if stream is not None:
            stream.write(self.path, "ssm", filled(state, later[:, -1], math.nan))
        y = filled(y, later, math.nan) + x * ops.reshape(skip, (sizes.heads, -1))
        return ops.reshape(y, (batch, steps, sizes.width))


def screened(rows: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Replace all steps from the first value that is not finite on by zeros.

    `chunk` multiplies later steps by 0, and 0 * NaN is NaN: it would spread to earlier outputs.

    Args:
        rows: arrays (batch, time, ...).
    Returns:
        (which steps of which signals these are, (batch, time); the rows with zeros).
    """
    finite = [ops.all(ops.isfinite(row), axis=list(range(2, len(row.shape)))) for row in rows]
    bad = ops.logical_not(ops.all(ops.stack(finite), axis=0))
    later = ops.cumsum(ops.cast(bad, "int32"), axis=1) > 0
    return later, [filled(row, later, 0.0) for row in rows]


def filled(x: Tensor, where: Tensor, value: float) -> Tensor:
    """A value where a mask of the first axes of x is true."""
    mask = ops.reshape(where, (*ops.shape(where), *[1] * (len(x.shape) - len(where.shape))))
    return ops.where(mask, ops.cast(value, x.dtype), x)


def chunks(
    x: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Run `chunk` along the signal; a signal of unknown length is filled up to whole chunks."""
    steps = ops.shape(x)[1]
    if isinstance(steps, int):
        pieces = []
        for start in range(0, steps, size):
            rows = [s[:, start : start + size] for s in (x, a, b, c)]
            y, state = chunk(rows, state)
            pieces.append(y)
        return ops.concatenate(pieces, axis=1), state
    count = (steps - 1) // size + 1
    short = count * size - steps
    # Steps without decay and input leave the state as it is.
    parts = [_rows(s, short, count, size) for s in (x, a, b, c)]

    def advance(carry: Tensors, rows: Tensors) -> tuple[Tensors, Tensors]:
        y, after = chunk(rows, carry[0])
        return (after,), (y,)

    # Not ops.scan: under TensorFlow its outputs must have the shape of the state.
    (state,), (y,) = scan(advance, (state,), parts)
    y = ops.moveaxis(y, 0, 1)
    shape = (ops.shape(x)[0], count * size, *x.shape[2:])
    return ops.reshape(y, shape)[:, :steps], state


def _rows(x: Tensor, short: Tensor, count: Tensor, size: int) -> Tensor:
    """Fill up axis 1 by `short` zeros and put the chunks in front: (count, batch, size, ...)."""
    filled = ops.pad(x, ((0, 0), (0, short)) + ((0, 0),) * (len(x.shape) - 2))
    return ops.moveaxis(ops.reshape(filled, (ops.shape(x)[0], count, size, *x.shape[2:])), 1, 0)


def chunk(rows: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """Run S_t = exp(a_t) S_{t-1} + x_t b_t^T, y_t = S_t c_t over a few steps by matrix products.

    Args:
        rows: x (batch, time, heads, head_dim); a (batch, time, heads), the log decay of each step;
            b and c (batch, time, heads, d_state).
        state: (batch, heads, head_dim, d_state) before the first step.
    Returns:
        (y as x, state after the last step).
    """
    x, a, b, c = rows
    x, b, c = (ops.swapaxes(s, 1, 2) for s in (x, b, c))  # (batch, heads, time, ...)
    sums = ops.cumsum(ops.swapaxes(a, 1, 2), axis=2)
    mixed = ops.matmul(c, ops.swapaxes(b, 2, 3)) * decays(sums)
    carried = ops.matmul(c, ops.swapaxes(state, 2, 3)) * ops.expand_dims(ops.exp(sums), -1)
    left = ops.expand_dims(ops.exp(sums[:, :, -1:] - sums), -1)
    added = ops.matmul(ops.swapaxes(x * left, 2, 3), b)
    decay = ops.reshape(ops.exp(sums[:, :, -1]), (-1, sums.shape[1], 1, 1))
    return ops.swapaxes(ops.matmul(mixed, x) + carried, 1, 2), decay * state + added


class BiMamba2Layer(Block[BiMamba2LayerSpec], kind="bi_mamba2_layer"):
    """norm(x + dropout(projection([forward, backward])))."""

    forward_mamba: Mamba2
    backward_mamba: Mamba2 | None
    projection: Dense
    dropout: Block[Any] | None
    norm: Block[Any]

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> the same shape."""
        backward = self.backward_mamba or self.forward_mamba
        reverse = ops.flip(backward(ops.flip(x, axis=1)), axis=1)
        both = ops.concatenate([self.forward_mamba(x), reverse], axis=2)
        return self.norm(x + maybe(self.dropout, self.projection(both)))


class BiMamba2(Block[BiMamba2Spec], kind="bi_mamba2"):
    """Layers, one after the other."""

    layers: dict[int, BiMamba2Layer]

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> the same shape."""
        for layer in self.layers.values():
            x = layer(x)
        return x
