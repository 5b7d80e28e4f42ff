"""Events in time, and the files that hold them: events.tsv, CSV_BI and JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tcnzoo.checkpoint import replacing
from tcnzoo.errors import InputError

SEIZURE = "sz"


@dataclass(frozen=True)
class Event:
    """Something that lasts from one time to another.

    Attributes:
        start, stop: in s from the beginning of the recording.
        confidence: 0 to 1.
        label: as HED-SCORE abbreviates the kind of event, `sz` for any seizure.
        channel: where it is seen, None for the recording as a whole.
    """

    start: float
    stop: float
    confidence: float = 1.0
    label: str = SEIZURE
    channel: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no event."""
        if not 0.0 <= self.start <= self.stop < float("inf"):
            raise InputError(
                f"an event must be 0 <= start <= stop, but is from {self.start} s to {self.stop} s"
            )
        if not 0.0 <= self.confidence <= 1.0:
            raise InputError(f"a confidence must be 0 to 1, but is {self.confidence}")
        for text in (self.label, self.channel or ""):
            if any(sign in text for sign in "\t\r\n"):
                raise InputError(f"a label or channel must be on one line, but is {text!r}")

    @property
    def duration(self) -> float:
        """In s."""
        return self.stop - self.start


@dataclass(frozen=True)
class Annotations:
    """The events of a recording.

    Attributes:
        events: in order of time.
        duration: of the recording, in s; None where the file does not tell.
        start: date and time of the recording, None where nobody knows.
        name: of the recording, without the ending of a file.
    """

    events: tuple[Event, ...]
    duration: float | None = None
    start: datetime | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a duration that is none."""
        if self.duration is not None and not 0.0 < self.duration < float("inf"):
            raise InputError(
                f"the duration of a recording must be above 0 s, but is {self.duration}"
            )

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and stop of every event, those that overlap or touch joined, in order of time."""
        joined: list[tuple[float, float]] = []
        for event in ordered(self.events):
            if joined and event.start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], event.stop))
            elif event.stop > event.start:
                joined.append((event.start, event.stop))
        return joined


def read_events(path: Path) -> Annotations:
    """Read .tsv (BIDS, SzCORE), .csv and .csv_bi (NEDC), or .json; background is left out.

    Raises:
        InputError: no such file, another ending, or a line that is no event.
    """
    read, _ = _functions(path)
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not a text file") from None
    return read(text, repr(str(path)))


def write_events(path: Path, annotations: Annotations) -> None:
    """Write .tsv, .csv, .csv_bi or .json, whole or not at all.

    Raises:
        InputError: another ending, or a .tsv or .csv without the duration of the recording.
    """
    _, write = _functions(path)
    text = write(annotations)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_suffix(path: Path) -> None:
    """Raise InputError for a file that could not be read or written, before the work starts."""
    _functions(path)


def known_duration(annotations: Annotations) -> float:
    """The duration of the recording, or InputError where nobody has told it."""
    if annotations.duration is None:
        raise InputError("the duration of the recording must be known to write this kind of file")
    return annotations.duration


Reader = Callable[[str, str], Annotations]
Writer = Callable[[Annotations], str]


def _functions(path: Path) -> tuple[Reader, Writer]:
    """How to read and to write a kind of file."""
    # Here, since that file needs this one.
    from tcnzoo.eeg import event_files as files

    table: dict[str, tuple[Reader, Writer]] = {
        ".tsv": (files.read_tsv, files.write_tsv),
        ".csv": (files.read_csv_bi, files.write_csv_bi),
        ".csv_bi": (files.read_csv_bi, files.write_csv_bi),
        ".json": (files.read_json, files.write_json),
    }
    if path.suffix.lower() not in table:
        raise InputError(f"events are one of {', '.join(table)}, but got {str(path)!r}")
    return table[path.suffix.lower()]


def number(text: object, what: str, where: str) -> float:
    """A number of a file; `where` is the place as the subject of a sentence.

    Raises:
        InputError: it is none.
    """
    try:
        return float(str(text))
    except ValueError:
        raise InputError(f"{where}: {what} must be a number, but is {text!r}") from None


def event_at(where: str, start: float, stop: float, *rest: float | str | None) -> Event:
    """An event of a file; a refusal says where it stands."""
    try:
        return Event(start, stop, *rest)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def ordered(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events in order of time."""
    return tuple(sorted(events, key=lambda event: (event.start, event.stop)))
