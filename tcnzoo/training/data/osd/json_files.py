"""Datapoints of OSDB's JSON: a list of events, one event, or an event a line (NDJSON)."""

import json
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import plain
from tcnzoo.files.documents import without_twins
from tcnzoo.files.tables import text_lines
from tcnzoo.training.data.left_out import LeftOut
from tcnzoo.training.data.osd.datapoints import (
    LARGEST,
    POSITIVE,
    SAMPLES,
    TYPES,
    UNKNOWN,
    Row,
    lack_of,
    name_of,
    shown,
    time_of,
)

Event = dict[str, Any]


def json_rows(
    path: Path, signal: str, timed: bool, rate: float, left_out: LeftOut, first: int
) -> Iterator[Row]:
    """Yield the datapoints of all events, in the order of the file.

    Args:
        path: of the file.
        signal: `magnitude`, or `xyz` for three channels.
        timed: whether the noted times of seizures are wanted.
        rate: in Hz; an event that was sampled at another is an error.
        left_out: counts events without datapoints.
        first: position of the first datapoint.
    Raises:
        InputError: not JSON, no events, or an event or datapoint that is not what it should be.
    """
    position = first
    for number, event in enumerate(_events(path)):
        name, label = _head(path, number, event, rate)
        where = f"{str(path)!r}: event {name}"
        user = name_of(event.get("userId"), "userId", where)
        points = event.get("datapoints")
        if points is not None and not isinstance(points, list):
            raise InputError(f"{where}: datapoints must be a list, but is {shown(points)}")
        if not points:
            left_out.add("an event without datapoints", name, 0)
            continue
        span = _span(event, where) if timed and label == POSITIVE else None
        for index, point in enumerate(points):
            here = f"{where}, datapoint {index}"
            time, samples, lack = _datapoint(point, signal, here)
            yield Row(
                event=name,
                user=user,
                label=label,
                samples=samples,
                in_seizure=_within(time, span),
                time=time,
                position=position + index,
                kind=plain(str(event["type"])),
                lack=lack,
            )
        position += len(points) + 1  # a hole, so that events do not touch


def _events(path: Path) -> list[Event]:
    """The events of a file."""
    text = "".join(text_lines(path))
    try:
        events = _parsed(text)
    except (ValueError, RecursionError) as error:
        events = _lines(path, text, error)
    if isinstance(events, dict) and ("datapoints" in events or "id" in events):
        events = [events]
    if not isinstance(events, list):
        raise InputError(f"{str(path)!r} must hold a list of events")
    for number, event in enumerate(events):
        if not isinstance(event, dict):
            raise InputError(
                f"{str(path)!r} must hold a list of events, but entry {number} is {shown(event)}"
            )
    return events


def _lines(path: Path, text: str, error: Exception) -> list[Any]:
    """The values of a file with one a line."""
    events = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            events += [_parsed(line)] if line.strip() else []
        except (ValueError, RecursionError) as wrong:
            said = f"line {number}: {wrong}" if events else error
            raise InputError(f"{str(path)!r} is not valid JSON: {said}") from None
    if not events:
        raise InputError(f"{str(path)!r} is not valid JSON: {error}")
    return events


def _parsed(text: str) -> Any:
    """The value of a JSON text whose mappings have every key once."""
    return json.loads(text, object_pairs_hook=without_twins)


def _head(path: Path, number: int, event: Event, rate: float) -> tuple[str, int]:
    """Name and class of an event."""
    name = name_of(event.get("id"), "id", f"{str(path)!r}: entry {number}")
    for key in ("id", "type"):
        if key not in event or not (name or key != "id"):
            raise InputError(f"{str(path)!r} (entry {number}) has an event without {key!r}")
    _check_rate(event.get("sampleFreq"), rate, f"{str(path)!r}: event {name}")
    return name, TYPES.get(" ".join(str(event["type"]).lower().split()), UNKNOWN)


def _check_rate(value: Any, rate: float, where: str) -> None:
    """Check the sampling rate of an event with the wanted one; 0 and less are unknown."""
    if value is None:
        return
    try:
        known = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        known = math.nan
    if math.isnan(known):
        raise InputError(f"{where}: sampleFreq must be a number of Hz, but is {shown(value)}")
    if known > 0 and known != rate:
        raise InputError(f"{where} was sampled at {known:g} Hz, but sampling_rate is {rate:g} Hz")


def _datapoint(point: Any, signal: str, where: str) -> tuple[datetime | None, Array | None, str]:
    """Time and samples of a datapoint, and why it has none."""
    if point is None:
        return None, None, "a null datapoint"
    if not isinstance(point, dict):
        raise InputError(f"{where} must be a mapping, but is {shown(point)}")
    time = time_of(point.get("dataTime"), where)
    key, channels = ("rawData", 1) if signal == "magnitude" else ("rawData3D", 3)
    values = point.get(key)
    if values is None or (isinstance(values, list) and all(value is None for value in values)):
        return time, None, f"no {key}"
    samples = _samples(values, key, channels, where)
    return time, samples, lack_of(samples)


def _samples(values: Any, key: str, channels: int, where: str) -> Array:
    """The samples of a datapoint, (channels, 125); older recorders append zeros."""
    needed = SAMPLES * channels
    numbers = isinstance(values, list) and {type(value) for value in values} <= {int, float}
    if not numbers or len(values) < needed or not all(abs(v) <= LARGEST for v in values):
        raise InputError(f"{where} has a {key} that is not at least {needed} numbers")
    if any(values[needed:]):
        raise InputError(
            f"{where} has a {key} of {len(values)} numbers, but 5 s at 25 Hz are {needed}, and "
            "only zeros may follow"
        )
    return np.array(values[:needed], dtype=np.float32).reshape(SAMPLES, channels).T


def _span(event: Event, where: str) -> tuple[datetime, float, float] | None:
    """When an event was, and the first and last second of its seizure from there."""
    times = event.get("seizureTimes")
    if times is None or times == []:
        return None
    numbers = isinstance(times, list) and {type(value) for value in times} <= {int, float}
    if not numbers or len(times) != 2 or not -LARGEST <= times[0] <= times[1] <= LARGEST:
        raise InputError(
            f"{where}: seizureTimes must be the first and the last second of the seizure, but is "
            f"{shown(times)}"
        )
    begin = time_of(event.get("dataTime"), where)
    return None if begin is None else (begin, *times)


def _within(time: datetime | None, span: tuple[datetime, float, float] | None) -> bool | None:
    """Whether an instant lies within a span; None where one of them is not known."""
    if time is None or span is None:
        return None
    begin, first, last = span
    return bool(first <= (time - begin).total_seconds() <= last)
