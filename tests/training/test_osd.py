"""OpenSeizureDetector's CSV and JSON: its rolling buffer, labels and units, and the simulator."""

import csv
import json

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tcnzoo.training.data import load
from tcnzoo.training.data.config import EventsData, OsdData
from tcnzoo.training.data.event_files import write_csv, write_json
from tcnzoo.training.data.events import events_dataset, simulate
from tcnzoo.training.data.osd.windows import osd_dataset
from tests.support.compare import assert_refused

HEAD = ["eventId", "userId", "typeStr", "type", "dataTime", "osdAlarmState"]
HEAD += ["osdSpecPower", "osdRoiPower", "hr", "o2sat"]
COLUMNS = [f"{axis}{place:03d}" for axis in "MXYZ" for place in range(125)]


def table(rows=((7, "ann", 1, 8), (9, "bob", 0, 6), (7, "ann", 1, 7)), seed=0):
    """Lines of a CSV: for each (event, user, type, lines) noise in whole milli-g."""
    rng = np.random.default_rng(seed)
    lines = []
    for event, user, kind, count in rows:
        for _ in range(count):
            values = rng.integers(-2000, 3000, 500).tolist()
            head = [event, user, '"Seizure/Aura"', kind, "2024-01-01 00:00:00", 0, 1, 1, -1, -1]
            lines.append([*head, *values])
    return lines


def saved(path, lines, header=(*HEAD, *COLUMNS)):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return str(path)


def rolling(lines, length, column=10):
    """The origin's rolling buffer by hand: (windows, labels)."""
    buffer, last, windows, labels = [], None, [], []
    for line in lines:
        if line[0] != last:
            buffer, last = [], line[0]
        buffer = (buffer + line[column : column + 125])[-length:]
        if len(buffer) == length:
            windows.append(list(buffer))
            labels.append(line[3])
    return np.array(windows, dtype=np.float64), labels


def all_of(data):
    return data.batch(np.arange(len(data)))


@pytest.mark.parametrize("window", [5.0, 30.0, 12.4])
def test_windows_are_those_of_the_rolling_buffer(window, tmp_path):
    lines = table()
    path = saved(tmp_path / "a.csv", lines)
    data = osd_dataset(OsdData(path=path, scale="mg", window=window), path)
    expected, labels = rolling(lines, round(window * 25))
    batch = all_of(data)
    assert batch["x"].shape == (len(labels), 1, round(window * 25))
    assert np.array_equal(batch["x"][:, 0], expected)
    assert batch["y"].tolist() == labels
    if window == 30.0:
        assert len(labels) == (8 - 5) + (6 - 5) + (7 - 5)


def test_scales(tmp_path):
    lines = table()
    path = saved(tmp_path / "a.csv", lines)
    raw, _ = rolling(lines, 750)
    expected = {
        "g": raw / 1000,
        "centred": (raw - raw.mean(axis=1, keepdims=True)) / 1000,
        "zscore": (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True),
    }
    for scale, values in expected.items():
        x = all_of(osd_dataset(OsdData(path=path, scale=scale), path))["x"][:, 0]
        # float32 of values up to 3 g.
        assert np.abs(x - values).max() < 1e-6, scale


def test_axes_are_three_channels(tmp_path):
    lines = table()
    path = saved(tmp_path / "a.csv", lines)
    x = all_of(osd_dataset(OsdData(path=path, signal="xyz", scale="mg"), path))["x"]
    for channel in range(3):
        expected, _ = rolling(lines, 750, column=10 + 125 * (channel + 1))
        assert np.array_equal(x[:, channel], expected)


def test_feature_history_columns_count_where_they_are(tmp_path):
    lines = table()
    names = [f"{name}_t-0" for name in COLUMNS]
    path = saved(tmp_path / "a.csv", lines, [*HEAD, *names])
    expected, _ = rolling(lines, 750)
    x = all_of(osd_dataset(OsdData(path=path, scale="mg"), path))["x"]
    assert np.array_equal(x[:, 0], expected)


def test_a_file_of_few_columns_and_decimal_types(tmp_path):
    lines = [[line[0], float(line[3]), line[1], *line[10:135]] for line in table()]
    path = saved(tmp_path / "a.csv", lines, ["eventId", "type", "userId", *COLUMNS[:125]])
    assert all_of(osd_dataset(OsdData(path=path), path))["y"].tolist() == [1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("group_by, names", [("user", "ab"), ("event", "79")])
def test_groups_are_users_or_events(group_by, names, tmp_path):
    path = saved(tmp_path / "a.csv", table())
    groups = osd_dataset(OsdData(path=path, group_by=group_by), path).groups
    assert [group[0] for group in groups] == [*names[0] * 3, names[1], *names[0] * 2]


def test_unknown_events(tmp_path):
    lines = table([(1, "ann", 2, 7), (2, "bob", 0, 6)])
    path = saved(tmp_path / "a.csv", lines)
    kept = osd_dataset(OsdData(path=path), path)
    assert all_of(kept)["y"].tolist() == [0]
    negative = osd_dataset(OsdData(path=path, other="negative"), path)
    assert all_of(negative)["y"].tolist() == [0, 0, 0]
    sentence = "event 1 is neither a seizure nor known to be none"
    assert_refused(InputError, sentence, osd_dataset, OsdData(path=path, other="refuse"), path)


def test_json_is_read_like_csv_and_zeros_behind_the_samples_are_passed_over(tmp_path):
    lines = table()
    events = [
        {"id": 7, "userId": "ann", "type": "Seizure", "datapoints": lines[:8]},
        {"id": 9, "userId": "bob", "type": "False Alarm", "datapoints": lines[8:14]},
    ]
    for event in events:
        event["datapoints"] = [
            {
                "rawData": line[10:135] + [0] * 125,
                "rawData3D": [
                    line[135 + place + axis * 125] for place in range(125) for axis in range(3)
                ],
            }
            for line in event["datapoints"]
        ] + [{"rawData": None}, {}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(events))
    for signal, column in (("magnitude", 10), ("xyz", 135)):
        config = OsdData(path=str(path), signal=signal, scale="mg")
        batch = all_of(osd_dataset(config, str(path)))
        expected, labels = rolling(lines[:14], 750, column)
        assert np.array_equal(batch["x"][:, 0], expected)
        assert batch["y"].tolist() == labels


def test_noted_times_label_datapoints(tmp_path):
    begin = "01-01-2024 00:00:00"
    points = [{"dataTime": f"01-01-2024 00:00:{5 * k:02d}", "rawData": [1] * 125} for k in range(9)]
    event = {"id": 3, "userId": 1, "type": "seizure", "dataTime": begin, "datapoints": points}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([event | {"seizureTimes": [10, 30]}]))
    config = OsdData(path=str(path), label="seizure_times")
    assert all_of(osd_dataset(config, str(path)))["y"].tolist() == [1, 1, 0, 0]
    path.write_text(json.dumps([event]))
    sentence = (
        "event 3 is a seizure without noted times; set untimed to drop or by_type, or label to type"
    )
    assert_refused(InputError, sentence, osd_dataset, config, str(path))


def test_files_that_are_not_what_they_should_be_are_refused(tmp_path):
    def refused(words, name="a.csv", text=None, **options):
        if text is not None:
            (tmp_path / name).write_text(text)
        path = str(tmp_path / name)
        with pytest.raises(InputError, match=words):
            osd_dataset(OsdData(path=path, **options), path)

    refused("^no file at ", "none.csv")
    refused("are a .csv or .json file, but got", "a.txt", "x")
    refused("has no column 'eventId'$", text="")
    refused("has no column 'type'$", text="eventId,M000\n")
    refused(r"must have 125 columns M000 to M124, but has 1$", text="eventId,type,M000\n")
    refused("is not valid JSON", "a.json", "[")
    refused("must hold a list of events$", "a.json", "{}")
    refused("has an event without 'id'$", "a.json", '[{"type": "Seizure"}]')
    point = {"rawData": [1.0, 2.0]}
    event = {"id": 4, "type": "Seizure", "userId": 1, "datapoints": [point]}
    refused(
        "event 4, datapoint 0 has a rawData that is not at least 125", "a.json", json.dumps([event])
    )
    lines = table()
    saved(tmp_path / "a.csv", lines[:5])
    refused("holds no event of a known type with a window of 30 s$")
    lines[2][20] = "nan"
    saved(tmp_path / "a.csv", lines)
    refused("line 4 has samples that are not numbers$")
    lines[2] = lines[2][:100]
    saved(tmp_path / "a.csv", lines)
    refused("line 4 is not 510 cells: it has 100 columns$")
    lines = table()
    lines[2][3] = 5
    saved(tmp_path / "a.csv", lines)
    refused("line 4 has type '5', which is not 0, 1 or 2$")
    lines = [line[:1] + [""] + line[2:] for line in table()]
    saved(tmp_path / "a.csv", lines)
    refused("does not say whose its events are; group them by event$")
    assert osd_dataset(OsdData(path="", group_by="event"), str(tmp_path / "a.csv"))


def test_simulated_events_are_the_same_from_both_files_and_from_memory(tmp_path):
    made = list(simulate(3, 1, 5))
    write_csv(tmp_path / "events.csv", made)
    write_json(tmp_path / "events.json", made)
    for signal in ("magnitude", "xyz"):
        config = EventsData(users=3, events=1, simulation_seed=5, signal=signal, scale="mg")
        expected = events_dataset(config)
        for name in ("events.csv", "events.json"):
            path = str(tmp_path / name)
            found = osd_dataset(OsdData(path=path, signal=signal, scale="mg"), path)
            for key, array in all_of(expected).items():
                assert all_of(found)[key].tobytes() == array.tobytes(), (name, key)
            assert found.groups.tolist() == expected.groups.tolist()
    path = str(tmp_path / "events.json")
    found = osd_dataset(OsdData(path=path, label="seizure_times"), path)
    expected = events_dataset(
        EventsData(users=3, events=1, simulation_seed=5, label="seizure_times")
    )
    assert found.labels.tolist() == expected.labels.tolist()
    assert 0 < found.labels.sum() < (osd_dataset(OsdData(path=path), path).labels == 1).sum()


def test_the_files_have_the_origins_columns(tmp_path):
    write_csv(tmp_path / "events.csv", list(simulate(1, 1, 0)))
    with (tmp_path / "events.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [*HEAD, *COLUMNS]
    m, x, y, z = (np.array(lines[1][10 + 125 * part :][:125], float) for part in range(4))
    # Whole milli-g of a vector of whole milli-g.
    assert np.abs(m - np.sqrt(x**2 + y**2 + z**2)).max() <= 0.5
    assert lines[1][2] == "Seizure/Tonic-Clonic"


def test_activities_are_told_apart_by_where_their_power_lies():
    # Strokes and jerks lie above 2 Hz, a walk's swing below; rest has next to no power.
    power = {}
    for event in simulate(4, 2, 0):
        centred = event.magnitude - event.magnitude.mean()
        spectrum = np.abs(np.fft.rfft(centred)) ** 2 / centred.size**2
        hertz = np.fft.rfftfreq(centred.size, 1 / 25)
        high = spectrum[(hertz > 2.5) & (hertz < 12)].sum()
        power.setdefault(event.activity, []).append((spectrum[1:].sum(), high))
    total = {name: np.median([one for one, _ in found]) for name, found in power.items()}
    high = {name: np.median([one / all_ for all_, one in found]) for name, found in power.items()}
    assert total["rest"] < 0.1 * min(total[name] for name in total if name != "rest")
    assert high["tooth-brushing"] > 0.7
    assert high["walking"] < 0.5
    assert total["tonic-clonic"] > total["tooth-brushing"]


def test_users_are_the_same_whatever_their_number():
    few, many = list(simulate(1, 2, 3)), list(simulate(2, 2, 3))
    for one, other in zip(few, many, strict=False):
        assert one.axes.tobytes() == other.axes.tobytes()
    assert few[0].axes.tobytes() != many[8].axes.tobytes()
    assert few[0].axes.tobytes() != next(simulate(1, 2, 4)).axes.tobytes()


def test_no_user_is_in_two_parts():
    parts = load(EventsData(users=8, events=1), 0)
    users = [set(part.groups) for part in parts.values()]
    assert sum(map(len, users)) == len(set.union(*users)) == 8
    assert all(set(part.labels) == {0, 1} for part in parts.values())
