"""The temporal block and the stack of them."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream

from .block import Block, StaticShape, Tensor
from .types import reduced


class TemporalBlock(Block, kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """(batch, time, in) -> (activation(residual + out), out), both (batch, time, channels)."""
        out = self.optional("norm1", self.parts["conv1"](x, stream=stream))
        if embeddings:
            out = self._condition(out, embeddings)
        out = self.optional("dropout", self.parts["activation1"](out))
        out = self.optional("norm2", self.parts["conv2"](out, stream=stream))
        out = self.optional("dropout", self.parts["activation2"](out))
        out = self.optional("se", out, stream)
        return self.parts["activation"](self.optional("residual", x, stream) + out), out

    def compute_output_shape(self, x_shape: StaticShape) -> Any:
        """Twice the same."""
        shape = super().compute_output_shape(x_shape)
        return shape, shape

    def _condition(self, x: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Add the projected embeddings, or concatenate and project back."""
        batch, length, _ = ops.shape(x)

        def spread(e: Tensor) -> Tensor:
            return ops.broadcast_to(e[:, None], (batch, length, e.shape[-1]))

        # The gradient is a sum over time.
        rows = [reduced(spread, e) if len(e.shape) == 2 else e for e in embeddings]
        projected = self.parts["embedding1"](ops.concatenate(rows, axis=-1))
        if self.spec.embedding_mode == "add":
            return x + projected
        return self.parts["embedding2"](ops.concatenate([x, projected], axis=-1))


class Tcn(Block, kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, time, in) -> (batch, time, out_channels)."""
        skips: Tensor = None
        inputs = {"embeddings": embeddings} if self.spec.embeddings else {}
        last = len(self.spec.channels) - 1
        for level in range(last + 1):
            x, out = self.parts[f"blocks.{level}"](x, stream=stream, **inputs)
            if self.spec.skip_connections and level < last:
                out = self.optional(f"skips.{level}", out, stream)
                skips = out if skips is None else skips + out
        if self.spec.skip_connections:
            x = self.parts["activation"](x if skips is None else skips + x)
        x = self.optional("output", x, stream)
        return self.optional("output_activation", x)
