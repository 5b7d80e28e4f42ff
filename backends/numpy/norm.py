"""Batch norm with running statistics, and layer and root-mean-square norm over channels."""

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


def _over_channels(vector: Array, x: Array) -> Array:
    """View a (channels,) vector so that it broadcasts against x."""
    return vector.reshape((-1,) + (1,) * (x.ndim - 2))


class BatchNorm(Block, kind="batch_norm"):
    """(x - running_mean) / sqrt(running_var + eps) * weight + bias."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        scale = self.arrays["weight"] / np.sqrt(self.arrays["running_var"] + self.spec.eps)
        shift = self.arrays["bias"] - self.arrays["running_mean"] * scale
        return x * _over_channels(scale, x) + _over_channels(shift, x)


class LayerNorm(Block, kind="layer_norm"):
    """Zero mean and unit (biased) variance over the channels of each step, then scale and shift."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.spec.eps)
        scale = _over_channels(self.arrays["weight"], x)
        return centred / deviation * scale + _over_channels(self.arrays["bias"], x)


class RmsNorm(Block, kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the channels of a group."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Normalise (batch, channels) or (batch, channels, time)."""
        count, width = self.spec.groups, self.spec.channels
        groups = x.reshape(x.shape[0], count, width // count, *x.shape[2:])
        size = np.sqrt((groups**2).mean(axis=2, keepdims=True) + self.spec.eps)
        return (groups / size).reshape(x.shape) * _over_channels(self.arrays["weight"], x)
