"""What all quantisers share: steps as vectors, masks, and the measures of how codes are used."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx

from tcnzoo.arrays import Array
from tcnzoo.inference.codebook import check_mask
from tcnzoo.models.outputs import Quantized
from tcnzoo.models.streaming import Stream

from .block import Block, S
from .run import native, to_neutral
from .twin import evaluating
from .types import wide


class Vectors:
    """The steps of a signal as vectors, (n, channels), with a weight of 1, or 0 where masked."""

    def __init__(self, x: mx.array, mask: mx.array | None) -> None:
        """Lay out x (batch, [..., ]channels), with a mask of its shape without channels, or None.

        Raises:
            InputError: a mask of another shape.
        """
        self.dtype, self.shape = x.dtype, x.shape
        self.count: mx.array | int = math.prod(x.shape[:-1])
        self.values = wide(x.reshape(-1, x.shape[-1]))
        self.kept: mx.array | None = None
        if mask is not None:
            check_mask(mask, x.shape[:-1])
            self.kept = mask.reshape(-1).astype(mx.bool_)
            self.count = self.kept.sum()
            self.values = self.masked(self.values)

    def masked(self, values: mx.array) -> mx.array:
        """Values (n, channels), 0 where masked."""
        return values if self.kept is None else mx.where(self.kept[:, None], values, 0.0)

    def signal(self, values: mx.array) -> mx.array:
        """Values (n, channels) in the shape of the input, 0 where masked."""
        return self.masked(values).astype(self.dtype).reshape(self.shape)

    def indices(self, chosen: mx.array) -> mx.array:
        """Indices in the shape of the input without channels, -1 where masked."""
        if self.kept is not None:
            chosen = mx.where(self.kept, chosen, -1)
        return chosen.reshape(self.shape[:-1])

    def mean(self, values: mx.array) -> mx.array:
        """Mean over the values that are not masked."""
        if self.kept is None:
            return values.mean()
        return self.masked(values).sum() / (self.count * values.shape[1])

    def counts(self, chosen: mx.array, codes: int) -> mx.array:
        """How often each code was chosen, (K,)."""
        once = mx.ones(chosen.shape) if self.kept is None else self.kept.astype(mx.float32)
        return mx.zeros((codes,)).at[chosen].add(once)

    def take(self, ranks: mx.array, values: mx.array) -> mx.array:
        """The values of some ranks, counted among those that are not masked."""
        if self.kept is not None:
            total = len(self.kept)
            slots = mx.where(self.kept, mx.cumsum(self.kept.astype(mx.int32)) - 1, total)
            index = mx.zeros((total + 1,), dtype=mx.int32)
            index[slots] = mx.arange(total, dtype=mx.int32)
            ranks = index[ranks]
        return values[ranks]


def spread_of(counts: mx.array) -> tuple[mx.array, mx.array]:
    """Perplexity and usage from how often each code was chosen, (..., K)."""
    share = counts / counts.sum(axis=-1, keepdims=True)
    entropy = -(share * mx.log(mx.where(share > 0.0, share, 1.0))).sum(axis=-1)
    return mx.exp(entropy), (counts > 0.0).astype(mx.float32).mean(axis=-1)


class Quantizer(Block[S]):
    """What all quantisers share: forward is the output of `quantize`.

    MLX computes late, so nothing is raised for NaN, or for a batch that is masked as a whole: the
    output is NaN there, the loss NaN, and no average moves.
    """

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """Codes in the place of (batch, channels) or (batch, time, channels).

        In training the codebook moves; the loss is given by `quantize` alone.
        """
        if self.training:
            return self.quantize(x).output
        vectors = Vectors(x, None)
        return vectors.signal(self.lookup(vectors.values))

    def lookup(self, values: mx.array) -> mx.array:
        """The codes of values (n, channels), with the gradient to them; nothing moves."""
        raise TypeError(f"{type(self).__name__} quantises nothing")

    def quantize(self, x: mx.array, mask: mx.array | None = None) -> Quantized:
        """Quantise; in training, move the codebook afterwards.

        Args:
            x: (batch, channels) or (batch, time, channels).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
        Returns:
            see Quantized; indices are (batch, time), or (batch, time, levels).
        Raises:
            InputError: a mask of another shape.
        """
        with self._placed():
            return self._quantize(Vectors(x, mask))

    def _quantize(self, vectors: Vectors) -> Quantized:
        raise TypeError(f"{type(self).__name__} quantises nothing")

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """The model's device, where it names one."""
        if self._device is None:
            yield
            return
        with mx.stream(getattr(mx, self._device)):
            yield


def quantize(model: Quantizer[Any], x: Array, mask: Array | None) -> Quantized:
    """Run a quantiser on a neutral signal, in evaluation mode."""
    with evaluating(model) as ready:
        signal, _ = native(model, x)
        quantized = ready.quantize(signal, None if mask is None else mx.array(mask))
        return Quantized(*map(to_neutral, quantized))
