"""Patches of each electrode as tokens."""

from typing import Any

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import PatchEmbedSpec

from .block import Array, Block, maybe
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

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, E, A * patch) -> (batch, channels, E * A)."""
        tokens = x.reshape(len(x), -1, self.spec.patch)
        if self.spec.stem == "conv":
            steps = tokens.reshape(-1, 1, self.spec.patch)
            steps = self._normed(self.conv1(steps), self.norm1, len(x))
            steps = self._normed(self.conv2(steps), self.norm2, len(x))
            steps = self._normed(self.conv3(steps), self.norm3, len(x))
            tokens = steps.swapaxes(1, 2).reshape(len(x), tokens.shape[1], -1)
        return maybe(self.proj, tokens.swapaxes(1, 2))

    def _normed(self, steps: Array, norm: GroupNorm, batch: int) -> Array:
        """(batch * tokens, channels, steps) normalised over all tokens of a signal, and GELU."""
        whole = steps.reshape(batch, -1, *steps.shape[1:]).swapaxes(1, 2)
        return self.activation(norm(whole)).swapaxes(1, 2).reshape(steps.shape)
