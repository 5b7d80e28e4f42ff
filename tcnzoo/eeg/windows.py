"""A long signal in windows of fixed length, and their outputs stitched together."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

Stitching = Literal["overlap_add", "overlap_add_weighted", "max"]


@dataclass(frozen=True)
class Windows:
    """How a signal is cut.

    Attributes:
        size: steps of a window.
        stride: steps from the start of one to that of the next; the last one is moved back to end
            with the signal.
        stitching: what a step gets that lies in several windows: `overlap_add` the mean of their
            outputs, `overlap_add_weighted` the mean with weights that rise from 0.5 at the edges of
            a window to 1 in its middle, `max` the largest.
    Source:
        The defaults are those of brain-go-brr-v2: 60 s every 10 s, at 256 Hz.
    """

    size: int = 15360
    stride: int = 2560
    stitching: Stitching = "overlap_add"

    def __post_init__(self) -> None:
        """Refuse windows that would leave steps out."""
        if not 1 <= self.stride <= self.size:
            raise InputError(
                f"the stride of windows must be 1 to their size, {self.size}, but is {self.stride}"
            )
        if self.stitching not in get_args(Stitching):
            raise InputError(
                f"stitching must be one of {', '.join(get_args(Stitching))}, "
                f"but is {self.stitching!r}"
            )

    def starts(self, length: int) -> Array:
        """First steps of the windows that cover `length` steps."""
        last = max(0, length - self.size)
        starts = np.arange(0, last + 1, self.stride)
        return starts if starts[-1] == last else np.append(starts, last)

    def cut(self, signal: Array, starts: Array) -> Array:
        """Windows (window, channels, size) of a signal (channels, time), with zeros behind it."""
        pieces = np.zeros((len(starts), signal.shape[0], self.size), dtype=signal.dtype)
        for piece, start in zip(pieces, starts, strict=True):
            part = signal[:, start : start + self.size]
            piece[:, : part.shape[1]] = part
        return pieces


class Stitcher:
    """Stitches probabilities of windows together, in any order."""

    def __init__(self, windows: Windows, length: int) -> None:
        """Begin with none of `length` steps."""
        self._windows = windows
        self._largest = windows.stitching == "max"
        self._sum = np.zeros(length)
        self._weight = np.zeros(length)
        self._shape = np.ones(windows.size)
        if windows.stitching == "overlap_add_weighted":
            to_edge = np.minimum(np.arange(windows.size), np.arange(windows.size)[::-1])
            self._shape = 0.5 + 0.5 * to_edge / max(1, to_edge.max())

    def add(self, start: int, probabilities: Array) -> None:
        """Add one window, (size,), that begins at step `start`."""
        if probabilities.shape != (self._windows.size,):
            raise InputError(
                f"a window must have shape {(self._windows.size,)}, but has {probabilities.shape}"
            )
        span = slice(start, min(start + self._windows.size, len(self._sum)))
        count = span.stop - start
        if self._largest:
            np.maximum(self._sum[span], probabilities[:count], out=self._sum[span])
        else:
            self._sum[span] += self._shape[:count] * probabilities[:count]
        self._weight[span] += 1.0 if self._largest else self._shape[:count]

    def result(self) -> Array:
        """Probabilities of all steps, (time,), between 0 and 1.

        Raises:
            InputError: a step that no window has covered.
        """
        if not self._weight.all():
            raise InputError(f"no window covers step {int(np.argmin(self._weight))}")
        stitched = self._sum if self._largest else self._sum / self._weight
        return np.clip(stitched, 0.0, 1.0)
