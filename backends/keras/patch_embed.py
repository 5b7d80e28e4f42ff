"""Patches of each electrode as tokens."""

from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import PatchEmbedSpec

from .block import Block, Tensor, maybe
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

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, A * patch, E) -> (batch, E * A, channels)."""
        batch, length, electrodes = ops.shape(x)
        count = electrodes * (length // self.spec.patch)
        if self.spec.stem == "linear":
            patches = ops.reshape(ops.swapaxes(x, 1, 2), (batch, count, self.spec.patch))
            return maybe(self.proj, patches)
        steps = ops.reshape(ops.swapaxes(x, 1, 2), (-1, self.spec.patch, 1))
        steps = self._normed(self.conv1(steps), self.norm1, batch)
        steps = self._normed(self.conv2(steps), self.norm2, batch)
        steps = self._normed(self.conv3(steps), self.norm3, batch)
        return maybe(self.proj, ops.reshape(steps, (batch, count, self.spec.stem_width)))

    def _normed(self, steps: Tensor, norm: GroupNorm, batch: Any) -> Tensor:
        """(batch * tokens, steps, channels) normalised over all tokens of a signal, and GELU."""
        length, channels = self.spec.stem_steps, self.spec.out_channels
        whole = ops.reshape(steps, (batch, -1, channels))
        return ops.reshape(self.activation(norm(whole)), (-1, length, channels))
