"""Layers that only move values: signals made vectors, and steps added or dropped at the ends."""

from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import FlattenSpec, PadSpec

from .block import Block
from .conv import padded


class Flatten(Block[FlattenSpec], kind="flatten"):
    """A signal as one vector."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, length) -> (batch, channels * length)."""
        return (x.transpose(1, 2) if self.spec.order == "time" else x).flatten(1)


class Pad(Block[PadSpec], kind="pad"):
    """Steps added or dropped at the two ends."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, channels, time + left + right)."""
        left, right, length = self.spec.left, self.spec.right, x.shape[2]
        kept = x[:, :, max(0, -left) : length - max(0, -right)]
        return padded(kept, (max(0, left), max(0, right)), self.spec.mode)
