"""Damaged tables and event files: each is read, or refused in one sentence."""

import json
import random

import pytest

from tcnzoo.errors import InputError
from tcnzoo.signals import read_signal
from tests.fuzzing import by_bytes, by_json
from tests.osd_files import counts, dataset, event, starts, write_csv

# Enough to meet every kind of change; each takes a millisecond or two.
COUNT = 150
EVENTS = [event(4), event(3, id=2, userId=8, type="NDA", sampleFreq=25)]
CHOICES = {
    "label": ("type", "seizure_times"),
    "untimed": ("refuse", "drop", "by_type"),
    "other": ("drop", "negative", "refuse"),
    "group_by": ("user", "event"),
}
SIGNAL = "a;b\n" + "".join(f"{place},5;{place}\n" for place in range(40))


def read_or_refused(read, *given, **options):
    """What is read, or None after a refusal in one short sentence."""
    try:
        return read(*given, **options)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000
    return None


def bare(events):
    """Events without samples, so that changes meet everything else."""
    kept = ("dataTime",)
    return [
        one | {"datapoints": [{name: point[name] for name in kept} for point in one["datapoints"]]}
        for one in events
    ]


def with_samples(document):
    """Samples for all datapoints that are still mappings."""
    for one in document if isinstance(document, list) else ():
        points = one.get("datapoints") if isinstance(one, dict) else None
        for place, point in enumerate(points if isinstance(points, list) else ()):
            if isinstance(point, dict):
                point.setdefault("rawData", EVENTS[0]["datapoints"][place % 4]["rawData"])
    return document


@pytest.mark.parametrize("part", ["all", "all but samples"])
def test_damaged_json(part, tmp_path):
    path, read = tmp_path / "a.json", 0
    for number in range(COUNT):
        choice = random.Random(f"{part} {number}")
        if part == "all":
            content, how = by_json.text_of(EVENTS, choice)
        else:
            document, how = by_json.changed(bare(EVENTS), choice)
            content = json.dumps(with_samples(document)).encode()
        path.write_bytes(content)
        options = {name: choice.choice(values) for name, values in CHOICES.items()}
        found = read_or_refused(dataset, str(path), **options)
        if found is not None:
            read += 1
            counts(found)
            # A sample may have changed, but what comes from several places never joins.
            assert part == "all" or None not in starts(found), (number, how)
    assert 0.1 * COUNT < read < 0.9 * COUNT


@pytest.mark.parametrize("kind", ["events", "signal"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_damaged_tables(kind, encoding, tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, *EVENTS)
    text = SIGNAL if kind == "signal" else path.read_text()
    for number in range(COUNT // 3):
        choice = random.Random(f"{kind} {encoding} {number}")
        path.write_bytes(text.encode(encoding))
        by_bytes.change_bytes(path, choice, None)
        if kind == "signal":
            found = read_or_refused(read_signal, path)
            assert found is None or (found.ndim == 2 and found.size)
        else:
            options = {name: choice.choice(values) for name, values in CHOICES.items()}
            found = read_or_refused(dataset, str(path), **options)
            if found is not None:
                counts(found)
