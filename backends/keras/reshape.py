"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import FlattenSpec, PadSpec

from .block import Block, Tensor
from .conv import padded


class Flatten(Block[FlattenSpec], kind="flatten"):
    """A signal as one vector."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, length, channels) -> (batch, channels * length)."""
        width = self.spec.length * x.shape[2]
        return ops.reshape(x if self.spec.order == "time" else ops.swapaxes(x, 1, 2), (-1, width))


class Pad(Block[PadSpec], kind="pad"):
    """Steps added or dropped at the two ends."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time + left + right, channels)."""
        left, right, length = self.spec.left, self.spec.right, ops.shape(x)[1]
        kept = x[:, max(0, -left) : length - max(0, -right)]
        return padded(kept, (max(0, left), max(0, right)), self.spec.mode)
