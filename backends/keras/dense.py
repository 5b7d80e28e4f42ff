"""Dense layers."""

from keras import ops

from tcnzoo.models.streaming import Stream

from .block import Block, Tensor
from .types import multiplied


class Dense(Block, kind="dense"):
    """y = x W + b, of a vector or of the channels of every step."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        return multiplied(affine, x, self.arrays["weight"], self.arrays.get("bias"))


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W + b of the last axis: (..., in) with (in, out) and (out,) -> (..., out)."""
    y = ops.matmul(x, weight)
    return y if bias is None else y + bias


class DenseBlock(Block, kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        for part in self.parts.values():
            x = part(x)
        return x
