"""The temporal block and the stack of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream

from .activation import activate_sum
from .block import Block
from .conv import fused
from .kernels import one_step


class TemporalBlock(Block, kind="temporal_block"):
    """Two dilated convolutions with norms, activations, embeddings and SE, and a residual."""

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
        if embeddings:
            out = fused(self.conv1, self.part("norm1"), None, x, stream)
            out = self.activation1(self._condition(out, embeddings))
        else:
            out = fused(self.conv1, self.part("norm1"), self.activation1, x, stream)
        out = self.optional("dropout", out)
        out = fused(self.conv2, self.part("norm2"), self.activation2, out, stream)
        out = self.optional("dropout", out)
        out = self.optional("se", out, stream)
        total = self.optional("residual", x, stream) + out
        return activate_sum(self.activation, total), out

    def _condition(self, x: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Add the projected embeddings, or concatenate and project back."""
        rows = [
            e.unsqueeze(2).expand(-1, -1, x.shape[2]) if e.dim() == 2 else e for e in embeddings
        ]
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
        quick = None
        if stream is not None and one_step.eligible(self, x):
            quick = one_step.one_step(self, x, stream)
        x, inner = quick or self._blocks(x, stream, embeddings)
        if self.spec.skip_connections:
            x = self._sum_of_skips(x, inner)
        x = self.optional("output", x, stream)
        return self.optional("output_activation", x)

    def _blocks(
        self, x: Tensor, stream: Stream | None, embeddings: Sequence[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks; (last block's output, inner outputs of all blocks)."""
        inner = []
        for block in self.blocks.values():
            x, out = block(x, stream, embeddings)
            inner.append(out)
        return x, inner

    def _sum_of_skips(self, x: Tensor, inner: list[Tensor]) -> Tensor:
        """Activation of all inner outputs but the last block's, plus that block's output."""
        if len(inner) == 1:
            y: Tensor = self.activation(x)
            return y
        parts = [self.optional(f"skips.{level}", out) for level, out in enumerate(inner[:-1])]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return activate_sum(self.activation, total + x)
