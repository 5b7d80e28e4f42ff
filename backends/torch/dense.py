"""Dense layers."""

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream

from .block import Block


class Dense(Block, kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    weight: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in) -> (batch, out), or (batch, in, time) -> (batch, out, time)."""
        bias = self.bias if self.spec.bias else None
        if x.dim() == 2:
            return F.linear(x, self.weight, bias)
        return F.linear(x.transpose(1, 2), self.weight, bias).transpose(1, 2)


class DenseBlock(Block, kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, ...) -> (batch, out, ...)."""
        x = self.dense(x)
        for name in ("norm", "activation", "dropout"):
            x = self.optional(name, x)
        return x
