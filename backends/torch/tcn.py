"""The temporal block and the stack of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tcnzoo.streaming import Stream

from .block import Block


class TemporalBlock(Block, kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
        out = self.optional("norm1", self.conv1(x, stream))
        if embeddings:
            out = self._condition(out, embeddings)
        out = self.optional("dropout", self.activation1(out))
        out = self.optional("norm2", self.conv2(out, stream))
        out = self.optional("dropout", self.activation2(out))
        out = self.optional("se", out, stream)
        return self.activation(self.optional("residual", x, stream) + out), out

    def _condition(self, x: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Add the projected embeddings, or concatenate and project back."""
        rows = [e.unsqueeze(2).expand(-1, -1, x.shape[2]) if e.dim() == 2 else e for e in embeddings]
        projected: Tensor = self.embedding1(torch.cat(rows, dim=1))
        if self.spec.embedding_mode == "add":
            return x + projected
        both: Tensor = self.embedding2(torch.cat([x, projected], dim=1))
        return both


class Tcn(Block, kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """(batch, in, time) -> (batch, out_channels, time)."""
        skips: Tensor | None = None
        last = len(self.spec.channels) - 1
        for level, block in enumerate(self.blocks.values()):
            x, out = block(x, stream, embeddings)
            if self.spec.skip_connections and level < last:
                out = self.optional(f"skips.{level}", out, stream)
                skips = out if skips is None else skips + out
        if self.spec.skip_connections:
            x = self.activation(x if skips is None else skips + x)
        x = self.optional("output", x, stream)
        return self.optional("output_activation", x)
