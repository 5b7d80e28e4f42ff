"""From uV to what a detector takes: one rate, filtered, each channel in its own deviations."""

import warnings
from dataclasses import replace

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.filters import MODES, Mode, Preprocessing
from tcnzoo.eeg.levels import Levels
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.online import OnlinePreprocessor
from tcnzoo.eeg.recordings import SHORTEST, Recording
from tcnzoo.errors import InputError

# The largest change of a deviation by a constant level that needs no warning, and how many
# channels a warning names.
_TOLERATED = 0.02
_LISTED = 3
__all__ = ["MODES", "Mode", "Preprocessing", "check_signal", "prepare"]


def prepare(recording: Recording, settings: Preprocessing | None = None) -> Array:
    """Preprocess a whole recording.

    Samples that are NaN or infinite are replaced before the filter, which would spread them over
    all that follows: by 0 uV in the mode `origin`, else by the last good sample of their channel. A
    warning names the channels. Another one names those whose offsets change their scale in
    `origin`.

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
    rate, target = recording.sampling_rate, settings.sampling_rate
    if settings.mode == "origin":
        x = finite(recording.signal)
        levels = _edges(x, rate)
        x = _filtered(_resampled(x, rate, target), settings)
        _warn_of_levels(recording, settings, levels, x)
    else:
        x = Levels(len(recording.signal)).push(recording.signal)
        x = _filtered(_beside_a_line(x, rate, target), settings)
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
        value = "0 uV" if settings.mode == "origin" else "the last good one of their channel"
        warnings.warn(
            f"{recording.where} has samples that are NaN or infinite, which count as {value}: "
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


def _beside_a_line(x: Array, rate: float, target: float) -> Array:
    """Fourier resampling of what lies beside the straight line from each first to last sample.

    The end of a periodic signal meets its beginning: without the line, in a step.
    """
    if rate == target:
        return x
    slope = (x[:, -1:] - x[:, :1]) / max(1, x.shape[1] - 1)
    y = _resampled(x - slope * np.arange(x.shape[1]), rate, target)
    y += slope * (np.arange(y.shape[1]) * (x.shape[1] / y.shape[1]))
    return y


def _filtered(x: Array, settings: Preprocessing) -> Array:
    """Band-pass and notch, forwards from zero state, or both ways from a steady state."""
    signal = needed("scipy.signal", "filtering")
    apply = signal.sosfiltfilt if settings.mode == "zero-phase" else signal.sosfilt
    for sections in settings.sections():
        x = apply(sections, x, axis=1)
    return x


def _edges(x: Array, rate: float) -> Array:
    """Where each channel stands in its first and its last second, (channels, 2), in uV."""
    second = max(1, round(rate))
    edges = (x[:, :second], x[:, -second:])
    return np.stack([np.median(edge, axis=1) for edge in edges], axis=1)


def _warn_of_levels(
    recording: Recording, settings: Preprocessing, levels: Array, filtered: Array
) -> None:
    """Warn of channels whose deviation is changed by the filters' response to their levels.

    That is the response to a straight line between the levels at both ends: a step at the start,
    and in Fourier resampling another one where the end meets the start.
    """
    steps = recording.signal.shape[1]
    lines = np.stack([np.linspace(1.0, 0.0, steps), np.linspace(0.0, 1.0, steps)])
    responses = _filtered(
        _resampled(lines, recording.sampling_rate, settings.sampling_rate), settings
    )
    responses -= responses.mean(axis=1, keepdims=True)
    # The variance without the response, multiplied out, so that the signal is not copied.
    variances = filtered.var(axis=1)
    shared = (filtered @ responses.T) / filtered.shape[1]
    own = (responses @ responses.T) / filtered.shape[1]
    wrong = []
    for name, level, variance, both in zip(recording.names, levels, variances, shared, strict=True):
        without = variance - 2.0 * level @ both + level @ own @ level
        size = float(np.sqrt(max(without, 0.0) / variance))
        if abs(size - 1.0) > _TOLERATED:
            offsets = f"{level[0]:,.0f} uV at the start and {level[1]:,.0f} uV at the end"
            wrong.append((size, f"{name} has {size:.2g} of its size ({offsets})"))
    if wrong:
        worst = ", ".join(text for _, text in sorted(wrong)[:_LISTED])
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        warnings.warn(
            f"the offsets of the electrodes in {recording.where} change the scale of the EEG, "
            f"since preprocessing 'origin' starts its filters at 0 uV: {worst}{more}; 'causal' and "
            "'zero-phase' start at the first sample",
            stacklevel=3,
        )


def _causal(recording: Recording, settings: Preprocessing) -> Array:
    """The stream's own result, in blocks of a minute so that little memory is taken."""
    online = OnlinePreprocessor(
        replace(settings, mode="causal"), recording.sampling_rate, recording.signal.shape[0]
    )
    block = max(1, round(60 * recording.sampling_rate))
    pieces = [
        online.push(recording.signal[:, start : start + block])
        for start in range(0, recording.signal.shape[1], block)
    ]
    return np.concatenate([*pieces, online.finish()], axis=1)
