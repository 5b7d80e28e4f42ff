"""Squeeze-and-excitation."""

import mlx.core as mx

from tcnzoo.streaming import Stream

from .block import Block
from .functions import sigmoid
from .types import reduced, wide


class SqueezeExcitation(Block, kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = reduced(lambda x: x.mean(axis=1, keepdims=True), x)
        else:
            squeezed = self._mean_so_far(wide(x), stream).astype(x.dtype)
        if self.spec.reduction:
            squeezed = mx.maximum(self["reduce"](squeezed), 0.0)
        y = reduced(mx.multiply, x, sigmoid(self["expand"](squeezed)))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: mx.array, stream: Stream | None) -> mx.array:
        """Mean of the steps up to each step, earlier chunks included."""
        total, steps = mx.cumsum(x, axis=1), mx.arange(1, x.shape[1] + 1)[:, None]
        if stream is None:
            return total / steps
        count, before = stream.read(self._path, "count"), stream.read(self._path, "mean")
        mean = (wide(before[:, None]) * count + total) / (steps + count)
        stream.write(self._path, "count", count + x.shape[1])
        stream.write(self._path, "mean", mean[:, -1].astype(before.dtype))
        return mean
