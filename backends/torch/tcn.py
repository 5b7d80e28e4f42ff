"""The temporal block and the stack of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ActivationSpec, TcnSpec, TemporalBlockSpec

from .activation import Dropout
from .block import Block, maybe
from .conv import Conv1d, fused
from .kernels import one_step, packed
from .kernels.engine import takes_one_step
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
    activation: Block[ActivationSpec]

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
        if embeddings:
            out = fused(self.conv1, self.norm1, None, x, stream)
            out = self.activation1(self._condition(out, embeddings))
        else:
            out = fused(self.conv1, self.norm1, self.activation1, x, stream)
        out = maybe(self.dropout, out)
        out = fused(self.conv2, self.norm2, self.activation2, out, stream)
        out = maybe(self.dropout, out)
        out = maybe(self.se, out, stream)
        return activate_sum(self.activation, out + maybe(self.residual, x, stream)), out

    def _condition(self, x: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Add the projected embeddings, or concatenate and project back."""
        per_step = [
            e.unsqueeze(2).expand(-1, -1, x.shape[2]) if e.dim() == 2 else e for e in embeddings
        ]
        projected = maybe(self.embedding1, torch.cat(per_step, dim=1))
        if self.spec.embedding_mode == "add":
            return x + projected
        return maybe(self.embedding2, torch.cat([x, projected], dim=1))


class Tcn(Block[TcnSpec], kind="tcn"):
    """Temporal blocks, skip connections, output projection and activation."""

    blocks: nn.ModuleDict
    skips: nn.ModuleDict | None
    activation: Block[ActivationSpec] | None
    output: Conv1d | None
    output_activation: Block[Any] | None

    def forward(
        self,
        x: Tensor,
        stream: Stream | None = None,
        embeddings: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """(batch, in, time) -> (batch, out_channels, time)."""
        inner: list[Tensor] = []
        if stream is not None and takes_one_step(self, x, stream):
            x, inner = one_step.run(self, x, stream)
        else:
            for block in self.blocks.values():
                x, out = block(x, stream, embeddings)
                if self.activation is not None:
                    inner.append(out)
        if self.activation is not None:  # skip connections
            x = self._sum_of_skips(self.activation, x, inner)
        return maybe(self.output_activation, maybe(self.output, x, stream))

    def _sum_of_skips(
        self, activation: Block[ActivationSpec], x: Tensor, inner: list[Tensor]
    ) -> Tensor:
        """Activation of all inner outputs but the last block's, plus that block's output."""
        if len(inner) == 1:
            return maybe(activation, x)
        skips: dict[str, Any] = {} if self.skips is None else dict(self.skips.items())
        parts = [maybe(skips.get(str(level)), out) for level, out in enumerate(inner[:-1])]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return activate_sum(activation, total + x)


def activate_sum(activation: Block[ActivationSpec], total: Tensor) -> Tensor:
    """Apply an activation to a fresh sum that nobody else holds: a ReLU then works in place."""
    if activation.spec.name == "relu" and not packed.hooked(activation):
        return total.relu_()
    return maybe(activation, total)
