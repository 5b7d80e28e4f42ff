"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import FlattenSpec, PadSpec

from .block import Block
from .conv import padded


class Flatten(Block[FlattenSpec], kind="flatten"):
    """A signal as one vector."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, length, channels) -> (batch, channels * length)."""
        batch, length, channels = x.shape
        ordered = x if self.spec.order == "time" else x.swapaxes(1, 2)
        return ordered.reshape(batch, length * channels)


class Pad(Block[PadSpec], kind="pad"):
    """Steps added or dropped at the two ends."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time + left + right, channels)."""
        left, right, length = self.spec.left, self.spec.right, x.shape[1]
        kept = x[:, max(0, -left) : length - max(0, -right)]
        return padded(kept, (max(0, left), max(0, right)), self.spec.mode)
