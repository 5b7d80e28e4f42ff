"""Files that hold no weights: how each kind is read, and what must hold of what was read.

FIF is left out: it is read by MNE, which may not end on a damaged file.
"""

import json
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from tcnzoo.eeg import read_events, read_parts, read_recording, write_events
from tcnzoo.files.signals import read_signal
from tcnzoo.specs import analysis
from tcnzoo.training.data.config import OsdData
from tcnzoo.training.data.osd.windows import osd_dataset
from tcnzoo.zoo import catalog
from tests.fuzzing.rules import Wrong, check_line, refusal
from tests.support.osd_files import counts, point, starts

# Characters of a sentence or a warning.
LONGEST = 1000
# Values of a model that is made as well.
MOST_VALUES = 10**6
OSD_OPTIONS = {
    "signal": ("magnitude", "magnitude", "xyz"),
    "label": ("type", "seizure_times"),
    "untimed": ("by_type", "by_type", "drop", "refuse"),
    "other": ("drop", "negative", "refuse"),
    "group_by": ("event", "user"),
    "window": (5.0, 10.0),
}
SEIZURES = ((), (), ("x", "chew"))

Calls = Sequence[Callable[[], Any]]


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        calls: ways to read a file, with options drawn at random; without, by the first choices.
        check: what they returned (None for a refusal), the file, and a folder to write to -> how
            many checks held; raises Wrong.
    """

    calls: Callable[[Path, Callable[[Sequence[Any]], Any]], Calls]
    check: Callable[[Sequence[Any], Path, Path], int]


def read_or_refused(kind: str, path: Path, case: str | None = None) -> tuple[list[Any], list[str]]:
    """Read a file in every way there is for its kind.

    Args:
        kind: a key of `READERS`.
        path: of the file.
        case: what options follow from; None for the first of each.
    Returns:
        What was returned, None for a refusal, and the sentences of refusals.
    Raises:
        Wrong: a sentence or a warning that is no short line, or a warning of a library.
    """
    choose = (lambda values: values[0]) if case is None else random.Random(f"options {case}").choice
    sentences: list[str] = []
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        values = [refusal(sentences, call) for call in READERS[kind].calls(path, choose)]
    for sentence in sentences:
        check_line(sentence, "refusal", LONGEST)
    for one in given:
        if one.category is not UserWarning:
            raise Wrong(f"{one.category.__name__} in {one.filename}: {one.message}")
        check_line(str(one.message), "warning", LONGEST)
    return values, sentences


# Specs


def _described(path: Path, literal: bool) -> Any:
    """The spec of a file, described, and made where it is small."""
    spec = tcnzoo.load_spec(path, literal=literal)
    facts = catalog.input_facts(path)
    described = analysis.describe(spec, facts.length if facts else None)
    json.dumps(described.to_dict())
    if described.trainable + described.buffers <= MOST_VALUES:
        tcnzoo.create(spec, "numpy")
    return spec


def _spec_calls(path: Path, choose: Callable[[Sequence[Any]], Any]) -> Calls:
    return [partial(_described, path, choose((False, True)))]


def _check_spec(values: Sequence[Any], path: Path, folder: Path) -> int:
    """A spec is the same after it was written."""
    (spec,) = values
    again = folder / "again.json"
    again.write_text(json.dumps(spec.model_dump(mode="json"), allow_nan=False), "utf-8")
    if tcnzoo.load_spec(again) != spec:
        raise Wrong("the spec changes when it is written")
    return 1


# Events


def _event_calls(path: Path, choose: Callable[[Sequence[Any]], Any]) -> Calls:
    return [partial(read_events, path, seizures=choose(SEIZURES))]


def _check_events(values: Sequence[Any], path: Path, folder: Path) -> int:
    """Events are in order and the same after they were written."""
    (found,) = values
    times = [(event.start, event.stop) for event in found.events]
    if times != sorted(times) or not all(0.0 <= start <= stop < np.inf for start, stop in times):
        raise Wrong(f"events are out of order: {times[:4]}")
    again = folder / "again.json"
    write_events(again, found)
    labels = [event.label for event in found.events]
    if read_events(again, seizures=[*labels, "x"]).events != found.events:
        raise Wrong("events change when they are written")
    return 1


# Recordings


def _recording_calls(path: Path, choose: Callable[[Sequence[Any]], Any]) -> Calls:
    return [partial(read_parts, path), partial(read_recording, path)]


def _check_recording(values: Sequence[Any], path: Path, folder: Path) -> int:
    """Samples are finite, parts follow each other, and a whole recording is its parts joined."""
    parts, whole = values
    if parts is None:
        raise Wrong("a recording is read, but its parts are not")
    ends = [part.offset + part.duration for part in parts]
    for part, end in zip(parts[1:], ends, strict=False):
        if part.offset < end - 1.0 / part.sampling_rate:
            raise Wrong(f"a part begins at {part.offset} s, before the end at {end} s")
    for one in (*parts, *([whole] if whole else [])):
        if one.signal.shape[0] != 19 or not np.isfinite(one.signal).all():
            raise Wrong(f"a signal of shape {one.signal.shape} is not finite")
    joined = np.concatenate([part.signal for part in parts], axis=1)
    if whole is not None and len(parts) == 1 and not np.array_equal(joined, whole.signal):
        raise Wrong("the recording is not the part that it has")
    return len(parts)


# Accelerometer events


def _osd_calls(path: Path, choose: Callable[[Sequence[Any]], Any]) -> Calls:
    options = {name: choose(values) for name, values in OSD_OPTIONS.items()}
    config = OsdData(path=str(path), scale="mg", **options)
    return [partial(osd_dataset, config, str(path))]


def _check_osd(values: Sequence[Any], path: Path, folder: Path) -> int:
    """Datapoints are accounted for; where samples are untouched, time runs on in each window."""
    (found,) = values
    counts(found)
    x = found.batch(np.arange(len(found)))["x"]
    if not np.isfinite(x).all():
        raise Wrong("windows are not finite")
    if x.shape[1] == 1 and _has_whole_ramps(path) and None in starts(found, x.shape[2]):
        raise Wrong("a window joins what does not belong together")
    return len(found)


def _has_whole_ramps(path: Path) -> bool:
    """Whether all samples of a JSON file are ramps as `osd_files` makes them."""
    try:
        document = json.loads(path.read_text("utf-8"))
        found = [one["rawData"] for event in document for one in event["datapoints"] or () if one]
    except (ValueError, TypeError, KeyError):
        return False
    return all(one in RAMPS for one in found)


RAMPS = [point(place)["rawData"] for place in range(10)]


# Signals


def _signal_calls(path: Path, choose: Callable[[Sequence[Any]], Any]) -> Calls:
    return [partial(read_signal, path)]


def _check_signal(values: Sequence[Any], path: Path, folder: Path) -> int:
    """A signal has channels and finite values."""
    (found,) = values
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise Wrong(f"a signal of shape {found.shape} is not finite")
    return 1


READERS = {
    "spec": Reader(_spec_calls, _check_spec),
    "events": Reader(_event_calls, _check_events),
    "edf": Reader(_recording_calls, _check_recording),
    "osd": Reader(_osd_calls, _check_osd),
    "csv": Reader(_signal_calls, _check_signal),
}
