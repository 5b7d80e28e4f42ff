"""Learned tokens."""

from collections.abc import Sequence

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import Array, Block


class ClsToken(Block[ClsTokenSpec], kind="cls_token"):
    """A learned token before all others."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, N) -> (batch, channels, N + 1)."""
        token = np.broadcast_to(self.arrays["token"][:, None], (*x.shape[:2], 1))
        return np.concatenate([token, x], axis=2)


class MaskToken(Block[MaskTokenSpec], kind="mask_token"):
    """A learned token where the mask is 1."""

    def forward(
        self, x: Array, stream: Stream | None = None, embeddings: Sequence[Array] = ()
    ) -> Array:
        """(batch, channels, N) and the mask (batch, N) -> (batch, channels, N)."""
        (mask,) = embeddings
        return np.where(mask[:, None] == 1, self.arrays["token"][:, None], x)
