"""How a recording is filtered and scaled, as settings."""

from dataclasses import dataclass
from typing import Literal, get_args

from tcnzoo.arrays import Array
from tcnzoo.eeg.needs import needed
from tcnzoo.errors import InputError

Mode = Literal["origin", "zero-phase", "causal"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class Preprocessing:
    """How a recording becomes the input of a detector.

    Attributes:
        mode: `origin` resamples by Fourier transform, filters once forwards from zeros and divides
            by the deviation over all of the recording; `zero-phase` does the same but filters
            forwards and backwards; `causal` looks only back: a polyphase resampler, the filter of
            `origin`, and the mean and deviation of the past. `zero-phase` and `causal` begin in the
            steady state of the first sample, so that an offset of an electrode changes nothing.
        sampling_rate: that the detector takes, in Hz.
        band: edges of the Butterworth band-pass, in Hz.
        order: of the band-pass (of its low-pass prototype).
        notch: frequency of the mains, in Hz; None for no notch.
        notch_quality: the notch's frequency over its width at -3 dB.
        clip: largest absolute value of the result.
        epsilon: added to the deviation, in uV.
        time_constant: of the past that `causal` looks at, in s; None for all of it, equally. The
            default is several times the length of a seizure, which would else scale itself down.
    Source:
        The defaults are those of brain-go-brr-v2 (Clarity-Digital-Twin); `time_constant` is ours.
    """

    mode: Mode = "origin"
    sampling_rate: float = 256.0
    band: tuple[float, float] = (0.5, 120.0)
    order: int = 3
    notch: float | None = 60.0
    notch_quality: float = 30.0
    clip: float = 10.0
    epsilon: float = 1e-8
    time_constant: float | None = 300.0

    def __post_init__(self) -> None:
        """Refuse what no filter can be made of."""
        if self.mode not in MODES:
            raise InputError(
                f"preprocessing must be one of {', '.join(MODES)}, but is {self.mode!r}"
            )
        low, high = self.band
        if not 0.0 < low < high < self.sampling_rate / 2:
            raise InputError(
                f"the band must lie between 0 and half of {self.sampling_rate:g} Hz, "
                f"but is {low:g} to {high:g} Hz"
            )
        if self.notch is not None and not 0.0 < self.notch < self.sampling_rate / 2:
            raise InputError(
                f"the notch must lie between 0 and half of {self.sampling_rate:g} Hz, "
                f"but is at {self.notch:g} Hz"
            )
        positive = {
            "order": self.order,
            "notch_quality": self.notch_quality,
            "clip": self.clip,
            "epsilon": self.epsilon,
            "time_constant": 1.0 if self.time_constant is None else self.time_constant,
        }
        for name, value in positive.items():
            if not value > 0:
                raise InputError(f"{name} must be above 0, but is {value}")

    def sections(self) -> list[Array]:
        """The filters as second-order sections, (sections, 6): the band-pass, then the notch."""
        signal = needed("scipy.signal", "filtering")
        rate = self.sampling_rate
        filters = [signal.butter(self.order, self.band, "bandpass", fs=rate, output="sos")]
        if self.notch is not None:
            filters.append(signal.tf2sos(*signal.iirnotch(self.notch, self.notch_quality, fs=rate)))
        return filters
