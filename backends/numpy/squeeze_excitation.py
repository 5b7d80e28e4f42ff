"""Squeeze-and-excitation."""

import numpy as np

from tcnzoo.streaming import Stream

from .activation import sigmoid
from .block import Array, Block


class SqueezeExcitation(Block, kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = x.mean(axis=2, keepdims=True)
        else:
            squeezed = self._mean_so_far(x, stream)
        if "reduce" in self.parts:
            squeezed = np.maximum(self.parts["reduce"](squeezed), 0.0)
        y = x * sigmoid(self.parts["expand"](squeezed))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Array, stream: Stream | None) -> Array:
        """Mean of the steps up to each step, earlier chunks included."""
        steps = np.arange(1, x.shape[2] + 1, dtype=x.dtype)
        if stream is None:
            return np.cumsum(x, axis=2) / steps
        count = int(stream.read(self.path, "count"))
        before = np.asarray(stream.read(self.path, "mean"))
        total = before[:, :, None] * x.dtype.type(count) + np.cumsum(x, axis=2)
        mean = total / (steps + x.dtype.type(count))
        stream.write(self.path, "count", np.int32(count + x.shape[2]))
        stream.write(self.path, "mean", mean[:, :, -1] if x.shape[2] else before)
        return mean
