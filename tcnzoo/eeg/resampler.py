"""Resampling of a signal that comes in chunks."""

from fractions import Fraction

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.needs import needed
from tcnzoo.errors import InputError

# Reach of the filter to each side, in samples of the lower rate, and the shape of its window:
# what scipy.signal.resample_poly takes.
_REACH = 10
_WINDOW = ("kaiser", 5.0)
_LARGEST = 4096


class Resampler:
    """Brings a signal from one rate to another by a polyphase filter, chunk by chunk.

    Output k stands for the time k / target, and is known once the input up to `latency` later has
    come. Before the first and after the last sample the signal goes on as these; a constant stays
    that constant.

    Attributes:
        latency: in s.
    """

    def __init__(self, rate: float, target: float, channels: int) -> None:
        """Design the filter.

        Args:
            rate, target: in Hz.
            channels: of the signal.
        Raises:
            InputError: the rates have no ratio of small whole numbers.
        """
        ratio = Fraction(target / rate).limit_denominator(_LARGEST)
        if abs(float(ratio) * rate / target - 1.0) > 1e-9 or ratio.numerator > _LARGEST:
            raise InputError(
                f"a stream of {rate} Hz cannot be brought to {target:g} Hz: their ratio must be "
                f"one of whole numbers up to {_LARGEST}"
            )
        self._up, self._down = ratio.numerator, ratio.denominator
        widest = max(self._up, self._down)
        self._half = _REACH * widest
        taps = needed("scipy.signal", "resampling").firwin(
            2 * self._half + 1, 1.0 / widest, window=_WINDOW
        )
        count = -(-taps.size // self._up)
        padded = np.zeros(count * self._up)
        padded[: taps.size] = taps
        bank = padded.reshape(count, self._up)
        # Without this the phases differ by 0.001, which makes a wave of an offset.
        self._bank = bank / bank.sum(axis=0)
        self._held = np.zeros((channels, count))
        self._first = -count
        self._came = self._given = 0
        self.latency = self._half / (self._up * rate)

    def push(self, chunk: Array) -> Array:
        """Take (channels, time) at the one rate; return what is known at the other."""
        if self._came == 0 and chunk.shape[1] > 0:
            self._held[:] = chunk[:, :1]
        self._came += chunk.shape[1]
        return self._advanced(chunk)

    def finish(self) -> Array:
        """Return the rest; there are then ceil(time * target / rate) samples in all."""
        total = -(-self._came * self._up // self._down)
        missing = total - self._given
        tail = -(-self._half // self._up) + 1
        return self._advanced(np.repeat(self._held[:, -1:], tail, axis=1))[:, :missing]

    def _advanced(self, chunk: Array) -> Array:
        """Filter the chunk behind what is held; keep what later outputs need."""
        signal = np.concatenate([self._held, chunk], axis=1)
        known = (self._first + signal.shape[1]) * self._up - 1 - self._half
        outputs = np.arange(self._given, max(self._given, known // self._down + 1))
        newest, phase = np.divmod(outputs * self._down + self._half, self._up)
        y = np.zeros((signal.shape[0], outputs.size))
        # Tap by tap, so that the order of the sum does not depend on the chunk.
        for tap, row in enumerate(self._bank):
            y += row[phase] * signal[:, newest - tap - self._first]
        self._given += outputs.size
        oldest = (self._given * self._down + self._half) // self._up - len(self._bank) + 1
        drop = max(0, oldest - self._first)
        self._held, self._first = signal[:, drop:], self._first + drop
        return y
