"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import BatchNormSpec, GroupNormSpec, LayerNormSpec, RmsNormSpec

from .block import Array, Block, per_channel


class BatchNorm(Block[BatchNormSpec], kind="batch_norm"):
    """(x - running_mean) / sqrt(running_var + eps) * weight + bias."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        scale = self.arrays["weight"] / np.sqrt(self.arrays["running_var"] + self.spec.eps)
        shift = self.arrays["bias"] - self.arrays["running_mean"] * scale
        return x * per_channel(scale, x) + per_channel(shift, x)


class LayerNorm(Block[LayerNormSpec], kind="layer_norm"):
    """Zero mean and unit (biased) variance over the channels of each step, then scale and shift."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.spec.eps)
        scale = per_channel(self.arrays["weight"], x)
        return centred / deviation * scale + per_channel(self.arrays["bias"], x)


class GroupNorm(Block[GroupNormSpec], kind="group_norm"):
    """Zero mean and unit (biased) variance of each group over all positions, then scale, shift."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, ...)."""
        groups = x.reshape(len(x), self.spec.groups, -1)
        centred = groups - groups.mean(axis=2, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=2, keepdims=True) + self.spec.eps)
        scale = per_channel(self.arrays["weight"], x)
        return (centred / deviation).reshape(x.shape) * scale + per_channel(self.arrays["bias"], x)


class RmsNorm(Block[RmsNormSpec], kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        count, width = self.spec.groups, self.spec.channels
        groups = x.reshape(x.shape[0], count, width // count, *x.shape[2:])
        size = np.sqrt((groups**2).mean(axis=2, keepdims=True) + self.spec.eps)
        return (groups / size).reshape(x.shape) * per_channel(self.arrays["weight"], x)
