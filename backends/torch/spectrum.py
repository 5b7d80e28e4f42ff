"""Amplitude or phase of the Fourier transform of patches."""

import math

import torch
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import SpectrumSpec

from .block import Block
from .types import wide


class Spectrum(Block[SpectrumSpec], kind="spectrum"):
    """Spectra of the patches of each electrode as tokens, by products with sines and cosines."""

    def __init__(self, spec: SpectrumSpec, path: str = "") -> None:
        """Make the sines and cosines."""
        super().__init__(spec, path)
        self.waves = [torch.from_numpy(table) for table in spec.waves()]

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, E, A * patch) -> (batch, bins, E * A), tokens contiguous in memory."""
        spec = self.spec
        values = wide(x)
        tokens = values.unflatten(2, (-1, spec.patch)).flatten(1, 2)
        cosines, sines = (table.to(values) for table in self.waves)
        real, imaginary = tokens @ cosines, tokens @ sines
        half, mirrored = spectrum(real, imaginary, spec)
        y = torch.cat([half, mirrored], dim=-1) if spec.bins == "full" else half
        if spec.normalized:
            y = normalised(y)
        return y.to(x.dtype).transpose(1, 2)


def spectrum(real: Tensor, imaginary: Tensor, spec: SpectrumSpec) -> tuple[Tensor, Tensor]:
    """Values of bins 0 .. patch // 2, and of those that mirror them, in order."""
    inner = real[..., 1 : 1 + spec.between]
    outer = real[..., 1 + spec.between :]
    if spec.value == "phase":
        nothing = (inner == 0) & (imaginary == 0)
        angles = torch.atan2(imaginary, torch.where(nothing, 1.0, inner))
        ends = [math.pi * (part < 0).to(real) for part in (real[..., :1], outer)]
        return torch.cat([ends[0], angles, ends[1]], dim=-1), -angles.flip(-1)
    squares = inner.square() + imaginary.square()
    nothing = squares == 0
    sizes = torch.where(nothing, 0.0, torch.where(nothing, 1.0, squares).sqrt())
    return torch.cat([real[..., :1].abs(), sizes, outer.abs()], dim=-1), sizes.flip(-1)


def normalised(y: Tensor) -> Tensor:
    """All values of a signal less their mean, over their unbiased deviation; zeros without one."""
    centred = y - y.mean(dim=(1, 2), keepdim=True)
    count = max(1, y.shape[1] * y.shape[2] - 1)
    variance = centred.square().sum(dim=(1, 2), keepdim=True) / count
    return centred / torch.where(variance > 0, variance, 1.0).sqrt()
