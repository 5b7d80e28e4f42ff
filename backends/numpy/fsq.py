"""Finite scalar quantisation: bounded and rounded channels."""

import numpy as np

from tcnzoo.models.outputs import Quantized

from .block import Array
from .quantizer import Quantizer, spread_of


class Fsq(Quantizer, kind="fsq"):
    """Bounded and rounded channels; see FsqSpec."""

    def quantize(self, x: Array, mask: Array | None = None) -> Quantized:
        """Round each channel. See Quantizer."""
        rows = self.rows(x, mask)
        output = self.lookup(rows.values)
        width, stride = np.array(self.spec.bounds).T[3:]
        chosen = (np.round(output * width + width) * stride).sum(axis=1).astype(np.int64)
        counts = np.bincount(chosen, minlength=self.spec.codes)
        loss = np.zeros((), dtype=output.dtype)
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Array) -> Array:
        """Bound and round rows."""
        half, offset, shift, width, _ = np.array(self.spec.bounds, dtype=values.dtype).T
        rounded: Array = np.round(np.tanh(values + shift) * half - offset) / width
        return rounded
