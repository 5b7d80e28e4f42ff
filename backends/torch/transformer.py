"""Transformers: the block of attention and dense layers, a stack of it, and dropped paths."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DropPathSpec, TransformerBlockSpec, TransformerSpec

from .activation import Dropout
from .attention import Attention
from .block import Block, maybe
from .dense import Dense


class DropPath(Block[DropPathSpec], kind="drop_path"):
    """In training, set signals of the batch to zero and let the others grow."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training:
            return x
        kept = 1.0 - self.spec.rate
        chosen = torch.empty((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * (chosen.bernoulli_(kept) / kept)


class TransformerBlock(Block[TransformerBlockSpec], kind="transformer_block"):
    """Attention and dense layers, each beside a residual path."""

    norm1: Block[Any]
    attention: Attention
    norm2: Block[Any]
    fc1: Dense
    gate: Dense | None
    activation: Block[Any]
    fc2: Dense
    dropout: Dropout | None
    drop_path: DropPath | None
    layer_scale1: Tensor | None
    layer_scale2: Tensor | None

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """(batch, channels, N) and the masks of the attention -> (batch, channels, N)."""
        x = x.transpose(1, 2).contiguous().transpose(1, 2)  # as the layers give it
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        if self.spec.norm_first:
            x = self._sum(x, self.layer_scale1, self.attention(self.norm1(x), stream, **inputs))
            return self._sum(x, self.layer_scale2, self._mlp(self.norm2(x)))
        x = self.norm1(self._sum(x, self.layer_scale1, self.attention(x, stream, **inputs)))
        y: Tensor = self.norm2(self._sum(x, self.layer_scale2, self._mlp(x)))
        return y

    def _mlp(self, x: Tensor) -> Tensor:
        """The dense layers."""
        hidden: Tensor = self.fc1(x)
        if self.gate is None:
            hidden = self.activation(hidden)
        else:
            hidden = self.activation(self.gate(x)) * hidden
        y: Tensor = self.fc2(maybe(self.dropout, hidden))
        return y

    def _sum(self, x: Tensor, scale: Tensor | None, y: Tensor) -> Tensor:
        """X and what a residual path adds."""
        y = maybe(self.dropout, y)
        if scale is not None and self.drop_path is None:
            return torch.addcmul(x, y, scale.to(x.dtype).unsqueeze(1))
        if scale is not None:
            y = y * scale.to(x.dtype).unsqueeze(1)
        return x + maybe(self.drop_path, y)


class Transformer(Block[TransformerSpec], kind="transformer"):
    """Blocks, one after the other, and a last norm."""

    blocks: nn.ModuleDict
    norm: Block[Any] | None

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """(batch, channels, N) and the masks of the attention -> (batch, channels, N)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        for block in self.blocks.values():
            x = block(x, stream, **inputs)
        return maybe(self.norm, x)
