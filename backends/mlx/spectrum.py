"""Amplitude or phase of the Fourier transform of patches."""

import math

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SpectrumSpec

from .block import Block
from .types import beside, reduced


class Spectrum(Block[SpectrumSpec], kind="spectrum"):
    """Spectra of the patches of each electrode as tokens, by products with sines and cosines."""

    def __init__(self, spec: SpectrumSpec, path: str = "") -> None:
        """Make the sines and cosines."""
        super().__init__(spec, path)
        self._cosines, self._sines = spec.waves()

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, A * patch, E) -> (batch, E * A, bins)."""
        return reduced(self._values, x)

    def _values(self, x: mx.array) -> mx.array:
        """The same in one float type."""
        spec = self.spec
        tokens = x.swapaxes(1, 2).reshape(x.shape[0], -1, spec.patch)
        cosines, sines = (beside(x, table) for table in (self._cosines, self._sines))
        half, mirrored = spectrum(tokens @ cosines, tokens @ sines, spec)
        y = mx.concatenate([half, mirrored], axis=-1) if spec.bins == "full" else half
        return normalised(y) if spec.normalized else y


def spectrum(real: mx.array, imaginary: mx.array, spec: SpectrumSpec) -> tuple[mx.array, mx.array]:
    """Values of bins 0 .. patch // 2, and of those that mirror them, in order."""
    first, inner = real[..., :1], real[..., 1 : 1 + spec.between]
    outer = real[..., 1 + spec.between :]
    if spec.value == "phase":
        nothing = (inner == 0) & (imaginary == 0)
        inside = mx.arctan2(imaginary, mx.where(nothing, 1.0, inner))
        ends = [math.pi * (part < 0).astype(real.dtype) for part in (first, outer)]
        return mx.concatenate([ends[0], inside, ends[1]], axis=-1), -inside[..., ::-1]
    squares = mx.square(inner) + mx.square(imaginary)
    nothing = squares == 0
    inside = mx.where(nothing, 0.0, mx.sqrt(mx.where(nothing, 1.0, squares)))
    half = mx.concatenate([mx.abs(first), inside, mx.abs(outer)], axis=-1)
    return half, inside[..., ::-1]


def normalised(y: mx.array) -> mx.array:
    """All values of a signal less their mean, over their unbiased deviation; zeros without one."""
    centred = y - y.mean(axis=(1, 2), keepdims=True)
    count = max(1, y.shape[1] * y.shape[2] - 1)
    variance = mx.square(centred).sum(axis=(1, 2), keepdims=True) / count
    return centred * mx.rsqrt(mx.where(variance > 0, variance, 1.0))
