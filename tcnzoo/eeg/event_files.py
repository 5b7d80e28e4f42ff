"""The text of event files, read and written."""

import csv
import io
import json
from datetime import datetime
from typing import Any

from tcnzoo.eeg.events import (
    SEIZURE,
    Annotations,
    Event,
    event_at,
    known_duration,
    number,
    ordered,
)
from tcnzoo.errors import InputError

BACKGROUND = "bckg"
NOTHING = "n/a"
# In the order of epilepsy2bids, the library of SzCORE.
_TSV = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
_KIND = ("eventType", "trial_type")
_CSV = ("channel", "start_time", "stop_time", "label", "confidence")
# The channel of NEDC's term-based files, and its label of any seizure.
_TERM, _SEIZ = "TERM", "seiz"


def write_tsv(annotations: Annotations) -> str:
    """Text of an events.tsv; one line of background stands for no event at all.

    Source:
        BIDS, events files; Dan et al. 2024, arXiv:2402.13005 (SzCORE), with HED-SCORE's labels.
    """
    total = known_duration(annotations)
    start = annotations.start
    # isoformat adds microseconds where there are any.
    when = NOTHING if start is None else start.replace(tzinfo=None).isoformat(sep=" ")
    lines = [
        (
            *(_plain(event.start), _plain(event.duration), event.label, _plain(event.confidence)),
            event.channel or NOTHING,
        )
        for event in annotations.events
    ] or [(_plain(0.0), _plain(total), BACKGROUND, NOTHING, NOTHING)]
    rows = [_TSV, *((*line, when, _plain(total)) for line in lines)]
    return "".join("\t".join(row) + "\n" for row in rows)


def read_tsv(text: str, where: str) -> Annotations:
    """Events of an events.tsv, whose columns may come in any order."""
    lines = [line.split("\t") for line in text.splitlines() if line.strip()]
    names = lines[0] if lines else []
    kind = next((name for name in _KIND if name in names), None)
    if "onset" not in names or "duration" not in names or kind is None:
        raise InputError(
            f"{where} must have the columns onset, duration and eventType, but has "
            f"{', '.join(names) or 'none'}"
        )
    events, rows = [], []
    for place, line in enumerate(lines[1:], start=2):
        here = f"{where}, line {place}"
        if len(line) != len(names):
            raise InputError(f"{here}: {len(names)} columns are needed, but there are {len(line)}")
        row = dict(zip(names, line, strict=True))
        rows.append(row)
        if row[kind] != BACKGROUND:
            events.append(_tsv_event(row, row[kind], here))
    return Annotations(ordered(events), *_recording_of(rows, where))


def _tsv_event(row: dict[str, str], label: str, where: str) -> Event:
    """The event of one line."""
    start = number(row["onset"], "onset", where)
    stop = start + number(row["duration"], "duration", where)
    channel = row.get("channels", NOTHING)
    return event_at(
        where, start, stop, _confidence(row, where), label, None if channel == NOTHING else channel
    )


def _confidence(row: dict[str, str], where: str) -> float:
    """That of a line; 1 where it says none."""
    text = row.get("confidence", NOTHING)
    return 1.0 if text == NOTHING else number(text, "confidence", where)


def _recording_of(rows: list[dict[str, str]], where: str) -> tuple[float | None, datetime | None]:
    """Duration and start of the recording, from the first line that tells."""
    told = [row.get("recordingDuration", NOTHING) for row in rows]
    durations = [number(text, "recordingDuration", where) for text in told if text != NOTHING]
    dates = [row.get("dateTime", NOTHING) for row in rows]
    start = next((_date(text, where) for text in dates if text != NOTHING), None)
    return next(iter(durations), None), start


def _date(text: str, where: str) -> datetime:
    """A date and time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{where}: dateTime must be a date, but is {text!r}") from None


def write_csv_bi(annotations: Annotations) -> str:
    """Text of a CSV_BI file of seizures, to 0.1 ms; every kind of seizure is `seiz` there.

    Source:
        Temple University's NEDC, annotation format csv_v1.0.0.
    """
    head = (
        "version = csv_v1.0.0",
        f"bname = {annotations.name}",
        f"duration = {known_duration(annotations):.4f} secs",
        "montage_file = nedc_eas_default_montage.txt",
        "",
    )
    text = io.StringIO()
    text.writelines(f"# {line}".rstrip() + "\n" for line in head)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for event in annotations.events:
        label = _SEIZ if event.label.startswith(SEIZURE) else event.label
        times = (f"{event.start:.4f}", f"{event.stop:.4f}")
        writer.writerow((event.channel or _TERM, *times, label, f"{event.confidence:.4f}"))
    return text.getvalue()


def read_csv_bi(text: str, where: str) -> Annotations:
    """Events of a CSV_BI file."""
    lines = text.splitlines()
    head = _head(lines)
    numbered = [
        (place, row)
        for place, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
        for row in csv.reader([line])
    ]
    if not numbered or tuple(numbered[0][1]) != _CSV:
        found = ", ".join(numbered[0][1]) if numbered else "none"
        raise InputError(f"{where} must have the columns {', '.join(_CSV)}, but has {found}")
    events = [
        _csv_event(row, f"{where}, line {place}")
        for place, row in numbered[1:]
        if len(row) != len(_CSV) or row[3] != BACKGROUND
    ]
    length = head.get("duration", "").removesuffix("secs").strip()
    duration = number(length, "duration", where) if length else None
    return Annotations(ordered(events), duration, name=head.get("bname", ""))


def _head(lines: list[str]) -> dict[str, str]:
    """What the lines that begin with # say."""
    pairs = [line[1:].partition("=") for line in lines if line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _csv_event(row: list[str], where: str) -> Event:
    """The event of one line."""
    if len(row) != len(_CSV):
        raise InputError(f"{where}: {len(_CSV)} columns are needed, but there are {len(row)}")
    channel, start, stop, label, confidence = row
    return event_at(
        where,
        number(start, "start_time", where),
        number(stop, "stop_time", where),
        number(confidence, "confidence", where),
        SEIZURE if label == _SEIZ else label,
        None if channel == _TERM else channel,
    )


def write_json(annotations: Annotations) -> str:
    """Text of a JSON document of events, with their number and total duration."""
    total = sum(event.duration for event in annotations.events)
    document = {
        "recording": annotations.name,
        "duration": annotations.duration,
        "start": None if annotations.start is None else annotations.start.isoformat(),
        "events": [event_row(event) for event in annotations.events],
        "num_events": len(annotations.events),
        "summary": {
            "event_seconds": total,
            "longest_seconds": max((event.duration for event in annotations.events), default=0.0),
        },
    }
    return json.dumps(document, indent=2) + "\n"


def event_row(event: Event) -> dict[str, Any]:
    """An event as plain data."""
    return {
        "start": event.start,
        "stop": event.stop,
        "confidence": event.confidence,
        "label": event.label,
        "channel": event.channel,
    }


def read_json(text: str, where: str) -> Annotations:
    """Events of a document that `write_json` wrote."""
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    rows = document.get("events") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{where} must be a mapping with a list of 'events'")
    events = [_json_event(row, f"{where}, event {place}") for place, row in enumerate(rows)]
    duration, start = document.get("duration"), document.get("start")
    return Annotations(
        ordered(events),
        None if duration is None else number(duration, "duration", where),
        None if start is None else _date(str(start), where),
        str(document.get("recording", "")),
    )


def _json_event(row: dict[str, Any], where: str) -> Event:
    """An event of the list."""
    channel = row.get("channel")
    return event_at(
        where,
        number(row.get("start"), "start", where),
        number(row.get("stop"), "stop", where),
        number(row.get("confidence", 1.0), "confidence", where),
        str(row.get("label", SEIZURE)),
        None if channel is None else str(channel),
    )


def _plain(value: float) -> str:
    """A number with as many digits as it has, up to a microsecond of a day."""
    return f"{value:.12g}"
