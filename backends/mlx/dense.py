"""Dense layers."""

import mlx.core as mx

from tcnzoo.models.streaming import Stream

from .block import Block
from .kernels.taps import affine
from .types import multiplied


class Dense(Block, kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, in) -> (batch, out), or (batch, time, in) -> (batch, time, out)."""
        return multiplied(affine, x, self["weight"], self.get("bias"))


class DenseBlock(Block, kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, ..., in) -> (batch, ..., out)."""
        x = self["dense"](x)
        for name in ("norm", "activation", "dropout"):
            x = self._optional(name, x)
        return x
