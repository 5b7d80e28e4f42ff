"""Files of accelerometer events: what is in them, what is left out and counted, what is refused."""

import codecs
import csv
import io
import json
import math

import numpy as np
import pytest

from tcnzoo.backends import numpy as plain
from tcnzoo.errors import InputError
from tcnzoo.training import train
from tcnzoo.training.data import load
from tcnzoo.training.data.config import OsdData
from tests.support.osd_files import (
    HEADER,
    counts,
    csv_line,
    dataset,
    event,
    starts,
    write_json,
    written,
)
from tests.support.runs import PlainStepper

ALL = list(range(9))
LINES = "\n".join(json.dumps(event(4, id=number)) for number in (1, 2))

TEXTS = {
    "a list": (json.dumps([event(4), event(4, id=2)]), [0, 1, 2] * 2),
    "one event": (json.dumps(event(4)), [0, 1, 2]),
    "one event over many lines": (json.dumps(event(4), indent=1), [0, 1, 2]),
    "an event a line": (LINES, [0, 1, 2] * 2),
    "an event a line, and empty lines": (f"\n{LINES}\r\n\r\n".replace("\n", "\r\n"), [0, 1, 2] * 2),
    "UTF-8 with a mark": (codecs.BOM_UTF8 + json.dumps([event(4)]).encode(), [0, 1, 2]),
    "an event a line with a mark": (codecs.BOM_UTF8 + LINES.encode(), [0, 1, 2] * 2),
    "UTF-16": (json.dumps([event(4)]).encode("utf-16"), [0, 1, 2]),
}


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson"])
@pytest.mark.parametrize("text, expected", TEXTS.values(), ids=TEXTS.keys())
def test_json_in_any_of_its_forms(text, expected, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert starts(dataset(str(path))) == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is not valid JSON"),
        ("[", "is not valid JSON"),
        ('[{"id": 1}', "is not valid JSON"),
        (f"{LINES}\n{{", "is not valid JSON: line 3: "),
        ("[" * 100_000, "is not valid JSON"),
        (
            LINES.replace('"id": 2', '"id": 2, "id": 3'),
            "JSON: line 2: the key 'id' stands twice in one mapping$",
        ),
        (
            '[{"id": 1, "type": "NDA", "id": 1}]',
            "is not valid JSON: the key 'id' stands twice in one mapping$",
        ),
        ("null", "must hold a list of events$"),
        ("3", "must hold a list of events$"),
        ('"x"', "must hold a list of events$"),
        ('{"events": []}', "must hold a list of events$"),
        ("[1]", "must hold a list of events, but entry 0 is 1$"),
        ("[null]", "must hold a list of events, but entry 0 is null$"),
        (f"{LINES}\n[]", r"must hold a list of events, but entry 2 is \[\]$"),
        ("[]", "holds no event of a known type with a window of 10 s$"),
        ('[{"type": "Seizure"}]', r"\(entry 0\) has an event without 'id'$"),
        ('[{"id": null, "type": "Seizure"}]', r"\(entry 0\) has an event without 'id'$"),
        ('[{"id": 1}]', r"\(entry 0\) has an event without 'type'$"),
        (
            '[{"id": [1], "type": "Seizure"}]',
            r"entry 0: id must be text or a number, but is \[1\]$",
        ),
        ("[" + "9" * 5000 + "]", "is not valid JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_other_documents_are_refused(text, words, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        dataset(str(path))


def test_null_datapoints_are_skipped_and_counted(tmp_path):
    one = event()
    one["datapoints"][4] = None
    one["datapoints"].append(None)
    found = dataset(write_json(tmp_path / "a.json", one))
    assert starts(found) == [0, 1, 2, 5, 6, 7, 8]
    assert counts(found) == {"a null datapoint": 2}


@pytest.mark.parametrize("value", [[], [1, 2], "x", 3, True, 1.5])
def test_a_datapoint_that_is_no_mapping_is_refused(value, tmp_path):
    one = event()
    one["datapoints"][3] = value
    with pytest.raises(InputError, match=": event 1, datapoint 3 must be a mapping, but is "):
        dataset(write_json(tmp_path / "a.json", one))


@pytest.mark.parametrize("value", [{"0": {}}, "x", 3, True])
def test_datapoints_that_are_no_list_are_refused(value, tmp_path):
    path = write_json(tmp_path / "a.json", event(), event(id=2, datapoints=value))
    with pytest.raises(InputError, match=": event 2: datapoints must be a list, but is "):
        dataset(path)


@pytest.mark.parametrize("value", [None, []])
def test_an_event_without_datapoints_is_counted(value, tmp_path):
    found = dataset(write_json(tmp_path / "a.json", event(), event(id="x", datapoints=value)))
    assert found.describe()["read"] == {"events": 2, "datapoints": 10}
    assert found.describe()["left_out"] == {
        "an event without datapoints": {"datapoints": 0, "events": 1, "such as": ["x"]}
    }


RAW = list(range(1000, 1125))


@pytest.mark.parametrize(
    "samples",
    [
        *(RAW[:-1], [1.0, 2.0], [*RAW[:-1], None], [*RAW[:-1], "1124"], [*RAW[:-1], True]),
        *([[value] for value in RAW], [*RAW[:-1], float("nan")], [*RAW[:-1], float("-inf")]),
        *([*RAW[:-1], 1e39], [*RAW[:-1], 10**400], "1000", 3, {"0": 1}, True, [*RAW, 0, 7]),
        *([*RAW, None], [*RAW, "0"], RAW * 2),
    ],
    ids=lambda value: repr(value)[-12:],
)
def test_samples_that_are_none_are_refused_by_event_and_datapoint(samples, tmp_path):
    one = event()
    one["datapoints"][3]["rawData"] = samples
    path = write_json(tmp_path / "a.json", event(id=2), one)
    with pytest.raises(InputError, match=": event 1, datapoint 3 has a rawData ") as said:
        dataset(path)
    assert "\n" not in str(said.value)
    # The axes of the same datapoint are whole.
    assert starts(dataset(path, signal="xyz")) == ALL * 2


def test_axes_of_another_length_are_refused(tmp_path):
    for count in (124, 125, 374):
        one = event()
        one["datapoints"][3]["rawData3D"] = one["datapoints"][3]["rawData3D"][:count]
        path = write_json(tmp_path / "a.json", one)
        with pytest.raises(
            InputError, match="datapoint 3 has a rawData3D that is not at least 375"
        ):
            dataset(path, signal="xyz")
        assert starts(dataset(path)) == ALL


def test_zeros_behind_the_samples_are_passed_over(tmp_path):
    one = event()
    for member in one["datapoints"]:
        member["rawData"] += [0] * 125
        member["rawData3D"] += [0.0] * 3
    path = write_json(tmp_path / "a.json", one)
    assert starts(dataset(path)) == starts(dataset(path, signal="xyz")) == ALL


MISSING = {"null": None, "no samples": [], "all null": [None] * 375}


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING.keys())
@pytest.mark.parametrize("form", ["json", "csv"])
def test_events_without_axes_are_counted(value, form, tmp_path):
    flat, part = event(id=2), event(id=3)
    for member in [*flat["datapoints"], part["datapoints"][5]]:
        member["rawData3D"] = value
    found = dataset(written(tmp_path, form, event(), flat, part), signal="xyz")
    assert starts(found) == [*ALL, 0, 1, 2, 3, 6, 7, 8]
    facts = found.describe()
    assert facts["events"] == 2
    assert facts["read"] == {"events": 3, "datapoints": 30}
    reason = "no rawData3D" if form == "json" else "no samples"
    assert facts["left_out"] == {reason: {"datapoints": 11, "events": 2, "such as": ["2", "3"]}}
    assert counts(dataset(written(tmp_path, form, event(), flat))) == {}


@pytest.mark.parametrize("form", ["json", "csv"])
def test_zeros_are_no_measurement(form, tmp_path):
    # Watches without three axes send zeros, and flattenData fills gaps with them.
    one = event()
    one["datapoints"][4]["rawData3D"] = [0] * 375
    path = written(tmp_path, form, one)
    found = dataset(path, signal="xyz")
    assert starts(found) == [0, 1, 2, 5, 6, 7, 8]
    assert counts(found) == {"samples that are all 0": 1}
    assert starts(dataset(path)) == ALL


def test_nothing_left_says_why(tmp_path):
    flat = event(id=2)
    for member in flat["datapoints"]:
        member["rawData3D"] = None
    path = write_json(tmp_path / "a.json", flat, event(1, id=3))
    with pytest.raises(InputError) as said:
        dataset(path, signal="xyz")
    assert str(said.value) == (
        f"{path} (left out: 1 datapoint of 1 event: in a run shorter than a window (3); 10 "
        "datapoints of 1 event: no rawData3D (2)) holds no event of a known type with a window "
        "of 10 s"
    )


@pytest.mark.parametrize("kind", ["Seizure", "SEIZURE", " seizure ", "sEIZURE"])
def test_the_case_of_a_type_does_not_matter(kind, tmp_path):
    calm = [event(3, id=place, type=name) for place, name in enumerate(("nda", "False  ALARM"), 2)]
    found = dataset(write_json(tmp_path / "a.json", event(3, type=kind), *calm))
    assert found.targets.tolist() == [1, 1, 0, 0, 0, 0]


def test_other_types_are_counted_by_name(tmp_path):
    others = [event(id=place, type=name) for place, name in enumerate(("Fall", None, 1, ""), 2)]
    path = write_json(tmp_path / "a.json", event(), *others)
    found = dataset(path)
    assert counts(found) == {
        f"events of type {name}": 10 for name in ("'Fall'", "'None'", "'1'", "''")
    }
    assert dataset(path, other="negative").targets.tolist() == [1] * 9 + [0] * 36


@pytest.mark.parametrize("user", [None, "", " ", "None", "null", "nan", "NA"], ids=repr)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_event_without_user_is_refused_by_name(user, form, tmp_path):
    path = written(tmp_path, form, event(), event(id=5, userId=user))
    with pytest.raises(InputError, match=f"^event 5 has no user: {path} does not say whose its"):
        dataset(path)
    assert set(dataset(path, group_by="event").groups) == {"1", "5"}


def test_a_user_that_is_not_given_is_refused(tmp_path):
    one = event(id=5)
    del one["userId"]
    with pytest.raises(InputError, match="^event 5 has no user: "):
        dataset(write_json(tmp_path / "a.json", event(), one))


@pytest.mark.parametrize("value", ["x" * 3000, "a\ud800", "a\u2028b", 10**400])
def test_names_are_short_and_on_one_line(value, tmp_path):
    with pytest.raises(InputError, match="entry 0: id must be at most 100 printable") as caught:
        dataset(write_json(tmp_path / "a.json", event(id=value)))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="event 1: userId must be at most 100 printable"):
        dataset(write_json(tmp_path / "a.json", event(userId=value)))


@pytest.mark.parametrize("value", [True, [7], {"id": 7}])
def test_users_are_text_or_numbers(value, tmp_path):
    path = write_json(tmp_path / "a.json", event(id=5, userId=value))
    with pytest.raises(InputError, match="event 5: userId must be text or a number, but is "):
        dataset(path)


def test_an_event_of_two_users_is_refused(tmp_path):
    path = write_json(tmp_path / "a.json", event(4), event(userId=8))
    with pytest.raises(InputError, match="^event 1 of .* is of two users, '7' and '8'$"):
        dataset(path)


def test_a_user_has_one_name_whatever_wrote_the_file(tmp_path):
    # pandas writes a column of whole numbers as decimals where one is missing.
    users = (7, "7", 7.0, "7.0", " 7 ")
    events = [event(3, id=place, userId=user) for place, user in enumerate(users)]
    for form in ("json", "csv"):
        assert set(dataset(written(tmp_path, form, *events)).groups) == {"7"}
    with pytest.raises(InputError, match="the train part of the data is empty|is empty"):
        load(OsdData(path=write_json(tmp_path / "a.json", *events), window=10.0), 0)


def test_an_event_of_another_rate_is_refused(tmp_path):
    for rate in (50.0, "50"):
        path = write_json(tmp_path / "a.json", event(sampleFreq=25), event(id=2, sampleFreq=rate))
        with pytest.raises(
            InputError, match="event 2 was sampled at 50 Hz, but sampling_rate is 25 Hz"
        ):
            dataset(path)
    for rate in (math.nan, "fast", [25], True, 10**400):
        path = write_json(tmp_path / "a.json", event(sampleFreq=rate))
        with pytest.raises(InputError, match="event 1: sampleFreq must be a number of Hz, but is"):
            dataset(path)
    odd = [event(3, id=place, sampleFreq=rate) for place, rate in enumerate((None, 0, -1, "25"))]
    assert len(dataset(write_json(tmp_path / "a.json", *odd))) == 8


def table_of(*events, delimiter=","):
    text = io.StringIO()
    lines = csv.writer(text, delimiter=delimiter)
    lines.writerow(HEADER)
    for one in events:
        lines.writerows(csv_line(one, found) for found in one["datapoints"])
    return text.getvalue()


TABLE = table_of(event())
TABLES = {
    "a byte-order mark": codecs.BOM_UTF8 + TABLE.encode(),
    "UTF-16": TABLE.encode("utf-16"),
    "semicolons": table_of(event(), delimiter=";"),
    "decimal commas": table_of(event(), delimiter=";").replace(";1001;", ";1001,0;"),
    "LF": TABLE.replace("\r\n", "\n"),
    "separators at the ends": TABLE.replace("\r\n", ",\r\n"),
    "empty lines at the end": TABLE + "\r\n\r\n",
    "quotes": TABLE.replace("eventId", '"""eventId"""').replace("1,7,", '"1"," 7 ",'),
    "an index": "\n".join(
        f"{n - 1 if n else ''},{row}" for n, row in enumerate(TABLE.split("\r\n")[:-1])
    ),
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES.keys())
def test_the_table_is_read_as_every_other(content, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert starts(dataset(str(path))) == ALL


def test_columns_may_come_in_any_order(tmp_path):
    rows = list(csv.reader(io.StringIO(TABLE)))
    order = np.random.default_rng(0).permutation(len(rows[0]))
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[row[place] for place in order] for row in rows])
    assert starts(dataset(str(tmp_path / "a.csv"))) == ALL


@pytest.mark.parametrize("cell", ["", "-", "NA", "nan", "inf", "1_000", "0x1F", "1e39", "x", "1,5"])
def test_a_sample_that_is_no_number_is_refused_by_its_line(cell, tmp_path):
    (tmp_path / "a.csv").write_text(TABLE.replace(",1376,", f',"{cell}",', 1))
    with pytest.raises(InputError, match=": line 5 has samples that are not numbers$"):
        dataset(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.replace("\r\n1,7", "\r\n\r\n1,7", 1), ": line 2 is empty, and the rows after"),
        (lambda t: t.replace(",1376,", ",", 1), ": line 5 is not 504 cells: it has 503 columns$"),
        (lambda t: t.replace(",1376,", ",1376,0,", 1), ": line 5 is not 504 cells: it has 505 col"),
        (lambda t: t.replace("M001", "M000", 1), "has two columns 'M000'$"),
        (lambda t: t.replace("M124", "M125", 1), "columns M000 to M124, but has 124$"),
        (lambda t: t.replace("1,7,1,", "1,7,Seizure,", 1), ": line 2 has type 'Seizure', which is"),
        (lambda t: t.replace("1,7,1,", "1,7,,", 1), ": line 2 has type '', which is not 0, 1 or 2"),
        (lambda t: t.replace("1,7,1,", "1,7,0.5,", 1), ": line 2 has type '0.5', which is not 0"),
        (lambda t: t.replace("1,7,1,", ",7,1,", 1), ": line 2 has no eventId$"),
        (lambda t: t.replace("1,7,1,", "None,7,1,", 1), ": line 2 has no eventId$"),
        (lambda t: "\0" + t, "is not a text file"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(change, words, tmp_path):
    (tmp_path / "a.csv").write_text(change(TABLE), newline="")
    with pytest.raises(InputError, match=words):
        dataset(str(tmp_path / "a.csv"))


def test_a_run_says_what_it_leaves_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plain, "stepper", PlainStepper, raising=False)
    kinds = ("Seizure", "NDA") * 5
    events = [event(id=at, userId=at, type=kinds[at]) for at in range(9)]
    for place in (3, 4):
        events[place]["datapoints"].insert(1, None)
    layers = {
        "flat": {"kind": "flatten", "length": 250},
        "head": {"kind": "dense", "in_features": 250, "out_features": 2},
    }
    path = write_json(tmp_path / "a.json", *events, event(id=99, type="Fall"))
    train(
        {
            "model": {"kind": "sequential", "layers": layers},
            "backend": "numpy",
            "data": {
                "kind": "osd",
                "path": path,
                "window": 10.0,
                "split": {"val": 0.2, "test": 0.2},
            },
            "losses": ["cross_entropy"],
            "optimizer": {"kind": "adamw", "lr": 0.01},
            "training": {"epochs": 1},
            "output": str(tmp_path / "run"),
            "loggers": "jsonl",
        },
        progress=True,
    )
    told = (
        "9 of 10 events and 90 of 102 datapoints are used; left out: 2 datapoints of 2 events: a "
        "null datapoint (3, 4); 10 datapoints of 1 event: events of type 'Fall' (99)"
    )
    lines = " ".join(capsys.readouterr().err.split())
    assert lines.count(f"data: {told}") == 1
    assert json.loads((tmp_path / "run" / "test_report.json").read_text())["data"] == told
    assert told in (tmp_path / "run" / "test_report.txt").read_text()
    (session,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    for part in ("train", "val", "test"):
        assert session["data"][part]["read"] == {"events": 10, "datapoints": 102}
        assert session["data"][part]["left_out"]["a null datapoint"]["such as"] == ["3", "4"]
