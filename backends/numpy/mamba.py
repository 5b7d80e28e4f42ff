"""Mamba-2 by its recurrence, one time step after the other."""

import numpy as np

from tcnzoo.models.streaming import Stream

from .activation import sigmoid
from .block import Array, Block


def silu(x: Array) -> Array:
    """X * sigmoid(x)."""
    found: Array = x * sigmoid(x)
    return found


class Mamba2(Block, kind="mamba2"):
    """S = exp(dt A) S + dt x B^T and y = S C + D x, a head at a time."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        spec = self.spec
        edges = np.cumsum(spec.sections)[:-1]
        through, beside, z, xbc, dt = np.split(self.parts["in_proj"](x), edges, axis=1)
        xbc = silu(self.parts["conv1d"](xbc, stream))
        dt = np.logaddexp(dt + self.arrays["dt_bias"][:, None], 0.0)
        dt = np.clip(dt, *spec.dt_limit).astype(x.dtype)
        y = self._scan(xbc, dt, stream)
        gate = silu(z)
        if spec.rms_norm:
            norm = self.parts["norm"]
            y = norm(y) * gate if spec.norm_before_gate else norm(y * gate)
        else:
            y = y * gate
        if through.shape[1]:
            y = np.concatenate([silu(through) * beside, y], axis=1)
        return np.asarray(self.parts["out_proj"](y))

    def _scan(self, xbc: Array, dt: Array, stream: Stream | None) -> Array:
        """Run the recurrence: x, B, C (batch, convolved, time), dt (batch, heads, time) -> y."""
        spec, (batch, _, steps) = self.spec, xbc.shape
        places = [spec.width, spec.width + spec.groups * spec.d_state]
        x, b, c = np.split(xbc, places, axis=1)
        x = x.reshape(batch, spec.heads, spec.head_dim, steps)
        share = spec.heads // spec.groups
        b, c = (
            np.repeat(one.reshape(batch, spec.groups, spec.d_state, steps), share, axis=1)
            for one in (b, c)
        )
        decay = np.exp(-np.exp(self.arrays["A_log"])[:, None] * dt)
        shape = (batch, spec.heads, spec.head_dim, spec.d_state)
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
        skip = self.arrays["D"].reshape(spec.heads, -1, 1)
        return (y + skip * x).reshape(batch, spec.width, steps)


class BiMamba2Layer(Block, kind="bi_mamba2_layer"):
    """norm(x + projection([forward, backward]))."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        forward = self.parts["forward_mamba"]
        backward = self.parts.get("backward_mamba", forward)
        both = np.concatenate([forward(x), backward(x[:, :, ::-1])[:, :, ::-1]], axis=1)
        y = self.optional("dropout", self.parts["projection"](both))
        return np.asarray(self.parts["norm"](x + y))


class BiMamba2(Block, kind="bi_mamba2"):
    """Layers, one after the other."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        for part in self.parts.values():
            x = part(x)
        return x
