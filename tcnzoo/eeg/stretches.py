"""Stretches of a recording without a gap, from the time stamps of its records and its marks."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import NamedTuple

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

# Files mark samples that were never recorded, and joins of two pieces, by these
# words, in any case; they are MNE's.
SKIP, JOINS = "bad_acq_skip", ("edge boundary", "bad boundary")
# A time stamp may err by so many s, or by a sample; and by this part of the time since the record
# before and since the last gap, as an inexact duration of the records or the clock of an amplifier
# makes it err.
_JITTER, _DRIFT = 0.01, 1e-4
# No recording is longer: about three years, in s. A stamp beyond it is damaged.
_LONGEST = 1e8


class Stretch(NamedTuple):
    """Samples `first` to `stop` - 1 of a file; they begin `offset` s after the file's first."""

    first: int
    stop: int
    offset: float


@dataclass(frozen=True)
class Contents:
    """The wanted electrodes of an open file.

    Attributes:
        rate: in Hz.
        start: date and time of the first sample, None if unknown.
        stretches: in order of time.
        read: returns (electrodes, time) in uV of a stretch.
    """

    rate: float
    start: datetime | None
    stretches: tuple[Stretch, ...]
    read: Callable[[Stretch], Array]

    def missing(self) -> list[tuple[float, float]]:
        """When each gap begins and how long it is, in s; 0 s where pieces were put together."""
        gaps, end = [], 0.0
        for index, (first, stop, offset) in enumerate(self.stretches):
            # Half a sample is the rounding of marks that stand between two samples.
            length = offset - end if offset - end > 0.5 / self.rate else 0.0
            if index or length:
                gaps.append((end, length))
            end = offset + (stop - first) / self.rate
        return gaps


class Marks(NamedTuple):
    """What is marked in a file, in s after its first sample: skips (start, stop), and joins."""

    skips: list[tuple[float, float]]
    joins: list[float]


def marks(where: str, texts: Sequence[tuple[float, float, str]]) -> Marks:
    """The marks among the annotations (onset, duration, text) of a file, in s.

    Raises:
        InputError: a mark whose time is no number.
    """
    marked = Marks([], [])
    for onset, duration, text in texts:
        if text.strip().lower() not in (SKIP, *JOINS):
            continue
        if not isfinite(onset + duration):
            raise InputError(f"{where} has a mark {text!r} at {onset} s of {duration} s")
        if text.strip().lower() == SKIP:
            marked.skips.append((onset, onset + duration))
        else:
            marked.joins.append(onset)
    return marked


def runs(
    where: str, stamps: Sequence[float | None], seconds: float, rate: float
) -> list[tuple[int, int, float]]:
    """Records that follow each other without a gap.

    Args:
        where: the file, as the subject of a sentence.
        stamps: when each record begins, in s; None where the file does not say: at the end of the
            record before.
        seconds: duration of a record.
        rate: in Hz.
    Returns:
        First record, the one after the last, and the time of the first in s, for each run.
    Raises:
        InputError: a record that begins before the end of the one before, or a stamp that cannot
            be.
    """
    jitter = max(_JITTER, 1.0 / rate)
    drift = _DRIFT * seconds
    begin = _stamp(where, stamps, 0, 0.0)
    first, end, consecutive = 0, begin + seconds, []
    for record in range(1, len(stamps)):
        stamp = _stamp(where, stamps, record, end)
        expected = begin + (record - first) * seconds
        late = max(stamp - end - drift, stamp - expected - _DRIFT * (expected - begin))
        early = max(end - stamp - drift, expected - stamp - _DRIFT * (expected - begin))
        if early > jitter:
            raise InputError(
                f"{where} has records that overlap: its record {record + 1} begins at {stamp:g} s, "
                f"but the one before ends at {max(end, expected):g} s"
            )
        if late > jitter:
            consecutive.append((first, record, begin))
            first, begin = record, stamp
        end = stamp + seconds
    return [*consecutive, (first, len(stamps), begin)]


def _stamp(where: str, stamps: Sequence[float | None], record: int, otherwise: float) -> float:
    """The time of a record."""
    stamp = stamps[record]
    if stamp is None:
        return otherwise
    if abs(stamp) > _LONGEST:
        raise InputError(
            f"{where} has a damaged time stamp: its record {record + 1} begins at {stamp:g} s"
        )
    return stamp


def cut(stretches: Sequence[Stretch], marked: Marks, rate: float) -> tuple[Stretch, ...]:
    """Take the skips out of stretches, and cut these at joins."""
    spans = _apart([*marked.skips, *((join, join) for join in marked.joins)])
    starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
    pieces: list[Stretch] = []
    for stretch in stretches:
        # A sample more on both sides, since times are rounded to samples.
        begin, end = (
            stretch.offset - 1 / rate,
            stretch.offset + (stretch.stop - stretch.first + 1) / rate,
        )
        near = slice(bisect_left(stops, begin), bisect_right(starts, end))
        pieces += _without(stretch, spans[near], rate)
    return tuple(pieces)


def _apart(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that overlap joined."""
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def _without(
    stretch: Stretch, spans: Sequence[tuple[float, float]], rate: float
) -> Iterator[Stretch]:
    """The rest of a stretch without some spans of time, in s and in order."""
    first, last, offset = stretch
    begin = first
    for span in spans:
        low, high = (min(max(first + round((time - offset) * rate), first), last) for time in span)
        if begin < low:
            yield Stretch(begin, low, offset + (begin - first) / rate)
        begin = max(begin, high)
    if begin < last:
        yield Stretch(begin, last, offset + (begin - first) / rate)
