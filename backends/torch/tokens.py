"""Learned tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import Block


class ClsToken(Block[ClsTokenSpec], kind="cls_token"):
    """A learned token before all others."""

    token: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, N) -> (batch, channels, N + 1), tokens contiguous in memory."""
        token = self.token.to(x.dtype).expand(x.shape[0], 1, -1)
        return torch.cat([token, x.transpose(1, 2)], dim=1).transpose(1, 2)


class MaskToken(Block[MaskTokenSpec], kind="mask_token"):
    """A learned token where the mask is 1."""

    token: Tensor

    def forward(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, channels, N) and the mask (batch, N) -> (batch, channels, N)."""
        (mask,) = embeddings
        token = self.token.to(x.dtype)
        return torch.where(mask.unsqueeze(2) == 1, token, x.transpose(1, 2)).transpose(1, 2)
