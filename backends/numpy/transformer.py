"""Transformers: the block of attention and dense layers, a stack of it, and dropped paths."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DropPathSpec, TransformerBlockSpec, TransformerSpec

from .activation import Dropout
from .attention import Attention
from .block import Array, Block, maybe
from .dense import Dense


class DropPath(Block[DropPathSpec], kind="drop_path"):
    """The identity: this backend only evaluates."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Return x."""
        return x


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

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, channels, N) and the masks of the attention -> (batch, channels, N)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        if self.spec.norm_first:
            y = self.attention(self.norm1(x), stream, **inputs)
            x = x + self._passed("layer_scale1", y)
            return np.asarray(x + self._passed("layer_scale2", self._mlp(self.norm2(x))))
        x = self.norm1(x + self._passed("layer_scale1", self.attention(x, stream, **inputs)))
        return np.asarray(self.norm2(x + self._passed("layer_scale2", self._mlp(x))))

    def _mlp(self, x: Array) -> Array:
        """The dense layers."""
        hidden = self.fc1(x)
        if self.gate is None:
            hidden = self.activation(hidden)
        else:
            hidden = self.activation(self.gate(x)) * hidden
        return self.fc2(maybe(self.dropout, hidden))

    def _passed(self, scale: str, y: Array) -> Array:
        """What a residual path adds."""
        y = maybe(self.dropout, y)
        if scale in self.arrays:
            y = y * self.arrays[scale][:, None]
        return maybe(self.drop_path, y)


class Transformer(Block[TransformerSpec], kind="transformer"):
    """Blocks, one after the other, and a last norm."""

    blocks: dict[int, TransformerBlock]
    norm: Block[Any] | None

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, channels, N) and the masks of the attention -> (batch, channels, N)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        for block in self.blocks.values():
            x = block(x, stream, **inputs)
        return maybe(self.norm, x)
