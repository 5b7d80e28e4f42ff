"""Amplitude or phase of the Fourier transform of patches."""

from typing import TYPE_CHECKING, Literal

from tcnzoo.specs.base import ReceptiveField, Shape
from tcnzoo.specs.patch_embed import PatchesSpec

if TYPE_CHECKING:
    from tcnzoo.arrays import Array


class SpectrumSpec(PatchesSpec):
    """Spectra of the patches of each electrode, (batch, E, A * patch) -> (batch, bins, E * A).

    Bin k of token e * A + a is the amplitude or the phase (rad) of
    sum over t of x[t] * exp(-2 pi i k t / patch), t counted within patch a of electrode e. Bins
    without an imaginary part (0, and patch / 2) have phase 0 or pi, and so has one that is 0.

    Attributes:
        patch: steps of a patch.
        value: `amplitude` or `phase`.
        bins: `half` for 0 .. patch // 2; `full` for all `patch`, of which the others mirror these.
        normalized: subtract the mean and divide by the unbiased deviation of all values of a
            signal; a signal whose values are all the same gives zeros.
        electrodes: how many the input has, or None for any number.
    Source:
        Jiang et al. 2024 (LaBraM), arXiv:2405.18765, section 2.2, "Fourier Spectrum Prediction";
        normalised as in its code, modeling_vqnsp.py.
    """

    kind: Literal["spectrum"] = "spectrum"
    value: Literal["amplitude", "phase"]
    bins: Literal["half", "full"] = "half"
    normalized: bool = False

    @property
    def width(self) -> int:
        """Bins of a token."""
        return self.patch if self.bins == "full" else self.patch // 2 + 1

    @property
    def between(self) -> int:
        """How many bins above 0 have an imaginary part, and a mirror image."""
        return (self.patch - 1) // 2

    def macs_of(self, input_shape: Shape) -> int:
        """The products with sines and cosines of the half of the bins."""
        _, tokens = self.output_shape(input_shape)
        return 2 * tokens * self.patch * (self.patch // 2 + 1)

    def waves(self) -> "tuple[Array, Array]":
        """cos(2 pi k t / patch) of bins 0 .. patch // 2, and -sin of those between, float64.

        Returns:
            (patch, patch // 2 + 1) and (patch, between).
        """
        import numpy as np  # not needed to describe a model

        steps = np.arange(self.patch)[:, None]
        turns = steps * np.arange(self.patch // 2 + 1) % self.patch  # whole turns taken out
        angles = 2.0 * np.pi / self.patch * turns
        return np.cos(angles), -np.sin(angles[:, 1 : 1 + self.between])

    def field(self) -> ReceptiveField:
        """One patch; tokens of one electrode are a patch apart."""
        return ReceptiveField.of(self.patch - 1, self.patch, self.patch - 1)

    @property
    def pools_all(self) -> bool:
        """Whether the values are normalised over the whole signal."""
        return self.normalized

    def own_streaming_blocker(self) -> str | None:
        """Tokens come electrode by electrode."""
        return "tokens are ordered by electrode over the whole signal, so it cannot stream"
