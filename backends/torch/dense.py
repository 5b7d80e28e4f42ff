"""Dense layers."""

from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DenseBlockSpec, DenseSpec

from .activation import Dropout
from .block import Block, maybe


class Dense(Block[DenseSpec], kind="dense"):
    """y = W x + b, of a vector or of the channels of every step."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in) -> (batch, out), or (batch, in, time) -> (batch, out, time)."""
        if x.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        return F.linear(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)


class DenseBlock(Block[DenseBlockSpec], kind="dense_block"):
    """Dense -> norm -> activation -> dropout."""

    dense: Dense
    norm: Block[Any] | None
    activation: Block[Any] | None
    dropout: Dropout | None

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, in, ...) -> (batch, out, ...)."""
        x = maybe(self.activation, maybe(self.norm, self.dense(x)))
        return maybe(self.dropout, x)
