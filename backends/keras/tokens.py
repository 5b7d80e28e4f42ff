"""Learned tokens."""

from collections.abc import Sequence

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import ClsTokenSpec, MaskTokenSpec

from .block import Block, Tensor
from .types import reduced


class ClsToken(Block[ClsTokenSpec], kind="cls_token"):
    """A learned token before all others."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, N, channels) -> (batch, N + 1, channels)."""
        return reduced(_led, x, self.arrays["token"])


def _led(x: Tensor, token: Tensor) -> Tensor:
    """Tokens behind one of their width; its gradient is a sum over the batch."""
    first = ops.broadcast_to(token, (ops.shape(x)[0], 1, x.shape[2]))
    return ops.concatenate([first, x], axis=1)


class MaskToken(Block[MaskTokenSpec], kind="mask_token"):
    """A learned token where the mask is 1."""

    def call(
        self, x: Tensor, stream: Stream | None = None, embeddings: Sequence[Tensor] = ()
    ) -> Tensor:
        """(batch, N, channels) and the mask (batch, N) -> (batch, N, channels)."""
        (mask,) = embeddings
        return reduced(_replaced, x, self.arrays["token"], mask)


def _replaced(x: Tensor, token: Tensor, mask: Tensor) -> Tensor:
    """Tokens with another one where the mask is 1; its gradient is a sum over all of those."""
    return ops.where(ops.expand_dims(mask, 2) == 1, ops.convert_to_tensor(token), x)
