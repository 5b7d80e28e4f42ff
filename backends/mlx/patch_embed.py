"""Patches of each electrode as tokens."""

from typing import Any

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import PatchEmbedSpec

from .block import Block, maybe
from .conv import Conv1d
from .dense import Dense
from .norm import GroupNorm


class PatchEmbed(Block[PatchEmbedSpec], kind="patch_embed"):
    """Three convolutions of each patch with group norms over all of them, or one dense map."""

    conv1: Conv1d
    norm1: GroupNorm
    conv2: Conv1d
    norm2: GroupNorm
    conv3: Conv1d
    norm3: GroupNorm
    activation: Block[Any]
    proj: Dense | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, A * patch, E) -> (batch, E * A, channels)."""
        batch = x.shape[0]
        tokens = x.swapaxes(1, 2).reshape(batch, -1, self.spec.patch)
        if self.spec.stem == "conv":
            steps = tokens.reshape(-1, self.spec.patch, 1)
            steps = self._normed(self.conv1(steps), self.norm1, batch)
            steps = self._normed(self.conv2(steps), self.norm2, batch)
            steps = self._normed(self.conv3(steps), self.norm3, batch)
            tokens = steps.reshape(batch, tokens.shape[1], -1)
        return maybe(self.proj, tokens)

    def _normed(self, steps: mx.array, norm: GroupNorm, batch: int) -> mx.array:
        """(batch * tokens, steps, channels) normalised over all tokens of a signal, and GELU."""
        whole = steps.reshape(batch, -1, steps.shape[2])
        return self.activation(norm(whole)).reshape(steps.shape)
