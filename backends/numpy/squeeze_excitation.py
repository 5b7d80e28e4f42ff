"""Squeeze-and-excitation."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SqueezeExcitationSpec

from .activation import sigmoid
from .block import Array, Block
from .dense import Dense


class SqueezeExcitation(Block[SqueezeExcitationSpec], kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    reduce: Dense | None
    expand: Dense

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = x.mean(axis=2, keepdims=True)
        else:
            squeezed = self._mean_so_far(x, stream)
        if self.reduce is not None:
            squeezed = np.maximum(self.reduce(squeezed), 0.0)
        y = x * sigmoid(self.expand(squeezed))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Array, stream: Stream | None) -> Array:
        """Mean of the steps up to each step, earlier chunks included; summed in float64."""
        if stream is None:
            total = np.cumsum(x, axis=2, dtype=np.float64)
            return np.asarray(total / np.arange(1, x.shape[2] + 1), dtype=x.dtype)
        count, length = int(stream.read(self.path, "count")), x.shape[2]
        high, low = stream.read(self.path, "mean"), stream.read(self.path, "mean_low")
        before = (high.astype(np.float64) + low)[:, :, None]
        mean = before + np.cumsum(x - before, axis=2) / np.arange(count + 1, count + length + 1)
        if length:
            last = mean[:, :, -1]
            high = last.astype(x.dtype)
            low = (last - high).astype(x.dtype)
        stream.write(self.path, "count", np.int64(count + length))
        stream.write(self.path, "mean", high)
        stream.write(self.path, "mean_low", low)
        return np.asarray(mean, dtype=x.dtype)
