"""Accelerometer events of OpenSeizureDetector: its CSV and OSDB's JSON.

A row (a datapoint) is 5 s: 125 samples at 25 Hz, in milli-g. The magnitudes are M000 .. M124 in CSV
and `rawData` in JSON, the axes X000 .. Z124 and `rawData3D` (x, y, z in turn).

Source: OpenSeizureDetector, flattenData and Data_Structure.md of its database.
"""

import csv
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

SAMPLES = 125
CLASSES = ("other", "seizure")
AXES = ("X", "Y", "Z")
NEGATIVE, POSITIVE, UNKNOWN = 0, 1, 2
# Type of an event -> class; every other type is UNKNOWN.
TYPES = {"seizure": POSITIVE, "false alarm": NEGATIVE, "nda": NEGATIVE}
TIMES = ("%d-%m-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S")


class Row(NamedTuple):
    """One datapoint.

    Attributes:
        event: name of its event.
        user: name of whose it is; empty where nobody says.
        label: 0 not a seizure, 1 a seizure, 2 unknown.
        samples: (channels, 125) float32, in milli-g.
        in_seizure: whether it lies in the noted times of the seizure; None where none are noted.
    """

    event: str
    user: str
    label: int
    samples: Array
    in_seizure: bool | None = None


def read_rows(path: Path, signal: str) -> Iterator[Row]:
    """Read datapoints in the order of a file.

    Args:
        path: .csv or .json.
        signal: `magnitude`, or `xyz` for three channels.
    Raises:
        InputError: no such file, another ending, or a file without what is needed.
    """
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    if path.suffix == ".csv":
        return _csv_rows(path, signal)
    if path.suffix == ".json":
        return _json_rows(path, signal)
    raise InputError(f"accelerometer events are a .csv or .json file, but got {str(path)!r}")


def _csv_rows(path: Path, signal: str) -> Iterator[Row]:
    """Datapoints of flattenData's CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        try:
            header = next(lines, [])
            columns = {name: place for place, name in enumerate(header)}
            for name in ("eventId", "type"):
                if name not in columns:
                    raise InputError(f"{str(path)!r} has no column {name!r}")
            places = _sample_columns(path, columns, signal)
            user = columns.get("userId")
            for line in lines:
                yield Row(
                    event=_cell(line, columns["eventId"]),
                    user="" if user is None else _cell(line, user),
                    label=_type(path, lines.line_num, _cell(line, columns["type"])),
                    samples=_samples(path, lines.line_num, line, places),
                )
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{str(path)!r} is not a CSV file: {error}") from None


def _sample_columns(path: Path, columns: dict[str, int], signal: str) -> list[list[int]]:
    """Places of the samples of each channel; columns with feature history end in `_t-0`."""
    found = []
    for letter in ("M",) if signal == "magnitude" else AXES:
        names = [name for name in columns if re.fullmatch(rf"{letter}\d{{3}}_t-0", name)]
        names = names or [name for name in columns if re.fullmatch(rf"{letter}\d{{3}}", name)]
        if len(names) != SAMPLES:
            raise InputError(
                f"{str(path)!r} must have {SAMPLES} columns {letter}000 to {letter}124, but has "
                f"{len(names)}"
            )
        found.append([columns[name] for name in names])
    return found


def _cell(line: list[str], place: int) -> str:
    """A cell, without the quotes that some files have around text; empty where it is missing."""
    return line[place].strip().strip('"') if place < len(line) else ""


def _type(path: Path, number: int, text: str) -> int:
    """A type of 0, 1 or 2, perhaps written 1.0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value not in (NEGATIVE, POSITIVE, UNKNOWN):
        raise InputError(f"{str(path)!r}: line {number} has type {text!r}, which is not 0, 1 or 2")
    return int(value)


def _samples(path: Path, number: int, line: list[str], places: list[list[int]]) -> Array:
    """The samples of a line, (channels, 125)."""
    try:
        samples = np.array([[line[at] for at in row] for row in places]).astype(np.float32)
    except (ValueError, IndexError):
        samples = np.array([np.nan])
    if not np.isfinite(samples).all():
        raise InputError(f"{str(path)!r}: line {number} has samples that are not numbers")
    return samples


def _json_rows(path: Path, signal: str) -> Iterator[Row]:
    """Datapoints of OSDB's JSON; those without samples are passed over, as its own tools do."""
    try:
        events = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not valid JSON: {error}") from None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise InputError(f"{str(path)!r} must hold a list of events")
    key, count = ("rawData", 1) if signal == "magnitude" else ("rawData3D", 3)
    for event in events:
        for name in ("id", "type"):
            if event.get(name) is None:
                raise InputError(f"{str(path)!r} has an event without {name!r}")
        for point in event.get("datapoints") or ():
            values = point.get(key)
            if values:
                yield Row(
                    event=str(event["id"]),
                    user=str(event.get("userId", "")),
                    label=TYPES.get(str(event["type"]).lower(), UNKNOWN),
                    samples=_points(path, event["id"], key, values, count),
                    in_seizure=_in_seizure(event, point),
                )


def _points(path: Path, event: Any, key: str, values: Any, channels: int) -> Array:
    """The samples of a datapoint, (channels, 125); older recorders append zeros."""
    needed = SAMPLES * channels
    try:
        flat = np.array(values, dtype=np.float32)[:needed]
    except (ValueError, TypeError):
        flat = np.array([np.nan], np.float32)
    if flat.shape != (needed,) or not np.isfinite(flat).all():
        raise InputError(
            f"{str(path)!r}: event {event} has a {key} that is not at least {needed} numbers"
        )
    return flat.reshape(SAMPLES, channels).T


def _in_seizure(event: dict[str, Any], point: dict[str, Any]) -> bool | None:
    """Whether a datapoint lies within `seizureTimes`, [first, last] s after the event's time."""
    times = event.get("seizureTimes")
    begin, now = _time(event.get("dataTime")), _time(point.get("dataTime"))
    if not times or begin is None or now is None:
        return None
    seconds = (now - begin).total_seconds()
    return bool(times[0] <= seconds <= times[1])


def _time(text: Any) -> datetime | None:
    """A time in one of the notations that the database has had."""
    for form in TIMES:
        try:
            return datetime.strptime(str(text), form).replace(tzinfo=None)
        except ValueError:
            continue
    return None
