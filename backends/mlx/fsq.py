"""Finite scalar quantisation: bounded and rounded channels."""

import mlx.core as mx

from tcnzoo.models.outputs import Quantized

from .quantizer import Quantizer, Rows, spread_of


class Fsq(Quantizer, kind="fsq"):
    """Bounded and rounded channels; see FsqSpec."""

    def _quantize(self, rows: Rows) -> Quantized:
        """Round each channel of rows."""
        output = self.lookup(rows.values)
        _, _, _, *whole = zip(*self.spec.bounds, strict=True)
        width, stride = (mx.array(one, dtype=mx.int32) for one in whole)
        levels = mx.round(mx.stop_gradient(output) * width).astype(mx.int32) + width
        chosen = (levels * stride).sum(axis=1)
        counts = rows.counts(chosen, self.spec.codes)
        loss = mx.zeros(())
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: mx.array) -> mx.array:
        """Bound and round rows; rounding passes the gradient on."""
        half, offset, shift, width, _ = (
            mx.array(one) for one in zip(*self.spec.bounds, strict=True)
        )
        bounded = mx.tanh(values + shift) * half - offset
        rounded = mx.round(mx.stop_gradient(bounded))
        return (rounded + (bounded - mx.stop_gradient(bounded))) / width
