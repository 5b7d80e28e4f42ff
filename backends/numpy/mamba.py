"""Mamba-2 by its recurrence, one time step after the other."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec

from .activation import Dropout, sigmoid
from .block import Array, Block, maybe
from .conv import Conv1d
from .dense import Dense
from .norm import LayerNorm, RmsNorm


def silu(x: Array) -> Array:
    """X * sigmoid(x)."""
    return np.asarray(x * sigmoid(x))


class Mamba2(Block[Mamba2Spec], kind="mamba2"):
    """S = exp(dt A) S + dt x B^T and y = S C + D x, a head at a time."""

    in_proj: Dense
    conv1d: Conv1d
    norm: RmsNorm | None
    out_proj: Dense

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        spec, sizes = self.spec, self.spec.sizes
        edges = np.cumsum(sizes.sections)[:-1]
        through, beside, z, xbc, dt = np.split(self.in_proj(x), edges, axis=1)
        xbc = silu(self.conv1d(xbc, stream))
        dt = np.logaddexp(dt + self.arrays["dt_bias"][:, None], 0.0)
        dt = np.clip(dt, *spec.dt_limit).astype(x.dtype)
        y = self._scan(xbc, dt, stream)
        gate = silu(z)
        y = maybe(self.norm, y) * gate if spec.norm_before_gate else maybe(self.norm, y * gate)
        if through.shape[1]:
            y = np.concatenate([silu(through) * beside, y], axis=1)
        return np.asarray(self.out_proj(y))

    def _scan(self, xbc: Array, dt: Array, stream: Stream | None) -> Array:
        """Run the recurrence: x, B, C (batch, convolved, time), dt (batch, heads, time) -> y."""
        (batch, _, steps), spec, sizes = xbc.shape, self.spec, self.spec.sizes
        edges = [sizes.width, sizes.width + spec.groups * spec.d_state]
        x, b, c = np.split(xbc, edges, axis=1)
        x = x.reshape(batch, sizes.heads, spec.head_dim, steps)
        share = sizes.heads // spec.groups
        b, c = (
            np.repeat(part.reshape(batch, spec.groups, spec.d_state, steps), share, axis=1)
            for part in (b, c)
        )
        decay = np.exp(-np.exp(self.arrays["A_log"])[:, None] * dt)
        shape = (batch, sizes.heads, spec.head_dim, spec.d_state)
        state = np.zeros(shape, x.dtype)
        if stream is not None:
            state = np.asarray(stream.read(self.path, "ssm")).astype(x.dtype)
        y = np.zeros_like(x)
        for t in range(steps):
            added = (dt[:, :, None, t] * x[..., t])[..., None] * b[:, :, None, :, t]
            state = decay[:, :, t, None, None] * state + added
            y[..., t] = (state * c[:, :, None, :, t]).sum(axis=-1)
        if stream is not None:
            stream.write(self.path, "ssm", state)
        skip = self.arrays["D"].reshape(sizes.heads, -1, 1)
        return (y + skip * x).reshape(batch, sizes.width, steps)


class BiMamba2Layer(Block[BiMamba2LayerSpec], kind="bi_mamba2_layer"):
    """norm(x + projection([forward, backward])); the two directions may share their weights."""

    forward_mamba: Mamba2
    backward_mamba: Mamba2 | None
    projection: Dense
    dropout: Dropout | None
    norm: LayerNorm

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        backward = self.backward_mamba or self.forward_mamba
        both = np.concatenate([self.forward_mamba(x), backward(x[:, :, ::-1])[:, :, ::-1]], axis=1)
        return np.asarray(self.norm(x + maybe(self.dropout, self.projection(both))))


class BiMamba2(Block[BiMamba2Spec], kind="bi_mamba2"):
    """Layers, one after the other."""

    layers: dict[int, BiMamba2Layer]

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        for layer in self.layers.values():
            x = layer(x)
        return x
