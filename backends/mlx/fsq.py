"""Finite scalar quantisation: bounded and rounded channels."""

import mlx.core as mx

from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import FsqSpec

from .quantizer import Quantizer, Vectors, spread_of


class Fsq(Quantizer[FsqSpec], kind="fsq"):
    """Bounded and rounded channels; see FsqSpec."""

    def _quantize(self, vectors: Vectors) -> Quantized:
        output = self.lookup(vectors.values)
        _, _, _, widths, strides = zip(*self.spec.bounds, strict=True)
        width, stride = (mx.array(values, dtype=mx.int32) for values in (widths, strides))
        levels = mx.round(mx.stop_gradient(output) * width).astype(mx.int32) + width
        chosen = (levels * stride).sum(axis=1)
        spread = spread_of(vectors.counts(chosen, self.spec.codes))
        loss = mx.zeros(())
        return Quantized(vectors.signal(output), vectors.indices(chosen), loss, *spread)

    def lookup(self, values: mx.array) -> mx.array:
        """Bound and round values (n, channels); rounding passes the gradient on."""
        half, offset, shift, width, _ = map(mx.array, zip(*self.spec.bounds, strict=True))
        bounded = mx.tanh(values + shift) * half - offset
        rounded = mx.round(mx.stop_gradient(bounded))
        return (rounded + (bounded - mx.stop_gradient(bounded))) / width
