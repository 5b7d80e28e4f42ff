"""What all quantisers share: steps as rows, masks, and the measures of how codes are used."""

from typing import Generic

import torch
from torch import Tensor

from tcnzoo.inference.codebook import check_mask, not_finite, nothing_to_quantize
from tcnzoo.models.outputs import Quantized
from tcnzoo.models.streaming import Stream

from .block import Block, S
from .kernels.nearest import traced
from .types import wide


class Rows:
    """The steps of a signal as rows, (n, channels), those that a mask leaves."""

    def __init__(self, x: Tensor, mask: Tensor | None, needed: bool = True) -> None:
        """Lay out a signal.

        Args:
            x: (batch, channels[, ...]).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
            needed: whether there must be a step.
        Raises:
            InputError: a mask of another shape, no step, or (looked at on a CPU only) NaN.
        """
        last = x.movedim(1, -1)
        self.dtype, self.shape = x.dtype, last.shape
        rows = last.reshape(-1, last.shape[-1])
        self.kept: Tensor | None = None
        if mask is not None:
            check_mask(mask, last.shape[:-1])
            self.kept = mask.reshape(-1).to(device=x.device, dtype=torch.bool)
            rows = rows[self.kept]
        self.values = wide(rows)
        if not traced():
            self._check(needed)

    def _check(self, needed: bool) -> None:
        """Raise InputError for nothing at all, and for NaN where a look at it costs no wait."""
        if needed and not len(self.values):
            raise nothing_to_quantize()
        if self.values.device.type == "cpu" and not torch.isfinite(self.values.detach().sum()):
            raise not_finite()

    def signal(self, rows: Tensor) -> Tensor:
        """Rows of channels back in the shape of the input, 0 where masked."""
        return self._whole(rows.to(self.dtype), 0).view(self.shape).movedim(-1, 1)

    def indices(self, chosen: Tensor) -> Tensor:
        """Indices back in the shape of the input without channels, -1 where masked."""
        return self._whole(chosen, -1).view(self.shape[:-1])

    def _whole(self, rows: Tensor, rest: int) -> Tensor:
        """Put the kept rows back between the masked ones."""
        if self.kept is None:
            return rows
        whole = rows.new_full((len(self.kept), *rows.shape[1:]), rest)
        whole[self.kept] = rows
        return whole


def spread_of(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Perplexity and usage from how often each code was chosen, (..., K)."""
    share = counts / counts.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp(), (counts > 0).to(share.dtype).mean(-1)


class Quantizer(Block[S], Generic[S]):
    """What all quantisers share: forward is the output of `quantize`."""

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Codes in the place of (batch, channels) or (batch, channels, time).

        In training the codebook moves; the loss is given by `quantize` alone.
        """
        if self.training:
            output: Tensor = self.quantize(x).output
            return output
        rows = Rows(x, None, needed=False)
        return rows.signal(self.lookup(rows.values))

    def lookup(self, values: Tensor) -> Tensor:
        """The codes of rows, with the gradient to them; nothing moves."""
        raise TypeError(f"{type(self).__name__} quantises nothing")

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantise; in training, move the codebook afterwards.

        Args:
            x: (batch, channels) or (batch, channels, time).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
        Returns:
            see Quantized; indices are (batch, time), or (batch, levels, time).
        Raises:
            InputError: a mask of another shape or without any step, or (on a CPU) NaN.
        """
        raise TypeError(f"{type(self).__name__} quantises nothing")
