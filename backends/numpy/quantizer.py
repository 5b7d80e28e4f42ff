"""What all quantisers share: steps as vectors, masks, and the measures of how codes are used."""

from typing import Any

import numpy as np

from tcnzoo.inference.codebook import check_mask, not_finite, nothing_to_quantize
from tcnzoo.models.outputs import Quantized
from tcnzoo.models.streaming import Stream

from .block import Array, Block, S


class Vectors:
    """The steps of a signal as `values` (n, channels), those that a mask leaves."""

    def __init__(self, x: Array, mask: Array | None, needed: bool = True) -> None:
        """Lay out a signal.

        Args:
            x: (batch, channels[, ...]).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
            needed: whether there must be a step.
        Raises:
            InputError: a mask of another shape, no step, or NaN.
        """
        last = np.moveaxis(x, 1, -1)
        self.shape = last.shape
        self.kept = np.ones(last.shape[:-1], dtype=bool)
        if mask is not None:
            check_mask(mask, last.shape[:-1])
            self.kept = np.asarray(mask, dtype=bool)
        self.values = last[self.kept]
        if needed and not len(self.values):
            raise nothing_to_quantize()
        if not np.isfinite(self.values).all():
            raise not_finite()

    def signal(self, values: Array) -> Array:
        """Vectors back in the shape of the input, 0 where masked."""
        whole = np.zeros(self.shape, dtype=values.dtype)
        whole[self.kept] = values
        return np.moveaxis(whole, -1, 1)

    def indices(self, chosen: Array) -> Array:
        """Indices back in the shape of the input without channels, -1 where masked."""
        whole = np.full(self.shape[:-1], -1, dtype=np.int64)
        whole[self.kept] = chosen
        return whole


def spread_of(counts: Array) -> tuple[Array, Array]:
    """Perplexity and usage from how often each code was chosen, (..., K)."""
    share = counts / counts.sum(axis=-1, keepdims=True)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1)
    return np.exp(entropy), np.mean(counts > 0, axis=-1)


class Quantizer(Block[S]):
    """What all quantisers share: forward is the output of `quantize`.

    Attributes:
        iterations: above 0, the next input sets the codebook by so many of k-means first.
    """

    iterations: int = 0

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """Codes in the place of (batch, channels) or (batch, channels, time)."""
        vectors = self.vectors(x, None, needed=False)
        return vectors.signal(self.lookup(vectors.values))

    def vectors(self, x: Array, mask: Array | None, needed: bool = True) -> Vectors:
        """The steps of a signal; where that was asked for, they set the codebook."""
        vectors = Vectors(x, mask, needed)
        if self.iterations:
            self.fit_codes(vectors.values, self.iterations)
            self.iterations = 0
        return vectors

    def fit_codes(self, values: Array, iterations: int) -> None:
        """Set codes and averages by k-means on vectors."""
        raise TypeError(f"{type(self).__name__} has no codebook")

    def initialise_codebook(
        self, x: Array, iterations: int = 10, mask: Array | None = None
    ) -> None:
        """Set the codebook by k-means on a batch of inputs of this block; see inference.codebook.

        Raises:
            InputError: fewer values than codes, or NaN.
        """
        self.fit_codes(Vectors(x, mask).values, iterations)

    def lookup(self, values: Array) -> Array:
        """The codes of vectors."""
        raise TypeError(f"{type(self).__name__} quantises nothing")

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Quantise.

        Args:
            x: (batch, channels) or (batch, channels, time).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
        Returns:
            see Quantized; indices are (batch, time), or (batch, levels, time).
        Raises:
            InputError: a mask of another shape or without any step, or NaN.
        """
        raise TypeError(f"{type(self).__name__} quantises nothing")


def quantize(model: Quantizer[Any], x: Array, mask: Array | None) -> Quantized:
    """Quantise a neutral signal."""
    return model.quantize(np.asarray(x, dtype=model.tcnzoo.dtype), mask)
