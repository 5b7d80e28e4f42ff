"""Dense layers."""

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


class Dense(Block, kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in) -> (batch, out), or (batch, in, time) -> (batch, out, time)."""
        y = np.moveaxis(np.moveaxis(x, 1, -1) @ self.arrays["weight"].T, -1, 1)
        if not self.spec.bias:
            return y
        return y + self.arrays["bias"].reshape((-1,) + (1,) * (x.ndim - 2))


class DenseBlock(Block, kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, in, ...) -> (batch, out, ...)."""
        x = self.parts["dense"](x)
        for name in ("norm", "activation", "dropout"):
            x = self.optional(name, x)
        return x
