"""Dense layers."""

from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DenseBlockSpec, DenseSpec

from .activation import Dropout
from .block import Array, Block, maybe, per_channel


class Dense(Block[DenseSpec], kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in) -> (batch, out), or (batch, in, time) -> (batch, out, time)."""
        y = np.moveaxis(np.moveaxis(x, 1, -1) @ self.arrays["weight"].T, -1, 1)
        return y + per_channel(self.arrays["bias"], x) if self.spec.bias else y


class DenseBlock(Block[DenseBlockSpec], kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    dense: Dense
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Dropout | None

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, ...) -> (batch, out, ...)."""
        x = maybe(self.norm, self.dense(x))
        return maybe(self.dropout, maybe(self.activation, x))
