"""Simulated events as files: flattenData's CSV and OSDB's JSON."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.files.atomic import replacing
from tcnzoo.training.data.events import SimulatedEvent
from tcnzoo.training.data.movements import RATE
from tcnzoo.training.data.osd.datapoints import SAMPLES

HEADER = (
    *("eventId", "userId", "typeStr", "type", "dataTime"),
    *("osdAlarmState", "osdSpecPower", "osdRoiPower", "hr", "o2sat"),
)
# Heart rate and oxygen of a watch that does not measure them.
UNKNOWN = -1
# Where the watch's own algorithm looks for seizures, in Hz.
REGION = (3.0, 8.0)
TIME = "%Y-%m-%d %H:%M:%S"


def write_csv(path: Path, events: Sequence[SimulatedEvent]) -> None:
    """Write one line for each datapoint, whole or not at all."""
    columns = [f"{axis}{number:03d}" for axis in "MXYZ" for number in range(SAMPLES)]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*HEADER, *columns])
        for event in events:
            kind = event.kind
            for first in event.datapoints:
                magnitude, axes = _samples(event, first)
                spectrum, region = _powers(magnitude)
                time = event.time_of(first).strftime(TIME)
                name = f"{kind.type}/{kind.subtype}"
                head = [event.number, event.user, name, kind.label, time]
                head += [kind.alarm, spectrum, region, UNKNOWN, UNKNOWN]
                lines.writerow([*head, *magnitude.tolist(), *axes.ravel().tolist()])


def write_json(path: Path, events: Sequence[SimulatedEvent]) -> None:
    """Write a list of events with their datapoints, whole or not at all."""
    with replacing(path) as temporary:
        document = [_event(event) for event in events]
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _samples(event: SimulatedEvent, first: int) -> tuple[Array, Array]:
    """Magnitude (125,) and axes (3, 125) of a datapoint."""
    span = slice(first, first + SAMPLES)
    return event.magnitude[span], event.axes[:, span]


def _powers(magnitude: Array) -> tuple[int, int]:
    """Mean power of the spectrum, and of its part where seizures are looked for."""
    power = np.abs(np.fft.rfft(magnitude - magnitude.mean())) ** 2 / SAMPLES
    frequency = np.fft.rfftfreq(SAMPLES, 1.0 / RATE)
    inside = (frequency >= REGION[0]) & (frequency <= REGION[1])
    return int(power.mean()), int(power[inside].mean())


def _event(event: SimulatedEvent) -> dict[str, Any]:
    """One event in the format of the database."""
    kind = event.kind
    document = {
        "id": event.number,
        "userId": event.user,
        "type": kind.type,
        "subType": kind.subtype,
        "dataTime": event.begin.strftime(TIME),
        "osdAlarmState": kind.alarm,
        "dataSourceName": "simulation",
        "desc": f"simulated {event.activity}",
        "datapoints": [_datapoint(event, first) for first in event.datapoints],
    }
    if event.seizure is not None:
        document["seizureTimes"] = [round(second) for second in event.seizure]
    return document


def _datapoint(event: SimulatedEvent, first: int) -> dict[str, Any]:
    """One datapoint in the format of the database."""
    magnitude, axes = _samples(event, first)
    spectrum, region = _powers(magnitude)
    return {
        "dataTime": event.time_of(first).strftime(TIME),
        "eventId": event.number,
        "userId": event.user,
        "alarmState": event.kind.alarm,
        "specPower": spectrum,
        "roiPower": region,
        "hr": UNKNOWN,
        "o2Sat": UNKNOWN,
        "rawData": magnitude.tolist(),
        "rawData3D": axes.T.ravel().tolist(),
    }
