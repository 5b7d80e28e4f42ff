"""Windows of accelerometer events: OpenSeizureDetector's rolling buffer after each datapoint."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.augment import augmenter, largest_shift, refuse
from tcnzoo.training.data.config import OsdData, Paths
from tcnzoo.training.data.left_out import LeftOut, sentence
from tcnzoo.training.data.osd.csv_files import csv_rows
from tcnzoo.training.data.osd.datapoints import CLASSES, NEGATIVE, POSITIVE, SAMPLES, Row
from tcnzoo.training.data.osd.events import Config, KeptEvent, kept_events
from tcnzoo.training.data.osd.json_files import json_rows
from tcnzoo.training.data.windows import WindowDataset, unchanged, zscore

MILLI = np.float32(1e-3)
JSON = (".json", ".jsonl", ".ndjson")


class _Run(NamedTuple):
    """Datapoints without a gap: the number of their event, and their first step in its signal."""

    event: int
    begin: int
    rows: list[Row]


def osd_dataset(config: OsdData, paths: Paths) -> WindowDataset:
    """The windows of all events in files.

    Args:
        config: how windows are made.
        paths: one file or several, .csv, .json, .jsonl or .ndjson; an event may be in several.
    Raises:
        InputError: as `read_rows` and `windows_of`, or a file that is named twice.
    """
    files = [paths] if isinstance(paths, str) else list(paths)
    twice = [name for name in files if files.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} is named twice among the files of events")
    left_out = LeftOut()
    return windows_of(read_rows(files, config, left_out), config, ", ".join(files), left_out)


def read_rows(files: Iterable[str], config: OsdData, left_out: LeftOut) -> Iterator[Row]:
    """Yield the datapoints of files, in their order.

    Args:
        files: .csv, .json, .jsonl or .ndjson.
        config: the signal, the rate, and whether noted times are wanted.
        left_out: counts events without datapoints.
    Raises:
        InputError: no such file, another ending, or a file without what is needed.
    """
    position, timed = 0, config.label == "seizure_times"
    for path in map(Path, files):
        if not path.is_file():
            raise InputError(f"no file at {str(path)!r}")
        if path.suffix == ".csv":
            datapoints = csv_rows(path, config.signal, position)
        elif path.suffix in JSON:
            rate = config.sampling_rate
            datapoints = json_rows(path, config.signal, timed, rate, left_out, position)
        else:
            raise InputError(
                f"accelerometer events are a .csv or .json file, but got {str(path)!r}"
            )
        for row in datapoints:
            yield row
            position = row.position + 2  # a hole, so that files do not touch


def windows_of(
    datapoints: Iterable[Row], config: Config, origin: str, left_out: LeftOut | None = None
) -> WindowDataset:
    """Cut windows, each ending with a datapoint and labelled as that one is.

    The buffer starts empty with every event and after every gap, so the first datapoints of a run
    have no window until it is full: with 30 s, the first five. Events are put together by their
    name, and their datapoints in the order of time, see `runs_of`.

    Args:
        datapoints: of all events.
        config: how windows are made.
        origin: the files, for error messages.
        left_out: what is not used, counted; more is added.
    Raises:
        InputError: no window, an event of unknown type where these are refused, no user or two, or
            no noted seizure times where they are wanted.
    """
    refuse(config.augment, config.kind, "transpose")
    left_out = LeftOut() if left_out is None else left_out
    length = round(config.window * config.sampling_rate)
    events: dict[str, list[Row]] = {}
    for row in datapoints:
        events.setdefault(row.event, []).append(row)
    kept = kept_events(events, config, origin, left_out)
    if not kept:
        lost = sentence(left_out.describe())
        where = f"{origin} (left out: {lost})" if lost else origin
        raise InputError(
            f"{where} holds no event of a known type with a window of {config.window:g} s"
        )
    runs = [run for number, event in enumerate(kept) for run in _numbered(number, event)]
    # In the order of the files, which may differ from that of events and times.
    runs.sort(key=lambda run: min(row.position for row in run.rows))
    cut = [
        (run.event, number, run.begin, end * SAMPLES - length, _label(row, config))
        for number, run in enumerate(runs)
        for end, row in enumerate(run.rows, start=1)
        if end * SAMPLES >= length
    ]
    source, numbers, begin, room, targets = np.array(cut, dtype=np.int64).T
    seen = set(source[targets == POSITIVE].tolist())
    names = [event.user if config.group_by == "user" else event.name for event in kept]
    return WindowDataset(
        signals=[event.signal for event in kept],
        source=source,
        start=begin + room,
        room=room,
        run=numbers,
        length=length,
        targets=targets,
        names=np.array(names)[source],
        classes=CLASSES,
        scale=scaler(config.scale),
        augment=augmenter(config.augment),
        phase=largest_shift(config.augment),
        facts=_facts(events, kept, runs, seen, left_out),
        seconds=SAMPLES / config.sampling_rate,
    )


def _facts(
    events: Mapping[str, list[Row]],
    kept: Sequence[KeptEvent],
    runs: Sequence[_Run],
    seen: set[int],
    left_out: LeftOut,
) -> dict[str, Any]:
    """What is used of the events, and what is not; `seen` are those with a window of a seizure."""
    return {
        "events": len(kept),
        "users": len({event.user for event in kept}),
        "runs": len(runs),
        "datapoints": sum(len(run.rows) for run in runs),
        "read": {
            "events": len(left_out.events | set(events)),
            "datapoints": sum(map(len, events.values())),
        },
        "left_out": left_out.describe(),
        "unseen_seizures": [
            event.name
            for number, event in enumerate(kept)
            if event.is_seizure and number not in seen
        ],
    }


def _numbered(number: int, event: KeptEvent) -> Iterator[_Run]:
    """The runs of an event, one behind the other in its signal."""
    begin = 0
    for datapoints in event.runs:
        yield _Run(number, begin, datapoints)
        begin += len(datapoints) * SAMPLES


def _label(row: Row, config: Config) -> int:
    """Class of the window that ends with a datapoint."""
    timed = config.label == "seizure_times" and row.in_seizure is not None
    seizure = row.label == POSITIVE and (row.in_seizure if timed else True)
    return POSITIVE if seizure else NEGATIVE


def scaler(scale: str) -> Callable[[Array], Array]:
    """The function from milli-g to what the model takes."""
    return {
        "mg": unchanged,
        "g": lambda x: x * MILLI,
        "zscore": zscore,
        "centred": lambda x: (x - x.mean(axis=-1, keepdims=True)) * MILLI,
    }[scale]
