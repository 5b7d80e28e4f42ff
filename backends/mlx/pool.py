"""Pools over the whole signal, and upsampling."""

import mlx.core as mx
import numpy as np

from tcnzoo.streaming import Stream

from .block import Block


class Pool(Block, kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, channels) or (batch, output_size, channels)."""
        if self.spec.mode == "global_average":
            return x.mean(axis=1)
        starts, ends = np.array(self.spec.windows(x.shape[1]), dtype=np.int32).T[..., None]
        steps = starts + np.arange((ends - starts).max(), dtype=np.int32)
        parts = x[:, mx.array(np.minimum(steps, ends - 1))]
        if self.spec.mode == "adaptive_max":
            return parts.max(axis=2)
        share = mx.array(((steps < ends) / (ends - starts)).astype(np.float32))
        return (parts * share[..., None]).sum(axis=2).astype(x.dtype)


class Upsample(Block, kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time * factor, channels)."""
        factor, length = self.spec.factor, x.shape[1]
        if self.spec.mode == "nearest":
            return mx.repeat(x, factor, axis=1)
        place = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
        left = np.floor(place).astype(np.int32)
        right = np.minimum(left + 1, length - 1)
        share = mx.array((place - left).astype(np.float32)).astype(x.dtype)[:, None]
        return x[:, mx.array(left)] * (1 - share) + x[:, mx.array(right)] * share
