"""Transformers: the block of attention and dense layers, a stack of it, and dropped paths."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import DropPathSpec, TransformerBlockSpec, TransformerSpec

from .attention import Attention
from .block import Block, Tensor, maybe
from .dense import Dense
from .types import reduced


class DropPath(Block[DropPathSpec], kind="drop_path"):
    """In training, set signals of the batch to zero and let the others grow."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make the generator of the choices, with the arguments of `Block`."""
        super().__init__(*arguments, **options)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x: Tensor, stream: Stream | None = None, training: bool | None = None) -> Tensor:
        """Drop signals of x if `training`."""
        if not training or self.spec.rate == 0.0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return x * keras.random.dropout(
            ops.ones(shape, dtype=x.dtype), self.spec.rate, seed=self.seed_generator
        )


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

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, N, channels) and the masks of the attention -> (batch, N, channels)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        if self.spec.norm_first:
            y = self.attention(self.norm1(x), stream, **inputs)
            x = x + self._passed("layer_scale1", y)
            return x + self._passed("layer_scale2", self._mlp(self.norm2(x)))
        x = self.norm1(x + self._passed("layer_scale1", self.attention(x, stream, **inputs)))
        return self.norm2(x + self._passed("layer_scale2", self._mlp(x)))

    def _mlp(self, x: Tensor) -> Tensor:
        """The dense layers."""
        hidden = self.fc1(x)
        if self.gate is None:
            hidden = self.activation(hidden)
        else:
            hidden = self.activation(self.gate(x)) * hidden
        return self.fc2(maybe(self.dropout, hidden))

    def _passed(self, scale: str, y: Tensor) -> Tensor:
        """What a residual path adds."""
        y = maybe(self.dropout, y)
        if scale in self.arrays:
            y = reduced(ops.multiply, y, self.arrays[scale])
        return maybe(self.drop_path, y)


class Transformer(Block[TransformerSpec], kind="transformer"):
    """Blocks, one after the other, and a last norm."""

    blocks: dict[int, TransformerBlock]
    norm: Block[Any] | None

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, N, channels) and the masks of the attention -> (batch, N, channels)."""
        inputs = {"embeddings": embeddings} if self.spec.embedding_specs else {}
        for block in self.blocks.values():
            x = block(x, stream, **inputs)
        return maybe(self.norm, x)
