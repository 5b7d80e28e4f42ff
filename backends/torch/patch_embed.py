"""Patches of each electrode as tokens."""

from functools import partial
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import PatchEmbedSpec

from .block import Block, maybe
from .conv import Conv1d
from .dense import Dense
from .norm import GroupNorm
from .types import convolved


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

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, E, A * patch) -> (batch, channels, E * A), tokens contiguous in memory."""
        tokens = x.unflatten(2, (-1, self.spec.patch)).flatten(1, 2)
        if self.spec.stem == "conv":
            # (batch, channels, tokens, steps): one image, so that the norms see all of it.
            y = tokens.unsqueeze(1)
            y = self.activation(self.norm1(_along_rows(y, self.conv1)))
            y = self.activation(self.norm2(_along_rows(y, self.conv2)))
            y = self.activation(self.norm3(_along_rows(y, self.conv3)))
            tokens = y.permute(0, 2, 3, 1).flatten(2)
        return maybe(self.proj, tokens.transpose(1, 2))


def _along_rows(x: Tensor, conv: Conv1d) -> Tensor:
    """A convolution over time of each row of (batch, channels, rows, time)."""
    spec = conv.spec
    left, right = spec.pads(x.shape[3])
    padding = min(left, right)
    x = F.pad(x, (left - padding, right - padding)) if left != right else x
    compute = partial(F.conv2d, stride=(1, spec.stride), padding=(0, padding))
    return convolved(compute, x, conv.weight.unsqueeze(2), conv.bias)
