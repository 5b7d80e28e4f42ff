"""Amplitude or phase of the Fourier transform of patches."""

import math
from typing import Any

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SpectrumSpec

from .block import Block, Tensor
from .types import reduced


class Spectrum(Block[SpectrumSpec], kind="spectrum"):
    """Spectra of the patches of each electrode as tokens, by products with sines and cosines."""

    def __init__(
        self, spec: SpectrumSpec, path: str = "", owned: bool = False, **options: Any
    ) -> None:
        """Make the sines and cosines."""
        super().__init__(spec, path, owned, **options)
        self.cosines, self.sines = spec.waves()

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, A * patch, E) -> (batch, E * A, bins)."""
        return reduced(self._values, x)

    def _values(self, x: Tensor) -> Tensor:
        """The same in one float type."""
        spec = self.spec
        batch, length, electrodes = ops.shape(x)
        count = electrodes * (length // spec.patch)
        tokens = ops.reshape(ops.swapaxes(x, 1, 2), (batch, count, spec.patch))
        cosines, sines = (
            ops.convert_to_tensor(table, x.dtype) for table in (self.cosines, self.sines)
        )
        half, mirrored = spectrum(ops.matmul(tokens, cosines), ops.matmul(tokens, sines), spec)
        y = ops.concatenate([half, mirrored], axis=-1) if spec.bins == "full" else half
        return normalised(y) if spec.normalized else y


def spectrum(real: Tensor, imaginary: Tensor, spec: SpectrumSpec) -> tuple[Tensor, Tensor]:
    """Values of bins 0 .. patch // 2, and of those that mirror them, in order."""
    first, inner = real[..., :1], real[..., 1 : 1 + spec.between]
    outer = real[..., 1 + spec.between :]
    one, zero = ops.ones_like(inner), ops.zeros_like(inner)
    if spec.value == "phase":
        nothing = ops.logical_and(inner == 0, imaginary == 0)
        inside = ops.arctan2(imaginary, ops.where(nothing, one, inner))
        ends = [math.pi * ops.cast(part < 0, real.dtype) for part in (first, outer)]
        return ops.concatenate([ends[0], inside, ends[1]], axis=-1), -ops.flip(inside, axis=-1)
    squares = ops.square(inner) + ops.square(imaginary)
    nothing = squares == 0
    inside = ops.where(nothing, zero, ops.sqrt(ops.where(nothing, one, squares)))
    half = ops.concatenate([ops.abs(first), inside, ops.abs(outer)], axis=-1)
    return half, ops.flip(inside, axis=-1)


def normalised(y: Tensor) -> Tensor:
    """All values of a signal less their mean, over their unbiased deviation; zeros without one."""
    centred = y - ops.mean(y, axis=(1, 2), keepdims=True)
    count = ops.cast(ops.maximum(1, ops.shape(y)[1] * ops.shape(y)[2] - 1), y.dtype)
    variance = ops.sum(ops.square(centred), axis=(1, 2), keepdims=True) / count
    return centred / ops.sqrt(ops.where(variance > 0, variance, ops.ones_like(variance)))
