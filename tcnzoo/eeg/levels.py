"""Constant offsets of electrodes, tens of mV in DC-coupled amplifiers."""

import numpy as np

from tcnzoo.arrays import Array


class Levels:
    """Subtracts the first sample of each channel, so that filters start in the steady state.

    A band-pass that starts from zero state on x - x[0] returns what it would return on x after an
    infinite past of x[0]. A sample that is NaN or infinite counts as the last finite one of its
    channel, or as the first finite one if it has no finite sample before.
    """

    def __init__(self, channels: int) -> None:
        """Start before the first sample."""
        self._level = np.full((channels, 1), np.nan)
        self._last = np.zeros((channels, 1))

    def push(self, chunk: Array) -> Array:
        """(channels, time), uV -> float64, finite, minus the first sample of each channel."""
        x = np.asarray(chunk, dtype=np.float64)
        if x.shape[1] == 0:
            return x
        good = np.isfinite(x)
        first = np.take_along_axis(x, good.argmax(axis=1)[:, None], axis=1)
        unknown = np.isnan(self._level) & good.any(axis=1, keepdims=True)
        self._level = np.where(unknown, first, self._level)
        moved: Array = x - np.nan_to_num(self._level)
        if not good.all():
            moved = self._filled(moved, good)
        self._last = moved[:, -1:].copy()
        return moved

    def _filled(self, x: Array, good: Array) -> Array:
        """NaN and infinity replaced by the last finite sample."""
        known = np.concatenate([self._last, np.where(good, x, 0.0)], axis=1)
        places = np.where(good, np.arange(1, known.shape[1]), 0)
        newest = np.maximum.accumulate(places, axis=1)
        filled: Array = np.take_along_axis(known, newest, axis=1)
        return filled
