"""Finite scalar quantisation: bounded and rounded channels."""

import numpy as np

from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import FsqSpec

from .block import Array
from .quantizer import Quantizer, spread_of


class Fsq(Quantizer[FsqSpec], kind="fsq"):
    """Bounded and rounded channels; see FsqSpec."""

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Round each channel. See Quantizer."""
        vectors = self.vectors(x, mask)
        output = self.lookup(vectors.values)
        width, stride = np.array(self.spec.bounds).T[3:]
        chosen = (np.round(output * width + width) * stride).sum(axis=1).astype(np.int64)
        counts = np.bincount(chosen, minlength=self.spec.codes)
        loss = np.zeros((), dtype=output.dtype)
        return Quantized(vectors.signal(output), vectors.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """Bound and round vectors."""
        half, offset, shift, width, _ = np.array(self.spec.bounds, dtype=values.dtype).T
        rounded: Array = np.round(np.tanh(values + shift) * half - offset) / width
        return rounded
