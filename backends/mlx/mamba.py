"""Mamba-2 and its bidirectional layers; the recurrence by matrix products over chunks of time.

Source: Dao & Gu 2024, arXiv:2405.21060, section 6.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec

from .block import Block, maybe
from .conv import Conv1d
from .dense import Dense
from .kernels.functions import exp, silu, softplus
from .norm import LayerNorm, RmsNorm
from .types import on_cpu, reduced

Rows = Sequence[mx.array]

# Time steps of a chunk where the spec leaves it open. On a CPU an exponential of MLX costs as much
# as some fifty multiplications, and there are (time x chunk) of them for each head.
CHUNK, CHUNK_ON_CPU = 64, 16
# Values of (time x chunk x heads) that are described at once.
SPAN = 2**22


def split(x: mx.array, widths: tuple[int, ...]) -> list[mx.array]:
    """Split the last axis into parts of the named widths, empty ones too."""
    edges = [sum(widths[:count]) for count in range(len(widths) + 1)]
    return [x[..., a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]


def decays(sums: mx.array) -> mx.array:
    """exp(s_i - s_j) for i >= j and 0 above, (..., size, size); the mask comes before the exp."""
    size = sums.shape[-1]
    past = mx.tril(mx.ones((size, size))) > 0
    difference = sums[..., :, None] - sums[..., None, :]
    return exp(mx.where(past, difference, mx.array(-mx.inf, dtype=sums.dtype)))


class Mamba2(Block[Mamba2Spec], kind="mamba2"):
    """A selective state space between two linear maps."""

    in_proj: Dense
    conv1d: Conv1d
    norm: RmsNorm | None
    out_proj: Dense

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> the same shape."""
        spec, sizes = self.spec, self.spec.sizes
        through, beside, z, xbc, dt = split(self.in_proj(x), sizes.sections)
        xbc = silu(self.conv1d(xbc, stream))
        tables = (self["dt_bias"], self["A_log"], self["D"])
        y = reduced(partial(self._scan, stream=stream), xbc, dt, *tables)
        gate = silu(z)
        y = maybe(self.norm, y) * gate if spec.norm_before_gate else maybe(self.norm, y * gate)
        if through.shape[2]:
            y = mx.concatenate([silu(through) * beside, y], axis=2)
        return self.out_proj(y)

    def _scan(
        self,
        xbc: mx.array,
        dt: mx.array,
        dt_bias: mx.array,
        a_log: mx.array,
        skip: mx.array,
        stream: Stream | None,
    ) -> mx.array:
        """Run the recurrence on x, B, C (batch, time, convolved) and dt (batch, time, heads)."""
        (batch, steps, _), spec, sizes = xbc.shape, self.spec, self.spec.sizes
        dt = mx.clip(softplus(dt + dt_bias), *spec.dt_limit)
        inside = spec.groups * spec.d_state
        x, b, c = split(xbc, (sizes.width, inside, inside))
        x = x.reshape(batch, steps, sizes.heads, spec.head_dim)
        b, c = (s.reshape(batch, steps, spec.groups, spec.d_state) for s in (b, c))
        rows = x * dt[..., None], dt * -exp(a_log), b, c
        if stream is None:
            state = mx.zeros((batch, sizes.heads, spec.head_dim, spec.d_state), dtype=x.dtype)
        else:
            state = stream.read(self.path, "ssm")
        y, state = one_step(rows, state) if steps == 1 else self._in_chunks(rows, state)
        if stream is not None:
            stream.write(self.path, "ssm", state)
        y = y + x * skip.reshape(sizes.heads, -1)
        return y.reshape(batch, steps, sizes.width)

    def _in_chunks(self, rows: Rows, state: mx.array) -> tuple[mx.array, mx.array]:
        """See `chunks`; NaN from the first value on that is not finite."""
        (batch, steps, heads, _), size = rows[0].shape, self.spec.chunk_size
        size = min(size or (CHUNK_ON_CPU if on_cpu() else CHUNK), steps)
        later, rows = screened(rows)
        span = max(1, SPAN // (batch * heads * size * size)) * size
        pieces = []
        for start in range(0, steps, span):
            y, state = chunks([row[:, start : start + span] for row in rows], state, size)
            pieces.append(y)
        y = mx.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]
        return filled(y, later, mx.nan), filled(state, later[:, -1], mx.nan)


def screened(sequences: Rows) -> tuple[mx.array, list[mx.array]]:
    """Replace all steps from the first value that is not finite on by zeros.

    `chunks` multiplies later steps by 0, and 0 * NaN is NaN: it would spread to earlier outputs.

    Args:
        sequences: arrays (batch, time, ...).
    Returns:
        (which steps of which signals these are, (batch, time); the arrays with zeros).
    """
    finite = [mx.isfinite(array).reshape(*array.shape[:2], -1).all(axis=2) for array in sequences]
    bad = mx.logical_not(mx.stack(finite).all(axis=0))
    later = mx.cumsum(bad.astype(mx.int32), axis=1) > 0
    return later, [filled(array, later, 0.0) for array in sequences]


def filled(x: mx.array, where: mx.array, value: float) -> mx.array:
    """A value where a mask of the first axes of x is true."""
    mask = where.reshape(*where.shape, *[1] * (x.ndim - where.ndim))
    return mx.where(mask, mx.array(value, dtype=x.dtype), x)


def one_step(rows: Rows, state: mx.array) -> tuple[mx.array, mx.array]:
    """A single step, by the recurrence itself; see `chunks`."""
    x, a, b, c = (row[:, 0] for row in rows)
    (batch, groups, states), shape = b.shape, state.shape
    added = x.reshape(batch, groups, -1, 1) * b[:, :, None]
    state = exp(a)[..., None, None] * state + added.reshape(shape)
    y = state.reshape(batch, groups, -1, states) @ c[..., None]
    return y.reshape(batch, 1, *shape[1:3]), state


def chunks(rows: Rows, state: mx.array, size: int) -> tuple[mx.array, mx.array]:
    """Run S_t = exp(a_t) S_{t-1} + x_t b_t^T, y_t = S_t c_t by products over chunks of time.

    Args:
        rows: x (batch, time, heads, head_dim); a (batch, time, heads), the log decay of each step;
            b and c (batch, time, groups, d_state), which the heads of a group share.
        state: (batch, heads, head_dim, d_state) before the first step.
        size: steps of a chunk.
    Returns:
        (y as x, state after the last step).
    """
    (batch, steps, heads, width), (groups, states) = rows[0].shape, rows[2].shape[2:]
    count = -(-steps // size)
    if short := count * size - steps:  # steps without decay and input leave the state as it is
        rows = [mx.pad(row, [(0, 0), (0, short)] + [(0, 0)] * (row.ndim - 2)) for row in rows]
    x, a, b, c = (row.reshape(batch, count, size, *row.shape[2:]).swapaxes(2, 3) for row in rows)
    sums = mx.cumsum(a, axis=3)  # (batch, count, heads, size)
    grouped = (batch, count, groups, heads // groups)

    # Within each chunk.
    scores = (c @ b.swapaxes(3, 4))[:, :, :, None]
    mixed = scores * decays(sums).reshape(*grouped, size, size)
    y = mixed.reshape(batch, count, heads, size, size) @ x

    # What each chunk adds to the state, and the state before each; (batch, count, heads, width, n).
    left = (x * exp(sums[..., -1:] - sums)[..., None]).reshape(*grouped, size, width)
    left = left.swapaxes(3, 4).reshape(batch, count, groups, size, -1)  # heads side by side
    added = (left.swapaxes(3, 4) @ b).reshape(batch, count, heads, width, states)
    whole = exp(sums[..., -1])[..., None, None]
    before = []
    for place in range(count):
        before.append(state)
        state = whole[:, place] * state + added[:, place]

    # What the state before each chunk gives.
    past = mx.stack(before, axis=1).reshape(batch, count, groups, -1, states)
    carried = (c @ past.swapaxes(3, 4)).reshape(batch, count, groups, size, -1, width)
    carried = carried.swapaxes(3, 4).reshape(y.shape) * exp(sums)[..., None]
    y = (y + carried).swapaxes(2, 3).reshape(batch, count * size, heads, width)
    return y[:, :steps], state


class BiMamba2Layer(Block[BiMamba2LayerSpec], kind="bi_mamba2_layer"):
    """norm(x + dropout(projection([forward, backward])))."""

    forward_mamba: Mamba2
    backward_mamba: Mamba2 | None  # None where both directions share one
    projection: Dense
    dropout: Block[Any] | None
    norm: LayerNorm

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> the same shape."""
        forward = self.forward_mamba
        backward = forward if self.backward_mamba is None else self.backward_mamba
        both = mx.concatenate([forward(x), backward(x[:, ::-1])[:, ::-1]], axis=2)
        return self.norm(x + maybe(self.dropout, self.projection(both)))


class BiMamba2(Block[BiMamba2Spec], kind="bi_mamba2"):
    """Layers, one after the other."""

    layers: list[BiMamba2Layer]

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x
