"""Dense layers."""

from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DenseBlockSpec, DenseSpec

from .block import Block, Tensor, maybe
from .types import multiplied


class Dense(Block[DenseSpec], kind="dense"):
    """y = x W + b, of a vector or of the channels of every step."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        return multiplied(affine, x, self.arrays["weight"], self.arrays.get("bias"))


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W + b of the last axis: (..., in) with (in, out) and (out,) -> (..., out)."""
    y = ops.matmul(x, weight)
    return y if bias is None else y + bias


class DenseBlock(Block[DenseBlockSpec], kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    dense: Dense
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Block[Any] | None

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        x = maybe(self.norm, self.dense(x))
        return maybe(self.dropout, maybe(self.activation, x))
