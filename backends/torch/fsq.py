"""Finite scalar quantisation: bounded and rounded channels."""

import torch
from torch import Tensor

from tcnzoo.models.outputs import Quantized
from tcnzoo.specs import FsqSpec

from .quantizer import Quantizer, Rows, spread_of


class Fsq(Quantizer[FsqSpec], kind="fsq"):
    """Bounded and rounded channels."""

    def quantize(self, x: Tensor, mask: Tensor | None = None) -> Quantized:
        """Round each channel. See Quantizer."""
        rows = Rows(x, mask)
        output = self.lookup(rows.values)
        width, stride = rows.values.new_tensor(self.spec.bounds).T[3:]
        chosen = ((output.detach() * width + width).round() * stride).sum(1).long()
        counts = torch.bincount(chosen, minlength=self.spec.codes).to(output.dtype)
        loss = output.new_zeros(())
        return Quantized(rows.signal(output), rows.indices(chosen), loss, *spread_of(counts))

    def lookup(self, values: Tensor) -> Tensor:
        """Bound and round rows; rounding passes the gradient on."""
        half, offset, shift, width, _ = values.new_tensor(self.spec.bounds).T
        bounded = torch.tanh(values + shift) * half - offset
        rounded = bounded.detach().round()
        scaled: Tensor = (rounded + (bounded - bounded.detach())) / width
        return scaled
