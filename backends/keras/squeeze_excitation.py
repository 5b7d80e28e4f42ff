"""Squeeze-and-excitation."""

import keras
from keras import ops

from tcnzoo.streaming import Stream

from .block import Block, Tensor
from .types import reduced


class SqueezeExcitation(Block, kind="squeeze_excitation"):
    """x * sigmoid(expand(relu(reduce(mean over time)))), plus x if residual."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> the same shape."""
        if self.spec.pool == "global":
            squeezed = reduced(lambda x: ops.mean(x, axis=1, keepdims=True), x)
        else:
            squeezed = self._mean_so_far(x, stream)
        if "reduce" in self.parts:
            squeezed = ops.relu(self.parts["reduce"](squeezed))
        y = reduced(ops.multiply, x, ops.sigmoid(self.parts["expand"](squeezed)))
        return y + x if self.spec.residual else y

    def _mean_so_far(self, x: Tensor, stream: Stream | None) -> Tensor:
        """Mean of the steps up to each step, and of earlier chunks; sums are float32 at least."""
        length, dtype = ops.shape(x)[1], keras.backend.result_type(x.dtype, "float32")
        total = ops.cumsum(ops.cast(x, dtype), axis=1)
        steps = ops.cast(ops.arange(1, length + 1), dtype)[:, None]
        if stream is None:
            return ops.cast(total / steps, x.dtype)
        count = stream.read(self.place, "count")
        before = ops.cast(stream.read(self.place, "mean"), dtype)
        seen = ops.cast(count, dtype)
        mean = (before[:, None] * seen + total) / (steps + seen)
        stream.write(self.place, "count", count + length)
        stream.write(self.place, "mean", mean[:, -1])
        return ops.cast(mean, x.dtype)
