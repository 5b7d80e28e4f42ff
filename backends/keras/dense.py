"""Dense layers."""

from keras import ops

from tcnzoo.streaming import Stream

from .block import Block, Tensor


class Dense(Block, kind="dense"):
    """y = x W + b, of a vector or of the channels of every step."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        y = ops.matmul(x, self.arrays["weight"])
        return y + self.arrays["bias"] if self.spec.bias else y


class DenseBlock(Block, kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, ..., in) -> (batch, ..., out)."""
        for part in self.parts.values():
            x = part(x)
        return x
