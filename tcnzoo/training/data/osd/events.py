"""Accelerometer events that have windows: of a wanted type, in runs without gaps."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.config import EventsData, OsdData
from tcnzoo.training.data.left_out import LeftOut
from tcnzoo.training.data.osd.datapoints import POSITIVE, SAMPLES, UNKNOWN, Row
from tcnzoo.training.data.osd.runs import runs_of

Config = OsdData | EventsData


class KeptEvent(NamedTuple):
    """One event.

    Attributes:
        name: of the event.
        user: whose it is; empty where nobody says.
        runs: datapoints without a gap, in the order of time; each run is as long as a window.
    """

    name: str
    user: str
    runs: list[list[Row]]

    @property
    def signal(self) -> Array:
        """All runs, one behind the other: (channels, steps) in milli-g."""
        return np.concatenate([row.samples for run in self.runs for row in run], axis=1)

    @property
    def is_seizure(self) -> bool:
        """Whether its type is a seizure."""
        return any(row.label == POSITIVE for run in self.runs for row in run)


def kept_events(
    events: Mapping[str, list[Row]], config: Config, origin: str, left_out: LeftOut
) -> list[KeptEvent]:
    """The events that give windows.

    Args:
        events: datapoints by the name of their event.
        config: which events are wanted, and how long a window is.
        origin: the files, for error messages.
        left_out: counts what is not used.
    Raises:
        InputError: an event of unknown type or without noted times where these are refused, or
            one of no user or of two.
    """
    kept = []
    for event, datapoints in events.items():
        runs = _runs(event, datapoints, config, left_out)
        if runs:
            kept.append(KeptEvent(event, _user(event, datapoints, config, origin), runs))
    return kept


def _runs(event: str, datapoints: list[Row], config: Config, left_out: LeftOut) -> list[list[Row]]:
    """The runs of an event that are long enough for a window."""
    unknown = [row for row in datapoints if row.label == UNKNOWN]
    if unknown and config.other == "refuse":
        raise InputError(f"event {event} is neither a seizure nor known to be none")
    if unknown and config.other == "drop":
        left_out.add(f"events of type {unknown[0].kind!r}", event, len(datapoints))
        return []
    runs = runs_of(datapoints, SAMPLES / config.sampling_rate, left_out)
    if config.label == "seizure_times":
        runs = _with_times(event, runs, config, left_out)
    length, long_enough = round(config.window * config.sampling_rate), []
    for run in runs:
        if len(run) * SAMPLES >= length:
            long_enough.append(run)
        else:
            left_out.add("in a run shorter than a window", event, len(run))
    return long_enough


def _with_times(
    event: str, runs: list[list[Row]], config: Config, left_out: LeftOut
) -> list[list[Row]]:
    """The runs of an event, if it is no seizure, or one whose times say which datapoints are."""
    datapoints = [row for run in runs for row in run]
    known = [row.in_seizure for row in datapoints if row.label == POSITIVE]
    if not known or (None not in known and any(known)):
        return runs
    lack = "without noted times" if None in known else "whose noted times hold no datapoint"
    if config.untimed == "refuse":
        raise InputError(
            f"event {event} is a seizure {lack}; set untimed to drop or by_type, or label to type"
        )
    if config.untimed == "drop":
        left_out.add(f"seizures {lack}", event, len(datapoints))
        return []
    return [[row._replace(in_seizure=None) for row in run] for run in runs]


def _user(event: str, datapoints: list[Row], config: Config, origin: str) -> str:
    """Whose an event is."""
    users = sorted({row.user for row in datapoints})
    if len(users) > 1:
        raise InputError(
            f"event {event} of {origin} is of two users, {users[0]!r} and {users[1]!r}"
        )
    if not users[0] and config.group_by == "user":
        raise InputError(
            f"event {event} has no user: {origin} does not say whose its events are; group them by "
            "event"
        )
    return users[0]
