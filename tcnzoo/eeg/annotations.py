"""Events, and those of a recording with its facts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tcnzoo.eeg.labels import SEIZURE
from tcnzoo.eeg.ticks import span_ticks, to_seconds, to_ticks
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import shortened

# Spans that a sentence lists; the others are counted.
_LISTED = 5
# Event scores are in tenths of a second, and resampling adds less than that at the end.
_FINEST = 0.1


@dataclass(frozen=True)
class Event:
    """An event with a start and a stop.

    Attributes:
        start, stop: in s from the beginning of the recording.
        confidence: 0 to 1.
        label: as HED-SCORE abbreviates the kind of event, `sz` for any seizure.
        channel: of the event, None for the recording as a whole.
    """

    start: float
    stop: float
    confidence: float = 1.0
    label: str = SEIZURE
    channel: str | None = None

    def __post_init__(self) -> None:
        """Refuse impossible times, confidences and labels."""
        if not 0.0 <= self.start <= self.stop < float("inf"):
            raise InputError(
                f"an event must be 0 <= start <= stop, but is from {self.start} s to {self.stop} s"
            )
        if not 0.0 <= self.confidence <= 1.0:
            raise InputError(f"a confidence must be 0 to 1, but is {self.confidence}")
        for text in (self.label, self.channel or ""):
            if not is_one_line(text):
                raise InputError(
                    f"a label or channel must be one line of text, but is {shortened(text)}"
                )

    @property
    def duration(self) -> float:
        """In s."""
        return self.stop - self.start


def is_one_line(text: str) -> bool:
    """Whether a text fits a field of a table: no tabs, line ends, or halves of characters."""
    return not any(sign in "\t\r\n" or "\ud800" <= sign <= "\udfff" for sign in text)


@dataclass(frozen=True)
class Annotations:
    """The events of a recording.

    Attributes:
        events: in order of time.
        duration: of the recording, in s; None if the file does not have it.
        start: date and time of the recording, None if unknown.
        name: of the recording, without the ending of a file.
        left_out: labels in a file that are not of seizures, each with its number of events.
        notes: sentences on seizures that were cut or left out.
    """

    events: tuple[Event, ...]
    duration: float | None = None
    start: datetime | None = None
    name: str = ""
    left_out: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a duration of 0, below it, or that is not finite."""
        if self.duration is not None:
            _check_duration(self.duration)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and stop of every event, those that overlap or touch joined, in order of time.

        Times are taken to 10 ns, so that rounding decides no comparison.
        """
        joined: list[tuple[int, int]] = []
        for start, stop in sorted(span_ticks((event.start, event.stop)) for event in self.events):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            elif stop > start:
                joined.append((start, stop))
        return [(to_seconds(start), to_seconds(stop)) for start, stop in joined]


def _check_duration(seconds: float) -> None:
    """Refuse a duration of 0, below it, or that is not finite."""
    if not 0.0 < seconds < float("inf"):
        raise InputError(f"the duration of a recording must be above 0 s, but is {seconds}")


def within(annotations: Annotations, duration: float, side: str = "the truth") -> Annotations:
    """The events with what lies inside of a recording, to be scored.

    An event that goes on past the end is cut there. One that lies outside, or has a duration of 0,
    is left out. Each becomes a warning and a note.

    Args:
        annotations: events on the recording's clock.
        duration: of the recording, in s.
        side: whose events they are, as the subject of a sentence.
    Raises:
        InputError: a duration of 0.
    """
    _check_duration(duration)
    end = to_ticks(duration)
    inside: list[Event] = []
    cut: list[Event] = []
    outside: list[Event] = []
    instants: list[Event] = []
    for event in annotations.events:
        start, stop = span_ticks((event.start, event.stop))
        if start >= stop:
            instants.append(event)
        elif start >= end:
            outside.append(event)
        elif stop > end:
            inside.append(replace(event, stop=duration))
            if event.stop - duration > _FINEST:
                cut.append(event)
        else:
            inside.append(event)
    notes = [
        counted_spans(side, "event", what, [(event.start, event.stop) for event in some])
        for some, what in (
            (cut, f"cut at the end of the recording ({duration:g} s)"),
            (
                outside,
                f"left out, since the start is after the end of the recording ({duration:g} s)",
            ),
            (instants, "left out, since the duration is 0 s"),
        )
        if some
    ]
    if annotations.duration is not None and abs(annotations.duration - duration) > 1.0:
        notes.append(
            f"{side} belongs to a recording of {annotations.duration:g} s, but this one lasts "
            f"{duration:g} s"
        )
    for note in notes:
        warnings.warn(note, stacklevel=3)
    return replace(
        annotations, events=tuple(inside), duration=duration, notes=(*annotations.notes, *notes)
    )


def counted_spans(side: str, noun: str, what: str, spans: Sequence[tuple[float, float]]) -> str:
    """A sentence about some spans, with their number and the first of them."""
    shown = ", ".join(f"{start:g} to {stop:g} s" for start, stop in spans[:_LISTED])
    more = f" and {len(spans) - _LISTED} more" if len(spans) > _LISTED else ""
    return f"{side}: {len(spans)} {noun}{'' if len(spans) == 1 else 's'} {what}: {shown}{more}"


def ordered(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events in order of time."""
    return tuple(sorted(events, key=lambda event: (event.start, event.stop)))
