"""The temporal block and the stack of them."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from tcnzoo.errors import InputError
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import TcnSpec, TemporalBlockSpec

from .block import Block, maybe
from .conv import Conv1d, conv_norm
from .squeeze_excitation import SqueezeExcitation
from .types import reduced


class TemporalBlock(Block[TemporalBlockSpec], kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    conv1: Conv1d
    norm1: Block[Any] | None
    embedding1: Conv1d | None
    embedding2: Conv1d | None  # of embedding_mode `concat`
    activation1: Block[Any]
    dropout: Block[Any] | None  # used twice
    conv2: Conv1d
    norm2: Block[Any] | None
    activation2: Block[Any]
    se: SqueezeExcitation | None
    residual: Conv1d | None
    activation: Block[Any]

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> tuple[mx.array, mx.array]:
        """(batch, time, in) -> (activation(residual + out), out), both (batch, time, channels)."""
        wanted = len(self.spec.embeddings)
        if len(embeddings) != wanted:
            raise InputError(f"the model takes {wanted} embeddings, but {len(embeddings)} came")
        out = conv_norm(self.conv1, self.norm1, x, stream)
        if self.embedding1 is not None:
            out = self._conditioned(out, self.embedding1, embeddings)
        out = maybe(self.dropout, self.activation1(out))
        out = conv_norm(self.conv2, self.norm2, out, stream)
        out = maybe(self.dropout, self.activation2(out))
        out = maybe(self.se, out, stream)
        return self.activation(maybe(self.residual, x, stream) + out), out

    def _conditioned(
        self, x: mx.array, projection: Conv1d, embeddings: Sequence[mx.array]
    ) -> mx.array:
        """Add the projected embeddings, or concatenate and project back."""
        steps = x.shape[:2]

        def spread(e: mx.array) -> mx.array:
            return mx.broadcast_to(e[:, None] if e.ndim == 2 else e, (*steps, e.shape[-1]))

        # The gradient is a sum over time.
        projected = projection(mx.concatenate([reduced(spread, e) for e in embeddings], axis=-1))
        if self.embedding2 is None:
            return x + projected
        return self.embedding2(mx.concatenate([x, projected], axis=-1))


class Tcn(Block[TcnSpec], kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    blocks: list[TemporalBlock]
    skips: list[Conv1d | None] | None  # one for each block whose width is not the last one's
    activation: Block[Any] | None  # of skip connections
    output: Conv1d | None
    output_activation: Block[Any] | None

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, time, in) -> (batch, time, out_channels)."""
        total: mx.array | None = None
        projections = self.skips or []
        for level, block in enumerate(self.blocks):
            x, out = block(x, stream, embeddings=embeddings)
            if self.spec.skip_connections and block is not self.blocks[-1]:
                out = maybe(projections[level], out, stream) if level < len(projections) else out
                total = out if total is None else total + out
        if self.spec.skip_connections:
            x = maybe(self.activation, x if total is None else total + x)
        return maybe(self.output_activation, maybe(self.output, x, stream))
