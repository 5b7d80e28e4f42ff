"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import FlattenSpec, PadSpec

from .block import Array, Block
from .conv import padded


class Flatten(Block[FlattenSpec], kind="flatten"):
    """A signal as one vector."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, length) -> (batch, channels * length)."""
        if self.spec.order == "time":
            x = x.swapaxes(1, 2)
        return x.reshape(x.shape[0], x.shape[1] * x.shape[2])


class Pad(Block[PadSpec], kind="pad"):
    """Steps added or dropped at the two ends."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, channels, time + left + right)."""
        left, right, length = self.spec.left, self.spec.right, x.shape[2]
        kept = x[:, :, max(0, -left) : length - max(0, -right)]
        return padded(kept, (max(0, left), max(0, right)), self.spec.mode)
