"""The temporal block and the stack of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import TcnSpec, TemporalBlockSpec

from .activation import Dropout
from .block import Array, Block, maybe
from .conv import Conv1d
from .squeeze_excitation import SqueezeExcitation


class TemporalBlock(Block[TemporalBlockSpec], kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    conv1: Conv1d
    norm1: Block[Any] | None
    embedding1: Conv1d | None
    embedding2: Conv1d | None
    activation1: Block[Any]
    dropout: Dropout | None
    conv2: Conv1d
    norm2: Block[Any] | None
    activation2: Block[Any]
    se: SqueezeExcitation | None
    residual: Conv1d | None
    activation: Block[Any]

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> tuple[Array, Array]:
        """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        if self.embedding1 is not None:
            per_step = [
                e if e.ndim == 3 else np.repeat(e[:, :, None], x.shape[2], axis=2)
                for e in embeddings
            ]
            projected = self.embedding1(np.concatenate(per_step, axis=1))
            if self.embedding2 is None:
                out = out + projected
            else:
                out = self.embedding2(np.concatenate([out, projected], axis=1))
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        out = maybe(self.se, out, stream)
        return self.activation(maybe(self.residual, x, stream) + out), out


class Tcn(Block[TcnSpec], kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    blocks: dict[int, TemporalBlock]
    skips: dict[int, Conv1d]
    activation: Block[Any] | None
    output: Conv1d | None
    output_activation: Block[Any] | None

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, in, time) -> (batch, out_channels, time)."""
        total: Array | float = 0.0
        for level, block in self.blocks.items():
            x, out = block(x, stream, embeddings=embeddings)
            if self.spec.skip_connections and level < len(self.blocks) - 1:
                total = total + maybe(self.skips.get(level), out, stream)
        if self.activation is not None:
            x = self.activation(x + total)
        x = maybe(self.output, x, stream)
        return maybe(self.output_activation, x)
