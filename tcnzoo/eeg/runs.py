"""Masks over time as runs of true steps, worked on as they become known.

Each stage takes and returns Runs: what has become known since the last. Since a run is changed only
by what is near it, the stages hold a few numbers, and the chunks that a signal comes in make no
difference.
"""

from dataclasses import dataclass, field

import numpy as np

from tcnzoo.arrays import Array

Run = tuple[int, int]


@dataclass(frozen=True)
class Runs:
    """What has become known of a mask.

    Attributes:
        closed: first and past-the-last step of each run that has ended since the last time, in
            order.
        open: first step of the run that reaches `known` and may go on; None without one.
        known: how many steps of the mask are known, from the start of the signal.
        final: whether the signal has ended, at step `known`.
    """

    closed: tuple[Run, ...]
    open: int | None
    known: int
    final: bool = False


def runs_of(mask: Array) -> tuple[Array, Array]:
    """First and past-the-last steps of the runs of a mask (time,)."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


@dataclass
class _LongRuns:
    """Runs of one condition that last at least `least` steps, found chunk by chunk."""

    least: int
    going: int = 0

    def push(self, mask: Array, begin: int) -> Array:
        """First steps of the long runs that touch this chunk, which begins at step `begin`."""
        starts, stops = runs_of(mask)
        if len(starts) and starts[0] == 0:
            starts[0] -= self.going
        if len(mask):
            self.going = int(stops[-1] - starts[-1]) if mask[-1] else 0
        long: Array = starts[stops - starts >= self.least] + begin
        return long


class Hysteresis:
    """Probabilities to runs: on after a while at or above one threshold, off after a while below.

    A run begins with the first of `onset` steps in sequence that are >= `on`. It ends with the last
    but one of `offset` steps in sequence that are < `off`: the others of them belong to it.
    """

    def __init__(self, on: float, off: float, onset: int, offset: int) -> None:
        """Begin outside of a run."""
        self._on, self._off = on, off
        self._high, self._low = _LongRuns(onset), _LongRuns(offset)
        self._offset = offset
        self._start: int | None = None
        self._cursor = self._seen = 0

    def push(self, probabilities: Array) -> Runs:
        """Take the next probabilities, (time,)."""
        high = self._high.push(probabilities >= self._on, self._seen)
        low = self._low.push(probabilities < self._off, self._seen)
        self._seen += len(probabilities)
        closed = []
        while (begin := self._next(low if self._start is not None else high)) is not None:
            if self._start is None:
                self._start = self._cursor = begin
            else:
                self._cursor = begin + self._offset - 1
                closed.append((self._start, self._cursor))
                self._start = None
        waiting = self._high.going if self._start is None else 0
        return Runs(tuple(closed), self._start, self._seen - waiting)

    def finish(self) -> Runs:
        """End the signal, and with it a run that is going on."""
        closed = () if self._start is None else ((self._start, self._seen),)
        return Runs(closed, None, self._seen, final=True)

    def _next(self, starts: Array) -> int | None:
        """The first of some starts at or after the cursor."""
        index = int(np.searchsorted(starts, self._cursor))
        return int(starts[index]) if index < len(starts) else None


@dataclass
class Opening:
    """Takes away runs of fewer than `size` steps; what lies outside of the signal counts as true.

    Erosion, then dilation, by windows of `size` steps (odd) that are cut off at the borders.
    """

    size: int

    def push(self, runs: Runs) -> Runs:
        """Keep the runs that are long enough, or that reach a border and are half as long."""
        kept = [
            (start, stop)
            for start, stop in runs.closed
            if self._stays(start, stop, runs.final and stop == runs.known)
        ]
        if runs.open is not None and not self._stays(runs.open, runs.known, at_end=False):
            return Runs(tuple(kept), None, runs.open)
        return Runs(tuple(kept), runs.open, runs.known, runs.final)

    def _stays(self, start: int, stop: int, at_end: bool) -> bool:
        """Whether a window fits into the run and what is outside of the signal."""
        half = self.size // 2
        return stop - start + (half if start == 0 else 0) + (half if at_end else 0) >= self.size


@dataclass
class Closing:
    """Fills gaps of fewer than `size` steps; what lies outside of the signal counts as true.

    Dilation, then erosion, by windows of `size` steps (odd) that are cut off at the borders, so
    that a gap of at most `size // 2` steps at a border is filled too; a mask without any run stays
    so.
    """

    size: int
    _held: Run | None = field(default=None, init=False)
    _any: bool = field(default=False, init=False)

    def push(self, runs: Runs) -> Runs:
        """Join runs; hold the last one back as long as another may join it."""
        done: list[Run] = []
        opened = () if runs.open is None else ((runs.open, runs.known),)
        for start, stop in (*runs.closed, *opened):
            if self._held is not None and start - self._held[1] < self.size:
                self._held = (self._held[0], stop)
                continue
            if self._held is not None:
                done.append(self._held)
            at_border = not self._any and start <= self.size // 2
            self._held, self._any = (0 if at_border else start, stop), True
        if runs.final:
            return Runs((*done, *self._last(runs.known)), None, runs.known, final=True)
        if self._held is not None and (
            runs.open is not None or runs.known - self._held[1] < self.size
        ):
            return Runs(tuple(done), *self._held)
        if self._held is not None:
            done.append(self._held)
            self._held = None
        return Runs(tuple(done), None, self._surely(runs.known))

    def _last(self, length: int) -> tuple[Run, ...]:
        """The run that is held, at the end of a signal."""
        if self._held is None:
            return ()
        start, stop = self._held
        return ((start, length if length - stop <= self.size // 2 else stop),)

    def _surely(self, known: int) -> int:
        """How many of the `known` steps, false since the last run, stay so."""
        return known if self._any or known > self.size // 2 else 0


@dataclass
class MinLength:
    """Takes away runs of fewer than `least` steps."""

    least: int

    def push(self, runs: Runs) -> Runs:
        """Keep the runs that are long enough."""
        kept = tuple(run for run in runs.closed if run[1] - run[0] >= self.least)
        if runs.open is not None and runs.known - runs.open < self.least:
            return Runs(kept, None, runs.open)
        return Runs(kept, runs.open, runs.known, runs.final)
