"""The temporal block and the stack of them."""

from collections.abc import Sequence

import numpy as np

from tcnzoo.models.streaming import Stream

from .block import Array, Block


class TemporalBlock(Block, kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> tuple[Array, Array]:
        """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
        out = self.optional("norm1", self.parts["conv1"](x, stream))
        if embeddings:
            out = self._condition(out, embeddings)
        out = self.optional("dropout", self.parts["activation1"](out))
        out = self.optional("norm2", self.parts["conv2"](out, stream))
        out = self.optional("dropout", self.parts["activation2"](out))
        out = self.optional("se", out, stream)
        return self.parts["activation"](self.optional("residual", x, stream) + out), out

    def _condition(self, x: Array, embeddings: Sequence[Array]) -> Array:
        """Add the projected embeddings, or concatenate and project back."""
        shape = (*x.shape[:1], -1, x.shape[2])
        rows = [
            np.broadcast_to(e[:, :, None] if e.ndim == 2 else e, (x.shape[0], e.shape[1], shape[2]))
            for e in embeddings
        ]
        projected = self.parts["embedding1"](np.concatenate(rows, axis=1))
        if self.spec.embedding_mode == "add":
            return x + projected
        both: Array = self.parts["embedding2"](np.concatenate([x, projected], axis=1))
        return both


class Tcn(Block, kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, in, time) -> (batch, out_channels, time)."""
        skips: Array | None = None
        last = len(self.spec.channels) - 1
        for level in range(last + 1):
            x, out = self.parts[f"blocks.{level}"](x, stream, embeddings=embeddings)
            if self.spec.skip_connections and level < last:
                out = self.optional(f"skips.{level}", out, stream)
                skips = out if skips is None else skips + out
        if self.spec.skip_connections:
            x = self.parts["activation"](x if skips is None else skips + x)
        x = self.optional("output", x, stream)
        return self.optional("output_activation", x)
