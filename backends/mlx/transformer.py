"""Transformers: the block of attention and dense layers, a stack of it, and dropped paths."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DropPathSpec, TransformerBlockSpec, TransformerSpec

from .attention import Attention
from .block import Block, maybe
from .dense import Dense
from .types import reduced


class DropPath(Block[DropPathSpec], kind="drop_path"):
    """In training, set signals of the batch to zero and let the others grow."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Any shape -> the same shape."""
        if not self.training:
            return x
        kept = 1.0 - self.spec.rate
        chosen = mx.random.bernoulli(kept, (x.shape[0],) + (1,) * (x.ndim - 1))
        return chosen * x * (1.0 / kept)


class TransformerBlock(Block[TransformerBlockSpec], kind="transformer_block"):
    """Attention and dense layers, each beside a residual path."""

    norm1: Block[Any]
    attention: Attention
    norm2: Block[Any]
    fc1: Dense
    gate: Dense | None
    activation: Block[Any]
    fc2: Dense
    dropout: Block[Any] | None
    drop_path: DropPath | None

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, N, channels) and the masks of the attention -> (batch, N, channels)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        if self.spec.norm_first:
            y = self.attention(self.norm1(x), stream, **inputs)
            x = x + self._passed("layer_scale1", y)
            return x + self._passed("layer_scale2", self._mlp(self.norm2(x)))
        x = self.norm1(x + self._passed("layer_scale1", self.attention(x, stream, **inputs)))
        z: mx.array = self.norm2(x + self._passed("layer_scale2", self._mlp(x)))
        return z

    def _mlp(self, x: mx.array) -> mx.array:
        """The dense layers."""
        hidden: mx.array = self.fc1(x)
        if self.gate is None:
            hidden = self.activation(hidden)
        else:
            hidden = self.activation(self.gate(x)) * hidden
        y: mx.array = self.fc2(maybe(self.dropout, hidden))
        return y

    def _passed(self, scale: str, y: mx.array) -> mx.array:
        """What a residual path adds."""
        y = maybe(self.dropout, y)
        if scale in self:
            y = reduced(mx.multiply, y, self[scale])
        return maybe(self.drop_path, y)


class Transformer(Block[TransformerSpec], kind="transformer"):
    """Blocks, one after the other, and a last norm."""

    blocks: list[TransformerBlock]
    norm: Block[Any] | None

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, N, channels) and the masks of the attention -> (batch, N, channels)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        for block in self.blocks:
            x = block(x, stream, **inputs)
        return maybe(self.norm, x)
