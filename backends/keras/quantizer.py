"""What all quantisers share: steps as rows, masks, and the measures of how codes are used."""

import copy
from typing import Any

from keras import ops

from tcnzoo.arrays import Array
from tcnzoo.inference.codebook import check_mask
from tcnzoo.models.outputs import Quantized
from tcnzoo.models.streaming import Stream

from .block import Block, S, Tensor
from .model import SpecModel
from .replicas import of_all
from .run import native_inputs, neutral
from .types import wide


class Rows:
    """The steps of a signal as rows, (n, channels), with a weight of 1, or 0 where masked."""

    def __init__(self, x: Tensor, mask: Tensor | None) -> None:
        """Lay out x (batch, [..., ]channels), with a mask of its shape without channels, or None.

        Raises:
            InputError: a mask of another shape.
        """
        self.dtype, self.shape = x.dtype, ops.shape(x)
        self.values = ops.reshape(wide(x), (-1, x.shape[-1]))
        self.count = ops.shape(self.values)[0]
        self.kept: Tensor | None = None
        if mask is not None:
            check_mask(mask, tuple(x.shape[:-1]))
            self.kept = ops.cast(ops.reshape(mask, (-1,)), "bool")
            self.count = ops.sum(ops.cast(self.kept, "int32"))
            self.values = self.masked(self.values)

    def of_all(self) -> "Rows":
        """The rows of all devices that train together, without gradient; of one, its own."""
        whole = copy.copy(self)
        whole.values = of_all(self.values)
        whole.count = ops.shape(whole.values)[0]
        if self.kept is not None:
            whole.kept = of_all(self.kept)
            whole.count = ops.sum(ops.cast(whole.kept, "int32"))
        return whole

    def masked(self, rows: Tensor) -> Tensor:
        """Rows of channels, 0 where masked."""
        if self.kept is None:
            return rows
        return ops.where(ops.expand_dims(self.kept, 1), rows, ops.zeros_like(rows))

    def signal(self, rows: Tensor) -> Tensor:
        """Rows of channels in the shape of the input, 0 where masked."""
        return ops.reshape(ops.cast(self.masked(rows), self.dtype), self.shape)

    def indices(self, chosen: Tensor) -> Tensor:
        """Indices in the shape of the input without channels, -1 where masked."""
        if self.kept is not None:
            chosen = ops.where(self.kept, chosen, -ops.ones_like(chosen))
        return ops.reshape(chosen, self.shape[:-1])

    def mean(self, rows: Tensor) -> Tensor:
        """Mean over the values that are not masked."""
        if self.kept is None:
            return ops.mean(rows)
        return ops.sum(self.masked(rows)) / (ops.cast(self.count, rows.dtype) * rows.shape[1])

    def counts(self, chosen: Tensor, codes: int) -> Tensor:
        """How often each code was chosen, (K,)."""
        once = ops.ones_like(self.values[:, 0])
        if self.kept is not None:
            once = ops.cast(self.kept, once.dtype)
        return ops.segment_sum(once, chosen, num_segments=codes)

    def take(self, positions: Tensor, rows: Tensor) -> Tensor:
        """The rows at some positions, counted among those that are not masked."""
        if self.kept is not None:
            # Stable: those that are kept come first, in their order.
            order = ops.argsort(ops.cast(ops.logical_not(self.kept), "int32"))
            positions = ops.take(order, positions, axis=0)
        return ops.take(rows, positions, axis=0)


def spread_of(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Perplexity and usage from how often each code was chosen, (..., K)."""
    share = counts / ops.sum(counts, axis=-1, keepdims=True)
    entropy = -ops.sum(share * ops.log(ops.where(share > 0.0, share, ops.ones_like(share))), -1)
    return ops.exp(entropy), ops.mean(ops.cast(counts > 0.0, counts.dtype), axis=-1)


class Quantizer(Block[S]):
    """What all quantisers share: call is the output of `quantized`.

    A compiled graph raises nothing for NaN, or for a batch that is masked as a whole: the output is
    NaN there, the loss NaN, and no average moves.
    """

    def call(self, x: Tensor, stream: Stream | None = None, training: bool | None = None) -> Tensor:
        """Codes in the place of (batch, channels) or (batch, time, channels).

        In training the codebook moves; the loss is given by `quantized` alone.
        """
        if training:
            return self.quantized(x, training=True).output
        rows = Rows(x, None)
        return rows.signal(self.lookup(rows.values))

    def lookup(self, values: Tensor) -> Tensor:
        """The codes of rows, with the gradient to them; nothing moves."""
        raise TypeError(f"{type(self).__name__} quantises nothing")

    def quantized(self, x: Tensor, mask: Any = None, training: bool = False) -> Quantized:
        """Quantise; in training, move the codebook afterwards.

        Keras has a method `quantize` of its own on every layer, so here it has another name.

        Args:
            x: (batch, channels) or (batch, time, channels).
            mask: True where a step counts, the shape of x without channels; None for everywhere.
            training: move the codebook, unless this layer is frozen or rests.
        Returns:
            see Quantized; indices are (batch, time), or (batch, time, levels).
        Raises:
            InputError: a mask of another shape.
        """
        return self._quantize(Rows(x, mask), training and not self.resting)

    def _quantize(self, rows: Rows, training: bool) -> Quantized:
        """Quantise rows."""
        raise TypeError(f"{type(self).__name__} quantises nothing")


def quantize(model: SpecModel, x: Array, mask: Array | None) -> Quantized:
    """Run a quantiser on a neutral signal, in evaluation mode."""
    with model.on_device():
        kept = None if mask is None else ops.convert_to_tensor(mask)
        quantized = model.root.quantized(native_inputs(model, x, ())["x"], kept)
    return Quantized(*(neutral(y) for y in quantized))
