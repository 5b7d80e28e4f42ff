"""The temporal block and the stack of them."""

from collections.abc import Sequence

import mlx.core as mx

from tcnzoo.errors import InputError
from tcnzoo.models.streaming import Stream

from .block import Block
from .types import reduced


class TemporalBlock(Block, kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> tuple[mx.array, mx.array]:
        """(batch, time, in) -> (activation(residual + out), out), both (batch, time, channels)."""
        out = self._optional("norm1", self["conv1"](x, stream))
        out = self._condition(out, embeddings)
        out = self._optional("dropout", self["activation1"](out))
        out = self._optional("norm2", self["conv2"](out, stream))
        out = self._optional("dropout", self["activation2"](out))
        out = self._optional("se", out, stream)
        return self["activation"](self._optional("residual", x, stream) + out), out

    def _condition(self, x: mx.array, embeddings: Sequence[mx.array]) -> mx.array:
        """Add the projected embeddings, or concatenate and project back."""
        wanted = len(self.spec.embeddings)
        if len(embeddings) != wanted:
            raise InputError(f"the model takes {wanted} embeddings, but {len(embeddings)} came")
        if not wanted:
            return x
        steps = x.shape[:2]

        def spread(e: mx.array) -> mx.array:
            return mx.broadcast_to(e[:, None] if e.ndim == 2 else e, (*steps, e.shape[-1]))

        # The gradient is a sum over time.
        rows = [reduced(spread, e) for e in embeddings]
        projected = self["embedding1"](mx.concatenate(rows, axis=-1))
        if self.spec.embedding_mode == "add":
            return x + projected
        return self["embedding2"](mx.concatenate([x, projected], axis=-1))


class Tcn(Block, kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, time, in) -> (batch, time, out_channels)."""
        skips: mx.array | None = None
        last = len(self.spec.channels) - 1
        for level in range(last + 1):
            x, out = self["blocks"][level](x, stream, embeddings=embeddings)
            if self.spec.skip_connections and level < last:
                out = self._optional(f"skips.{level}", out, stream)
                skips = out if skips is None else skips + out
        if self.spec.skip_connections:
            x = self["activation"](x if skips is None else skips + x)
        x = self._optional("output", x, stream)
        return self._optional("output_activation", x)
