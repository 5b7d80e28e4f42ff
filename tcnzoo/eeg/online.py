"""Preprocessing of a signal that comes in chunks: any chunking gives the same numbers."""

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.filters import Preprocessing
from tcnzoo.eeg.levels import Levels
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.resampler import Resampler
from tcnzoo.errors import InputError


class RunningScale:
    """Takes from each sample the mean of the past and divides by its deviation.

    The sample itself is part of the past. A sample that is older by t counts exp(-t / time
    constant), or as much as the newest where there is no time constant; the weights are divided by
    their sum, so that nothing pulls the first values to 0.
    """

    def __init__(self, channels: int, rate: float, time_constant: float | None, epsilon: float):
        """Start without a past; arguments as in Preprocessing."""
        decay = 1.0 if time_constant is None else float(np.exp(-1.0 / (time_constant * rate)))
        self._recursion = [1.0, -decay]
        self._epsilon = epsilon
        self._channels = channels
        # Weighted sums so far: of the weights, and of each channel and its squares.
        self._state = np.zeros((1 + 2 * channels, 1))
        self._filter = needed("scipy.signal", "filtering").lfilter

    def push(self, x: Array) -> Array:
        """(channels, time) -> the same, scaled."""
        terms = np.empty((len(self._state), x.shape[1]))
        split = 1 + self._channels
        terms[0] = 1.0
        terms[1:split] = x
        np.multiply(x, x, out=terms[split:])
        sums, self._state = self._filter([1.0], self._recursion, terms, axis=1, zi=self._state)
        mean = sums[1:split] / sums[0]
        deviation = np.sqrt(np.maximum(sums[split:] / sums[0] - mean * mean, 0.0))
        scaled: Array = (x - mean) / (deviation + self._epsilon)
        return scaled


class OnlinePreprocessor:
    """The mode `causal` of Preprocessing, with its state.

    It begins in the steady state of each channel's first sample.

    Attributes:
        latency: of the resampler, in s: 0 where the rates agree. The filters delay a wave by their
            phase, as any causal filter does, but no output waits for them.
    """

    def __init__(self, settings: Preprocessing, rate: float, channels: int) -> None:
        """Start before the first sample.

        Args:
            settings: of mode `causal`.
            rate: of the chunks, in Hz.
            channels: of the chunks.
        Raises:
            InputError: another mode, or a rate that cannot be brought to that of `settings`.
            BackendMissing: scipy is not installed.
        """
        if settings.mode != "causal":
            raise InputError(
                f"preprocessing {settings.mode!r} needs all of a recording, so it cannot stream; "
                "use 'causal'"
            )
        if not 0.0 < rate < float("inf"):
            raise InputError(f"the sampling rate must be above 0 Hz, but is {rate}")
        target = settings.sampling_rate
        self._levels = Levels(channels)
        self._resampler = None if rate == target else Resampler(rate, target, channels)
        self._filter = needed("scipy.signal", "filtering").sosfilt
        self._sections = np.concatenate(settings.sections())
        self._state = np.zeros((len(self._sections), channels, 2))
        self._scale = RunningScale(channels, target, settings.time_constant, settings.epsilon)
        self._clip = settings.clip
        self._channels = channels
        self.latency = 0.0 if self._resampler is None else self._resampler.latency

    def push(self, chunk: Array) -> Array:
        """Take the next samples.

        Args:
            chunk: (channels, time) in uV, of any number of steps; NaN and infinity count as the
                last good sample of their channel.
        Returns:
            (channels, time) float32 at the rate of the settings, of the steps that are known.
        Raises:
            InputError: another shape.
        """
        if chunk.ndim != 2 or chunk.shape[0] != self._channels:
            raise InputError(
                f"a chunk must be ({self._channels}, time), but has shape {chunk.shape}"
            )
        x = self._levels.push(chunk)
        return self._filtered(x if self._resampler is None else self._resampler.push(x))

    def finish(self) -> Array:
        """Return the steps that waited for more, after the last chunk."""
        if self._resampler is None:
            return np.zeros((self._channels, 0), dtype=np.float32)
        return self._filtered(self._resampler.finish())

    def _filtered(self, x: Array) -> Array:
        """Filter and scale samples that have the right rate."""
        if x.shape[1] == 0:
            return x.astype(np.float32)
        x, self._state = self._filter(self._sections, x, axis=1, zi=self._state)
        scaled = self._scale.push(x)
        return np.clip(scaled, -self._clip, self._clip, out=scaled).astype(np.float32)
