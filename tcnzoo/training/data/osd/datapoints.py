"""Accelerometer events of OpenSeizureDetector: what its CSV and OSDB's JSON have in common.

A row (a datapoint) is 5 s: 125 samples at 25 Hz, in milli-g. The magnitudes are M000 .. M124 in CSV
and `rawData` in JSON, the axes X000 .. Z124 and `rawData3D` (x, y, z in turn).

Source: OpenSeizureDetector, flattenData and Data_Structure.md of its database.
"""

import re
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import cut
from tcnzoo.files.tables import is_missing
from tcnzoo.training.data.instants import instant

SAMPLES = 125
CLASSES = ("other", "seizure")
NEGATIVE, POSITIVE, UNKNOWN = 0, 1, 2
# Type of an event -> class; every other type is UNKNOWN.
TYPES = {"seizure": POSITIVE, "false alarm": NEGATIVE, "nda": NEGATIVE}
LONGEST_NAME = 100
LARGEST = float(np.finfo(np.float32).max)
# pandas writes a column of whole numbers with gaps as 39.0.
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)


class Row(NamedTuple):
    """One datapoint.

    Attributes:
        event: name of its event.
        user: name of the user; empty if unknown.
        label: 0 not a seizure, 1 a seizure, 2 unknown.
        samples: (channels, 125) float32, in milli-g; None, with the reason in `lack`.
        in_seizure: whether it lies in the noted times of the seizure; None where none are noted.
        time: when it was complete, in UTC; None if unknown.
        position: its index among all datapoints; a hole is a missing datapoint.
        kind: type of its event, as the file has it.
        lack: why the datapoint cannot be used; empty if it can.
    """

    event: str
    user: str
    label: int
    samples: Array | None
    in_seizure: bool | None = None
    time: datetime | None = None
    position: int = 0
    kind: str = ""
    lack: str = ""


def name_of(value: Any, what: str, where: str) -> str:
    """The name of an event or user: 39, 39.0, "39" and "39.0" are one; empty if it is missing.

    Raises:
        InputError: a value that is neither text nor a number, or that no sentence could show.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise InputError(f"{where}: {what} must be text or a number, but is {shown(value)}")
    text = "" if value is None else str(value).strip().strip('"').strip()
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise InputError(
            f"{where}: {what} must be at most {LONGEST_NAME} printable characters, but is "
            f"{shown(value)}"
        )
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else "" if is_missing(text) else text


def time_of(value: Any, where: str) -> datetime | None:
    """The instant of a `dataTime`, or None if it is missing.

    Raises:
        InputError: something that is no time.
    """
    if value is None or (isinstance(value, str) and is_missing(value)):
        return None
    time = instant(value) if isinstance(value, str) else None
    if time is None:
        raise InputError(
            f"{where}: dataTime must be like 2022-05-28T07:05:28Z or 28-05-2022 07:05:28, but is "
            f"{shown(value)}"
        )
    return time


def lack_of(samples: Array) -> str:
    """Why samples cannot be used, or nothing.

    Gravity alone is 1000 milli-g, so a datapoint of zeros was not measured: watches without three
    axes send them, and flattenData fills gaps with them.
    """
    return "" if samples.any() else "samples that are all 0"


def shown(value: Any) -> str:
    """A value as an error message shows it."""
    return "null" if value is None else cut(repr(value), 40)
