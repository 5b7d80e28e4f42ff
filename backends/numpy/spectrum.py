"""Amplitude or phase of the Fourier transform of patches."""

import numpy as np

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SpectrumSpec

from .block import Array, Block


class Spectrum(Block[SpectrumSpec], kind="spectrum"):
    """Spectra of the patches of each electrode as tokens."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, E, A * patch) -> (batch, bins, E * A)."""
        spec, between = self.spec, slice(1, 1 + self.spec.between)
        bins = np.fft.rfft(x.reshape(len(x), -1, spec.patch))
        if spec.value == "amplitude":
            half, sign = np.abs(bins), 1.0
        else:
            half, sign = np.where(bins.real < 0.0, np.pi, 0.0), -1.0
            angles = np.angle(bins[..., between])
            half[..., between] = np.where(bins[..., between] == 0, 0.0, angles)
        if spec.bins == "full":
            half = np.concatenate([half, sign * half[..., between][..., ::-1]], axis=-1)
        y = half.swapaxes(1, 2).astype(x.dtype)
        return normalised(y) if spec.normalized else y


def normalised(y: Array) -> Array:
    """All values of a signal less their mean, over their unbiased deviation; zeros without one."""
    centred = y - y.mean(axis=(1, 2), keepdims=True)
    count = max(1, y[0].size - 1)
    deviation = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True) / count)
    return centred / np.where(deviation > 0.0, deviation, 1.0)
