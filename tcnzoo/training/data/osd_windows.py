"""Windows of accelerometer events: OpenSeizureDetector's rolling buffer after each row."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.augment import augmenter, largest_shift, refuse
from tcnzoo.training.data.config import EventsData, OsdData, Paths
from tcnzoo.training.data.osd import (
    CLASSES,
    NEGATIVE,
    POSITIVE,
    SAMPLES,
    UNKNOWN,
    Row,
    read_rows,
)
from tcnzoo.training.data.windows import WindowDataset, unchanged, zscore

MILLI = np.float32(1e-3)

Config = OsdData | EventsData


def osd_dataset(config: OsdData, paths: Paths) -> WindowDataset:
    """The windows of all events in files.

    Raises:
        InputError: as `read_rows`, or files without a window.
    """
    files = [paths] if isinstance(paths, str) else list(paths)
    rows = chain.from_iterable(read_rows(Path(name), config.signal) for name in files)
    return windows_of(rows, config, ", ".join(files))


def windows_of(rows: Iterable[Row], config: Config, place: str) -> WindowDataset:
    """Cut windows, each ending with a row and labelled as that row is.

    The buffer starts anew with every event, so the first rows of one give no window until it is
    full: with 30 s, the first five.

    Args:
        rows: datapoints, those of an event one after the other.
        config: how windows are made.
        place: where the rows come from, for the sentence of an error.
    Raises:
        InputError: no window, an event of unknown type where these are refused, no user, or no
            noted seizure times where they are wanted.
    """
    refuse(config.augment, config.kind, "transpose")
    length = round(config.window * config.sampling_rate)
    signals: list[Array] = []
    users, events, source, start, targets = [], [], [], [], []
    for event, members in _events(rows, config):
        signal = np.concatenate([row.samples for row in members], axis=1)
        for end, row in enumerate(members, start=1):
            if end * SAMPLES >= length:
                source.append(len(signals))
                start.append(end * SAMPLES - length)
                targets.append(_label(row, config))
        signals.append(signal)
        users.append(members[0].user)
        events.append(event)
    if not start:
        raise InputError(
            f"{place} holds no event of a known type with a window of {config.window:g} s"
        )
    owners = users if config.group_by == "user" else events
    if "" in owners:
        raise InputError(f"{place} does not say whose its events are; group them by event")
    return WindowDataset(
        signals=signals,
        source=np.array(source),
        start=np.array(start),
        length=length,
        targets=np.array(targets, dtype=np.int64),
        names=np.array(owners)[source],
        classes=CLASSES,
        scale=scaler(config.scale),
        augment=augmenter(config.augment),
        phase=largest_shift(config.augment),
        facts={"events": len(signals), "users": len(set(users))},
        seconds=SAMPLES / config.sampling_rate,
    )


def _events(rows: Iterable[Row], config: Config) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one event after the other, without the events that are not wanted."""
    for event, group in groupby(rows, key=lambda row: row.event):
        members = list(group)
        unknown = any(row.label == UNKNOWN for row in members)
        if unknown and config.other == "refuse":
            raise InputError(f"event {event} is neither a seizure nor known to be none")
        if not (unknown and config.other == "drop"):
            yield event, members


def _label(row: Row, config: Config) -> int:
    """Class of the window that ends with a row."""
    if row.label != POSITIVE or config.label == "type":
        return POSITIVE if row.label == POSITIVE else NEGATIVE
    if row.in_seizure is None:
        raise InputError(
            f"event {row.event} is a seizure without noted times; label windows by type"
        )
    return POSITIVE if row.in_seizure else NEGATIVE


def scaler(scale: str) -> Callable[[Array], Array]:
    """The function from milli-g to what the model takes."""
    return {
        "mg": unchanged,
        "g": lambda x: x * MILLI,
        "zscore": zscore,
        "centred": lambda x: (x - x.mean(axis=-1, keepdims=True)) * MILLI,
    }[scale]
