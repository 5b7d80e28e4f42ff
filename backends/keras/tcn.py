"""The temporal block and the stack of them."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import TcnSpec, TemporalBlockSpec

from .block import Block, StaticShape, Tensor, maybe
from .conv import Conv1d
from .squeeze_excitation import SqueezeExcitation
from .types import reduced


class TemporalBlock(Block[TemporalBlockSpec], kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    conv1: Conv1d
    norm1: Block[Any] | None
    embedding1: Conv1d
    embedding2: Conv1d
    activation1: Block[Any]
    dropout: Block[Any] | None
    conv2: Conv1d
    norm2: Block[Any] | None
    activation2: Block[Any]
    se: SqueezeExcitation | None
    residual: Conv1d | None
    activation: Block[Any]

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """(batch, time, in) -> (activation(residual + out), out), both (batch, time, channels)."""
        out = maybe(self.norm1, self.conv1(x, stream))
        if embeddings:
            out = self._condition(out, embeddings)
        out = maybe(self.dropout, self.activation1(out))
        out = maybe(self.norm2, self.conv2(out, stream))
        out = maybe(self.dropout, self.activation2(out))
        out = maybe(self.se, out, stream)
        return self.activation(maybe(self.residual, x, stream) + out), out

    def compute_output_shape(self, x_shape: StaticShape) -> Any:
        """The two outputs have one shape."""
        shape = super().compute_output_shape(x_shape)
        return shape, shape

    def _condition(self, x: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Add the projected embeddings, or concatenate and project back."""
        batch, length, _ = ops.shape(x)

        def spread(e: Tensor) -> Tensor:
            return ops.broadcast_to(e[:, None], (batch, length, e.shape[-1]))

        # The gradient is a sum over time.
        signals = [reduced(spread, e) if len(e.shape) == 2 else e for e in embeddings]
        projected = self.embedding1(ops.concatenate(signals, axis=-1))
        if self.spec.embedding_mode == "add":
            return x + projected
        return self.embedding2(ops.concatenate([x, projected], axis=-1))


class Tcn(Block[TcnSpec], kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    blocks: dict[int, TemporalBlock]
    skips: dict[int, Conv1d]
    activation: Block[Any]
    output: Conv1d | None
    output_activation: Block[Any] | None

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, time, in) -> (batch, time, out_channels)."""
        skips: Tensor = None
        inputs = {"embeddings": embeddings} if self.spec.embeddings else {}
        last = len(self.spec.channels) - 1
        for level, block in self.blocks.items():
            x, out = block(x, stream, **inputs)
            if self.spec.skip_connections and level < last:
                out = maybe(self.skips.get(level), out, stream)
                skips = out if skips is None else skips + out
        if self.spec.skip_connections:
            x = self.activation(x if skips is None else skips + x)
        return maybe(self.output_activation, maybe(self.output, x, stream))
