"""From uV to what a detector takes: one rate, filtered, each channel in its own deviations."""

import warnings
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.recordings import SHORTEST, Recording
from tcnzoo.errors import InputError

Mode = Literal["origin", "zero-phase", "causal"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class Preprocessing:
    """How a recording becomes the input of a detector.

    Attributes:
        mode: `origin` resamples by Fourier transform, filters once forwards and divides by the
            deviation over all of the recording; `zero-phase` does the same but filters forwards and
            backwards; `causal` looks only back: a polyphase resampler, the filter of `origin`, and
            the mean and deviation of the past.
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


def prepare(recording: Recording, settings: Preprocessing | None = None) -> Array:
    """Preprocess a whole recording.

    Samples that are NaN or infinite count as 0 uV, before the filter, which would spread them over
    all that follows; a warning names their channels.

    Args:
        recording: in uV, at any rate; its channels are taken as they come.
        settings: see Preprocessing.
    Returns:
        (channels, time) float32 at the rate of `settings`.
    Raises:
        InputError: less than 1 s, or a channel that is flat or has no finite sample.
        BackendMissing: scipy is not installed.
    """
    settings = settings or Preprocessing()
    check_signal(recording, settings)
    if settings.mode == "causal":
        return _causal(recording, settings)
    x = _resampled(finite(recording.signal), recording.sampling_rate, settings.sampling_rate)
    signal = needed("scipy.signal", "filtering")
    apply = signal.sosfilt if settings.mode == "origin" else signal.sosfiltfilt
    for sections in settings.sections():
        x = apply(sections, x, axis=1)
    x -= x.mean(axis=1, keepdims=True)
    x /= x.std(axis=1, keepdims=True) + settings.epsilon
    return np.clip(x, -settings.clip, settings.clip).astype(np.float32)


def check_signal(recording: Recording, settings: Preprocessing) -> None:
    """Refuse what has nothing in it; warn of samples that are no numbers, and of a low rate.

    Raises:
        InputError: less than 1 s, or a channel that is flat or has no finite sample.
    """
    if recording.duration < SHORTEST:
        raise InputError(
            f"{recording.where} must last at least {SHORTEST:g} s, "
            f"but has {recording.duration:.3g} s"
        )
    broken = {}
    for name, channel in zip(recording.names, recording.signal, strict=True):
        good = np.isfinite(channel)
        if not good.any():
            raise InputError(f"channel {name} of {recording.where} holds NaN and nothing else")
        if np.ptp(channel[good]) == 0.0:
            raise InputError(
                f"channel {name} of {recording.where} is flat: all of it is "
                f"{channel[good][0]:.6g} uV"
            )
        if not good.all():
            broken[name] = int(good.size - good.sum())
    if broken:
        counts = ", ".join(f"{count:,} in {name}" for name, count in broken.items())
        warnings.warn(
            f"{recording.where} has samples that are NaN or infinite, which count as 0 uV: "
            f"{counts}",
            stacklevel=3,
        )
    if recording.sampling_rate < 2 * settings.band[1]:
        warnings.warn(
            f"{recording.where} has {recording.sampling_rate:g} Hz, so there is nothing in it "
            f"above {recording.sampling_rate / 2:g} Hz, where the band goes to "
            f"{settings.band[1]:g} Hz",
            stacklevel=3,
        )


def finite(signal: Array) -> Array:
    """A copy in float64 with 0 for what is NaN or infinite."""
    clean: Array = np.nan_to_num(signal.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return clean


def _resampled(signal: Array, rate: float, target: float) -> Array:
    """Fourier resampling, which takes the signal for periodic."""
    if rate == target:
        return signal
    steps = max(1, round(signal.shape[1] * target / rate))
    resampled: Array = needed("scipy.signal", "resampling").resample(signal, steps, axis=1)
    return resampled


def _causal(recording: Recording, settings: Preprocessing) -> Array:
    """The stream's own result, in blocks of a minute so that little memory is taken."""
    # Here, since that file needs this one.
    from tcnzoo.eeg.online import OnlinePreprocessor

    online = OnlinePreprocessor(
        replace(settings, mode="causal"), recording.sampling_rate, recording.signal.shape[0]
    )
    block = max(1, round(60 * recording.sampling_rate))
    pieces = [
        online.push(recording.signal[:, start : start + block])
        for start in range(0, recording.signal.shape[1], block)
    ]
    return np.concatenate([*pieces, online.finish()], axis=1)
