"""Dense layers."""

from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DenseBlockSpec, DenseSpec

from .block import Block, maybe
from .kernels.taps import affine
from .types import multiplied


class Dense(Block[DenseSpec], kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, in) -> (batch, out), or (batch, time, in) -> (batch, time, out)."""
        return multiplied(affine, x, self["weight"], self.get("bias"))


class DenseBlock(Block[DenseBlockSpec], kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    dense: Dense
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Block[Any] | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, ..., in) -> (batch, ..., out)."""
        return maybe(self.dropout, maybe(self.activation, maybe(self.norm, self.dense(x))))
