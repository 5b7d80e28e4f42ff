"""Finite scalar quantisation: bounded and rounded channels."""

import numpy as np
from keras import ops

from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import FsqSpec

from .block import Tensor
from .quantizer import Quantizer, Rows, spread_of


class Fsq(Quantizer[FsqSpec], kind="fsq"):
    """Bounded and rounded channels; see FsqSpec."""

    def _quantize(self, rows: Rows, training: bool) -> Quantized:
        output = self.lookup(rows.values)
        width, stride = (ops.cast(bound, "int32") for bound in np.array(self.spec.bounds).T[3:])
        rounded = ops.round(ops.stop_gradient(output) * ops.cast(width, output.dtype))
        chosen = ops.sum((ops.cast(rounded, "int32") + width) * stride, axis=1)
        counts = rows.counts(chosen, self.spec.codes)
        loss = ops.zeros((), dtype=output.dtype)
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Tensor) -> Tensor:
        """Bound and round rows; rounding passes the gradient on."""
        bounds = np.array(self.spec.bounds).T
        half, offset, shift, width, _ = (ops.cast(bound, values.dtype) for bound in bounds)
        bounded = ops.tanh(values + shift) * half - offset
        rounded = ops.round(ops.stop_gradient(bounded))
        return (rounded + (bounded - ops.stop_gradient(bounded))) / width
