"""Event files: what is written is read again, in the words of SzCORE and NEDC."""

import datetime

import pytest

from tcnzoo.eeg.events import Annotations, Event, read_events, write_events
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused

START = datetime.datetime(2024, 5, 6, 9, 30)
EVENTS = (
    Event(20.12890625, 31.0, 0.91234567, "sz"),
    Event(52.0, 60.00390625, 1.0, "sz_foc_ia", "T3"),
)
WHOLE = Annotations(EVENTS, 3600.5, START, "night")

TSV = """\
onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration
20.12890625\t10.87109375\tsz\t0.91234567\tn/a\t2024-05-06 09:30:00\t3600.5
52\t8.00390625\tsz_foc_ia\t1\tT3\t2024-05-06 09:30:00\t3600.5
"""
CSV_BI = """\
# version = csv_v1.0.0
# bname = night
# duration = 3600.5000 secs
# montage_file = nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
TERM,20.1289,31.0000,seiz,0.9123
T3,52.0000,60.0039,seiz,1.0000
"""


@pytest.mark.parametrize("suffix, text", [(".tsv", TSV), (".csv_bi", CSV_BI), (".csv", CSV_BI)])
def test_files_are_written_word_by_word(tmp_path, suffix, text):
    path = tmp_path / f"events{suffix}"
    write_events(path, WHOLE)
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize("suffix", [".tsv", ".json"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    write_events(path, WHOLE)
    found = read_events(path)
    assert found.events == EVENTS
    assert (found.duration, found.start) == (3600.5, START)


def test_csv_bi_keeps_tenths_of_a_millisecond_and_no_kind_of_seizure(tmp_path):
    path = tmp_path / "events.csv_bi"
    write_events(path, WHOLE)
    found = read_events(path)
    assert (found.duration, found.name) == (3600.5, "night")
    for one, other in zip(found.events, EVENTS, strict=True):
        assert one.start == pytest.approx(other.start, abs=5e-5)
        assert one.stop == pytest.approx(other.stop, abs=5e-5)
        assert one.confidence == pytest.approx(other.confidence, abs=5e-5)
        assert (one.label, one.channel) == ("sz", other.channel)


@pytest.mark.parametrize("suffix", [".tsv", ".csv_bi", ".json"])
def test_no_event_at_all(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    write_events(path, Annotations((), 60.0, None, "quiet"))
    found = read_events(path)
    assert (found.events, found.duration) == ((), 60.0)
    if suffix == ".tsv":
        assert path.read_text("utf-8").splitlines()[1] == "0\t60\tbckg\tn/a\tn/a\tn/a\t60"


def test_columns_of_a_tsv_may_come_in_any_order(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text("trial_type\tduration\tonset\nsz\t5\t10\nbckg\t9\t1\nsz\t1\t2\n")
    assert read_events(path).events == (Event(2.0, 3.0), Event(10.0, 15.0))
    assert read_events(path).duration is None


def test_a_tusz_file_is_read(tmp_path):
    path = tmp_path / "aaaa_s001_t000.csv_bi"
    path.write_text(
        "# version = csv_v1.0.0\n# bname = aaaa_s001_t000\n# duration = 301.0000 secs\n"
        "# montage_file = nedc_eas_default_montage.txt\n#\n"
        "channel,start_time,stop_time,label,confidence\n"
        "TERM,0.0000,36.8868,bckg,1.0000\nTERM,36.8868,183.3055,seiz,1.0000\n"
        "TERM,183.3055,301.0000,bckg,1.0000\n"
    )
    found = read_events(path)
    assert found == Annotations((Event(36.8868, 183.3055),), 301.0, None, "aaaa_s001_t000")


def test_spans_join_what_overlaps():
    events = (Event(50.0, 70.0), Event(0.0, 60.0), Event(80.0, 90.0), Event(90.0, 95.0))
    assert Annotations((*events, Event(99.0, 99.0))).spans == [(0.0, 70.0), (80.0, 95.0)]


HEAD = "onset\tduration\teventType\n"
CSV_HEAD = "channel,start_time,stop_time,label,confidence\n"


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("e.tsv", "", " must have the columns onset, duration and eventType, but has none"),
        (
            "e.tsv",
            "onset\tlabel\n",
            " must have the columns onset, duration and eventType, but has onset, label",
        ),
        ("e.tsv", f"{HEAD}1\t2\n", ", line 2: 3 columns are needed, but there are 2"),
        ("e.tsv", f"{HEAD}1\tx\tsz\n", ", line 2: duration must be a number, but is 'x'"),
        (
            "e.tsv",
            f"{HEAD}1\t1\tsz\n5\t-2\tsz\n",
            ", line 3: an event must be 0 <= start <= stop, but is from 5.0 s to 3.0 s",
        ),
        (
            "e.tsv",
            f"{HEAD}nan\t2\tsz\n",
            ", line 2: the onset of the seizure 'sz' is 'nan', so it cannot be scored; write "
            "onset and duration as numbers, or remove the event",
        ),
        (
            "e.csv",
            "a\n",
            " must have the columns channel, start_time, stop_time, label, confidence, but has a",
        ),
        ("e.csv", f"{CSV_HEAD}TERM,1,2\n", ", line 2: 5 columns are needed, but there are 3"),
        (
            "e.csv_bi",
            f"# x\n{CSV_HEAD}TERM,1,2,seiz,7\n",
            ", line 3: a confidence must be 0 to 1, but is 7.0",
        ),
        (
            "e.tsv",
            f"onset\tlabel\t{'x' * 5000}\ta\u2028b" + "\tmore" * 500 + "\n",
            " must have the columns onset, duration and eventType, but has onset, label, "
            f"{'x' * 57}..., a\\u2028b, more, more, more, more and 496 more",
        ),
        (
            "e.csv",
            "a" + ",b\x0bc" * 9 + "\n",
            " must have the columns channel, start_time, stop_time, label, confidence, but has a"
            + ", b\\x0bc" * 7
            + " and 2 more",
        ),
        ("e.tsv", f"onset\t{HEAD}1\t2\t3\tsz\n", " has two columns 'onset'"),
        (
            "e.tsv",
            f"{HEAD}1\t{'x' * 5000}\tsz\n",
            f", line 2: duration must be a number, but is '{'x' * 56}...",
        ),
        ("e.tsv", f"{HEAD}1_0\t2\tsz\n", ", line 2: onset must be a number, but is '1_0'"),
        (
            "e.tsv",
            f"{HEAD}\u0663\t2\tsz\n",
            ", line 2: onset must be a number, but is '\u0663'",
        ),
        (
            "e.json",
            '{"events": [], "events": [{"start": 1, "stop": 2}]}',
            " is not valid JSON: the key 'events' stands twice in one mapping",
        ),
        (
            "e.json",
            '{"events": [], "recording": "a\\nb"}',
            ": the name of the recording must be one line of text, but is 'a\\nb'",
        ),
        (
            "e.json",
            '{"events": [{"start": 1, "stop": 2, "channel": "\\ud800"}]}',
            ", event 0: a label or channel must be one line of text, but is '\\ud800'",
        ),
        ("e.json", "[1]", " must be a mapping with a list of 'events'"),
        (
            "e.json",
            '{"events": [{"start": 1}]}',
            ", event 0: the stop of the seizure 'sz' is None, so it cannot be scored; write "
            "start and stop as numbers, or remove the event",
        ),
    ],
)
def test_what_is_no_event_file(tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_text(text)
    assert_refused(InputError, f"{str(path)!r}{sentence}", read_events, path)


def test_files_that_cannot_be(tmp_path):
    path = tmp_path / "e.txt"
    sentence = f"events are one of .tsv, .csv, .csv_bi, .json, but got {str(path)!r}"
    assert_refused(InputError, sentence, read_events, path)
    assert_refused(InputError, sentence, write_events, path, WHOLE)
    path = tmp_path / "e.tsv"
    assert_refused(InputError, f"no file at {str(path)!r}", read_events, path)
    sentence = "the duration of the recording must be known to write this kind of file"
    assert_refused(InputError, sentence, write_events, path, Annotations(EVENTS))
    path.write_bytes(b"\xff\xfe\x00")
    assert_refused(InputError, f"{str(path)!r} is not a text file", read_events, path)
    (tmp_path / "e.json").write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        read_events(tmp_path / "e.json")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["e.json", "e.tsv"]


def test_numbers_of_json_that_are_none_matter_only_to_seizures(tmp_path):
    path = tmp_path / "e.json"
    path.write_text(
        '{"events": [{"start": NaN, "stop": 2, "label": "bckg"}, {"start": 3, "stop": 4}]}'
    )
    assert read_events(path).events == (Event(3.0, 4.0),)


def test_labels_are_counted_in_one_short_line(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text(f"{HEAD}1\t2\t{'x' * 5000}\n1\t2\ta\u2028b\n", "utf-8")
    with pytest.warns(UserWarning, match=r"'a.u2028b' \(1\)") as caught:
        read_events(path)
    (one,) = caught
    assert len(str(one.message)) < 500
    assert len(str(one.message).splitlines()) == 1


def test_what_is_no_event():
    sentence = "a label or channel must be one line of text, but is 'a\\tb'"
    assert_refused(InputError, sentence, Event, 0.0, 1.0, 1.0, "a\tb")
    sentence = "the duration of a recording must be above 0 s, but is nan"
    assert_refused(InputError, sentence, Annotations, (), float("nan"))
