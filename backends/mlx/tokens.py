"""Learned tokens."""

from collections.abc import Sequence

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import Block
from .types import reduced


class ClsToken(Block[ClsTokenSpec], kind="cls_token"):
    """A learned token before all others."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, N, channels) -> (batch, N + 1, channels)."""
        return reduced(_led, x, self["token"])


def _led(x: mx.array, token: mx.array) -> mx.array:
    """Tokens behind one of their width; its gradient is a sum over the batch."""
    first = mx.broadcast_to(token, (x.shape[0], 1, x.shape[2]))
    return mx.concatenate([first, x], axis=1)


class MaskToken(Block[MaskTokenSpec], kind="mask_token"):
    """A learned token where the mask is 1."""

    def forward(
        self, x: mx.array, stream: Stream | None = None, embeddings: Sequence[mx.array] = ()
    ) -> mx.array:
        """(batch, N, channels) and the mask (batch, N) -> (batch, N, channels)."""
        (mask,) = embeddings
        return reduced(_replaced, x, self["token"], mask)


def _replaced(x: mx.array, token: mx.array, mask: mx.array) -> mx.array:
    """Tokens with another one where the mask is 1; its gradient is a sum over all of those."""
    return mx.where(mask[:, :, None] == 1, token, x)
