"""The text of event files, read and written."""

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from tcnzoo.eeg.annotations import Annotations, Event, is_one_line
from tcnzoo.eeg.event_rows import NOTHING, Row, absent, collected, number
from tcnzoo.eeg.labels import ANY_OF_NEDC, BACKGROUND, SEIZURE, is_seizure
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import listed, plain, shortened
from tcnzoo.files.documents import parse_json

# epilepsy2bids 0.0.7, the library of SzCORE, cannot hold what files have: it writes times to 10 ms,
# reads no `SZ`, `seiz` or `trial_type`, no Latin-1 and no parts of seconds in dateTime, turns a
# broken number into n/a instead of refusing it, and needs pandas, numba and pyEDFlib.
# The columns come in its order.
_TSV = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
_KIND = ("eventType", "trial_type")
_CSV = ("channel", "start_time", "stop_time", "label", "confidence")
# The channel of NEDC's term-based files.
_TERM = "TERM"


def write_tsv(annotations: Annotations) -> str:
    """Text of an events.tsv; without an event, one line of background.

    Source:
        BIDS, events files; Dan et al. 2024, arXiv:2402.13005 (SzCORE), with HED-SCORE's labels.
    """
    total = _known_duration(annotations)
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
    table = [_TSV, *((*line, when, _plain(total)) for line in lines)]
    return "".join("\t".join(row) + "\n" for row in table)


def read_tsv(text: str, where: str, also: frozenset[str]) -> Annotations:
    """Seizures of an events.tsv, whose columns may come in any order."""
    numbered = [
        (f"{where}, line {number}", line.split("\t"))
        for number, line in enumerate(_lines(text), start=1)
        if line.strip()
    ]
    names = [name.strip() for name in numbered[0][1]] if numbered else []
    kinds = [name for name in _KIND if name in names]
    if "onset" not in names or "duration" not in names or not kinds:
        raise InputError(
            f"{where} must have the columns onset, duration and eventType, but has "
            f"{listed([plain(name) for name in names]) or 'none'}"
        )
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise InputError(f"{where} has two columns {shortened(twice[0])}")
    needed = 1 + max(map(names.index, ("onset", "duration", kinds[0])))
    facts = [(here, _fields(line, names, needed, here)) for here, line in numbered[1:]]
    events = (_of_tsv(row, kinds, here) for here, row in facts)
    duration, start = (_first(name, facts) for name in ("recordingDuration", "dateTime"))
    return _of_recording(collected(events, also, where), where, duration, start)


def _of_tsv(row: dict[str, str], kinds: list[str], where: str) -> Row:
    """A line of an events.tsv; its label is in the first of these columns that has one."""
    label = next((row[kind] for kind in kinds if not absent(row[kind])), row[kinds[0]])
    times = (row["onset"], "onset", row["duration"], "duration")
    return Row(where, label, *times, row.get("confidence", NOTHING), row.get("channels"))


def _first(name: str, lines: list[tuple[str, dict[str, str]]]) -> str | None:
    """The first known value in a column; None without one."""
    return next((row[name] for _, row in lines if not absent(row.get(name))), None)


def _lines(text: str) -> list[str]:
    """Lines as text editors count them; `splitlines` also splits at signs within a text."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _fields(line: list[str], names: list[str], needed: int, where: str) -> dict[str, str]:
    """The fields of a line by their names; those behind the first `needed` may be missing."""
    full = line + [NOTHING] * (len(names) - len(line))
    if len(line) < needed or any(field.strip() for field in full[len(names) :]):
        raise InputError(f"{where}: {len(names)} columns are needed, but there are {len(line)}")
    return dict(zip(names, full, strict=False))


def _of_recording(
    annotations: Annotations, where: str, duration: object, start: object, name: str = ""
) -> Annotations:
    """The events with duration, start and name of the recording, as far as a file has them."""
    length = None if absent(duration) else number(duration, "the duration", where)
    begin = None if absent(start) else _date(str(start), where)
    if not is_one_line(name):
        raise InputError(
            f"{where}: the name of the recording must be one line of text, but is {shortened(name)}"
        )
    try:
        return replace(annotations, duration=length, start=begin, name=name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _date(text: str, where: str) -> datetime:
    """A date and time."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{where}: dateTime must be a date, but is {shortened(text)}") from None


def write_csv_bi(annotations: Annotations) -> str:
    """Text of a CSV_BI file of seizures, to 0.1 ms; every kind of seizure is `seiz` there.

    Source:
        Temple University's NEDC, annotation format csv_v1.0.0.
    """
    head = (
        "version = csv_v1.0.0",
        f"bname = {annotations.name}",
        f"duration = {_known_duration(annotations):.4f} secs",
        "montage_file = nedc_eas_default_montage.txt",
        "",
    )
    text = io.StringIO()
    text.writelines(f"# {line}".rstrip() + "\n" for line in head)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for event in annotations.events:
        label = ANY_OF_NEDC if is_seizure(event.label) else event.label
        times = (f"{event.start:.4f}", f"{event.stop:.4f}")
        writer.writerow((event.channel or _TERM, *times, label, f"{event.confidence:.4f}"))
    return text.getvalue()


def read_csv_bi(text: str, where: str, also: frozenset[str]) -> Annotations:
    """Seizures of a CSV_BI file."""
    lines = _lines(text)
    numbered = [
        (number, _csv_row(line, f"{where}, line {number}"))
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not numbered or tuple(numbered[0][1]) != _CSV:
        columns = listed([plain(name) for name in numbered[0][1]]) if numbered else "none"
        raise InputError(f"{where} must have the columns {', '.join(_CSV)}, but has {columns}")
    events = (_of_csv(row, f"{where}, line {number}") for number, row in numbered[1:])
    head = _head(lines)
    length = head.get("duration", "").removesuffix("secs").strip()
    name = head.get("bname", "")
    return _of_recording(collected(events, also, where), where, length, None, name)


def _head(lines: list[str]) -> dict[str, str]:
    """Names and values in the lines that begin with #."""
    pairs = [line[1:].partition("=") for line in lines if line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _csv_row(line: str, where: str) -> list[str]:
    """The fields of a line, without blanks around them."""
    try:
        return [field.strip() for row in csv.reader([line]) for field in row]
    except csv.Error as error:
        raise InputError(f"{where} is not CSV: {error}") from None


def _of_csv(fields: list[str], where: str) -> Row:
    """A line of a CSV_BI file."""
    row = _fields(fields, list(_CSV), _CSV.index("label") + 1, where)
    channel = None if row["channel"] == _TERM else row["channel"]
    times = (row["start_time"], "start_time", row["stop_time"], "stop_time")
    return Row(where, row["label"], *times, row["confidence"], channel)


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


def read_json(text: str, where: str, also: frozenset[str]) -> Annotations:
    """Seizures of a document of `write_json`; an event without a label is a seizure."""
    try:
        document = parse_json(text, constants=True)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    events = document.get("events") if isinstance(document, dict) else None
    if not isinstance(events, list) or not all(isinstance(row, dict) for row in events):
        raise InputError(f"{where} must be a mapping with a list of 'events'")
    return _of_recording(
        collected(
            (_of_json(row, f"{where}, event {index}") for index, row in enumerate(events)),
            also,
            where,
        ),
        where,
        document.get("duration"),
        document.get("start"),
        str(document.get("recording", "")),
    )


def _of_json(row: dict[str, Any], where: str) -> Row:
    """An event of the list."""
    label, channel, confidence = (
        row.get("label", SEIZURE),
        row.get("channel"),
        row.get("confidence"),
    )
    return Row(
        where,
        label if isinstance(label, str) else json.dumps(label),
        *(row.get("start"), "start", row.get("stop"), "stop"),
        confidence,
        None if channel is None else str(channel),
    )


def _plain(value: float) -> str:
    """A number with as many digits as it has, up to a microsecond of a day."""
    return f"{value:.12g}"


def _known_duration(annotations: Annotations) -> float:
    """The duration of the recording; InputError where it is unknown."""
    if annotations.duration is None:
        raise InputError("the duration of the recording must be known to write this kind of file")
    return annotations.duration
