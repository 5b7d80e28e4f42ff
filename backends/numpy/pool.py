"""Pools over the whole signal, and upsampling."""

import numpy as np

from tcnzoo.streaming import Stream

from .block import Array, Block


class Pool(Block, kind="pool"):
    """Mean over time, or mean or maximum over equal parts of the time."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels) or (batch, channels, output_size)."""
        if self.spec.mode == "global_average":
            return x.mean(axis=2)
        reduce = np.mean if self.spec.mode == "adaptive_average" else np.max
        parts = [reduce(x[:, :, a:b], axis=2) for a, b in self.spec.windows(x.shape[2])]
        return np.stack(parts, axis=2)


class Upsample(Block, kind="upsample"):
    """Repeat every step, or interpolate between step centres."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels, time * factor)."""
        factor, length = self.spec.factor, x.shape[2]
        if self.spec.mode == "nearest":
            return np.repeat(x, factor, axis=2)
        place = (np.arange(length * factor) + 0.5) / factor - 0.5
        place = np.clip(place, 0, length - 1)
        left = np.floor(place).astype(int)
        right = np.minimum(left + 1, length - 1)
        share = (place - left).astype(x.dtype)
        return x[:, :, left] * (1 - share) + x[:, :, right] * share
