"""The lines of event files: which of them are seizures, and from when to when these last."""

import math
import re
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from tcnzoo.eeg.annotations import Annotations, Event, counted_spans, ordered
from tcnzoo.eeg.labels import is_background, is_seizure, kind_of, normal
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import shortened

NOTHING = "n/a"
# Python takes more for a number: `1_0`, digits of other scripts.
_NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)
# Labels that a sentence lists; the others are counted.
_LISTED = 10


class Row(NamedTuple):
    """A line of a file as it stands there.

    Attributes:
        where: the place, as the subject of a sentence.
        label: in any case, with blanks or without.
        start: in s.
        start_name: what it is called in the file.
        end: in s: when it stops, or, if it is called `duration`, how long it lasts.
        end_name: what it is called in the file.
        confidence: 0 to 1, or n/a for 1.
        channel: or n/a.
    """

    where: str
    label: str
    start: object
    start_name: str
    end: object
    end_name: str
    confidence: object
    channel: str | None


def collected(lines: Iterable[Row], also: frozenset[str], where: str) -> Annotations:
    """The seizures among some lines; other lines are only counted by their labels.

    What lies before the beginning of the recording is cut off, with a note.

    Args:
        lines: in any order.
        also: labels that stand for seizures besides the usual ones, by `checked_names`.
        where: the file, as the subject of a sentence.
    Raises:
        InputError: a seizure whose times or confidence cannot be.
    """
    events: list[Event] = []
    cut: list[tuple[float, float]] = []
    outside: list[tuple[float, float]] = []
    others: dict[str, tuple[str, int]] = {}
    for row in lines:
        if not is_seizure(row.label, also):
            name, count = others.get(normal(row.label), (row.label.strip(), 0))
            others[normal(row.label)] = (name, count + 1)
            continue
        start, stop = _times(row)
        if -math.inf < start < 0.0 and start <= stop:
            (cut if stop > 0.0 else outside).append((start, stop))
            if stop <= 0.0:
                continue
            start = 0.0
        events.append(_event(row, start, stop))
    left_out = tuple(pair for name, pair in others.items() if not is_background(name))
    notes = tuple(
        counted_spans(where, "seizure", what, some)
        for some, what in (
            (cut, "cut at the start of the recording (0 s)"),
            (outside, "left out, since the end is before the recording starts"),
        )
        if some
    )
    for sentence in (*_on_labels(left_out, where), *notes):
        warnings.warn(sentence, stacklevel=4)
    return Annotations(ordered(events), left_out=left_out, notes=notes)


def number(text: object, what: str, where: str) -> float:
    """A number of a file; `where` is the place as the subject of a sentence.

    Raises:
        InputError: the text is no number.
    """
    if not _NUMBER.fullmatch(str(text).strip()):
        raise InputError(f"{where}: {what} must be a number, but is {shortened(text)}")
    return float(str(text))


def absent(text: object) -> bool:
    """Whether a field says that nothing is known."""
    return text is None or str(text).strip().casefold() in ("", NOTHING, "nan")


def _times(row: Row) -> tuple[float, float]:
    """Start and stop of a seizure, in s, which may lie before the recording."""
    for value, what in ((row.start, row.start_name), (row.end, row.end_name)):
        if absent(value):
            raise InputError(
                f"{row.where}: the {what} of the seizure {shortened(row.label.strip())} is "
                f"{shortened(value)}, so it cannot be scored; write {row.start_name} and "
                f"{row.end_name} as numbers, or remove the event"
            )
    start = number(row.start, row.start_name, row.where)
    end = number(row.end, row.end_name, row.where)
    return start, start + end if row.end_name == "duration" else end


def _event(row: Row, start: float, stop: float) -> Event:
    """The seizure of a line; a refusal says where it stands."""
    confidence = 1.0 if absent(row.confidence) else number(row.confidence, "confidence", row.where)
    channel = None if row.channel is None or absent(row.channel) else row.channel
    try:
        return Event(start, stop, confidence, kind_of(row.label), channel)
    except InputError as error:
        raise InputError(f"{row.where}: {error}") from None


def _on_labels(left_out: tuple[tuple[str, int], ...], where: str) -> list[str]:
    """The warning about labels that are not of seizures."""
    if not left_out:
        return []
    often = sorted(left_out, key=lambda pair: -pair[1])
    shown = ", ".join(f"{shortened(name)} ({count:,})" for name, count in often[:_LISTED])
    more = f" and {len(often) - _LISTED} more labels" if len(often) > _LISTED else ""
    return [
        f"{where}: events that are not labelled as seizures are left out: {shown}{more}; to count "
        "a label as a seizure, use --seizure-label (in Python: seizures=[...])"
    ]
