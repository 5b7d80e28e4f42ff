"""The truth as it comes: which events of a file are seizures, and what of these lies inside."""

import json

import pytest

from tcnzoo.eeg.annotations import within
from tcnzoo.eeg.events import Annotations, Event, read_events, write_events
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused

KINDS = ["eventType", "trial_type", ".csv", ".csv_bi", ".json"]
# SzCORE's with its refinements, all of NEDC's, and the word; any case, blanks around them.
SEIZURES = [
    *("sz", "SZ", "sz_foc_ia", "sz_gen_m_tonicClonic", "Sz_Foc_A_nm ", " sz_uo", "sz-2", "sz 3"),
    *("seiz", "fnsz", "gnsz", "spsz", "cpsz", "absz", "tnsz", "cnsz", "tcsz", "atsz", "mysz"),
    *("FNSZ", "seizure", "Seizure", "SEIZ ", "sz1"),
]
# NEDC's artefacts and non-epileptic seizure, an impedance check, stimuli, discharges, nothing.
OTHERS = [
    *("eyem", "chew", "shiv", "musc", "elpp", "elst", "elec", "artf", "calb", "intr", "slow"),
    *("spsw", "gped", "pled", "eybl", "nesz", "NESZ", "impd", "stimulus", "response", "n/a"),
    *("seizure-free", "no seizure", "pre_sz", "szum", "button"),
]
FAULTY = [("n/a", 1), (-5, 0), (9000, 1), (3, -2), ("soon", "later"), ("nan", "inf"), (1, "n/a")]


def written(folder, kind, rows):
    """A file of (onset, duration, label), with nothing else said of the recording."""
    if kind == ".json":
        events = [
            {"start": start, "stop": ended(start, lasts), "label": label}
            for start, lasts, label in rows
        ]
        path, text = folder / "truth.json", json.dumps({"events": events})
    elif kind in (".csv", ".csv_bi"):
        lines = [f"FP1-F7,{a},{ended(a, b)},{label},1.0" for a, b, label in rows]
        head = "channel,start_time,stop_time,label,confidence"
        path, text = folder / f"truth{kind}", "\n".join([head, *lines])
    else:
        lines = [f"{a}\t{b}\t{label}" for a, b, label in rows]
        path, text = folder / "truth.tsv", "\n".join([f"onset\tduration\t{kind}", *lines])
    path.write_text(text + "\n")
    return path


def ended(start, lasts):
    """The stop, or what stands for it where one of both is no number."""
    return lasts if isinstance(start, str) or isinstance(lasts, str) else start + lasts


def spans(annotations):
    return [(event.start, event.stop) for event in annotations.events]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", SEIZURES)
def test_labels_of_seizures(tmp_path, kind, label):
    found = read_events(written(tmp_path, kind, [(0, 90, "BCKG"), (100, 60, label)]))
    assert spans(found) == [(100.0, 160.0)]
    assert found.left_out == ()


@pytest.mark.parametrize("kind", KINDS)
def test_other_labels_are_left_out_and_counted(tmp_path, kind):
    rows = [(10 * place, 5, label) for place, label in enumerate([*OTHERS, "eyem", "EyeM "])]
    path = written(tmp_path, kind, [(0, 90, "Bckg"), *rows, (1000, 60, "sz_foc_ia_nm")])
    with pytest.warns(UserWarning, match="not labelled as seizures are left out: 'eyem'"):
        found = read_events(path)
    assert spans(found) == [(1000.0, 1060.0)]
    expected = dict.fromkeys(OTHERS, 1) | {"eyem": 3, "nesz": 2}
    del expected["NESZ"]
    assert dict(found.left_out) == expected


def test_a_warning_names_the_file_the_labels_and_the_option(tmp_path):
    rows = [(place, 1, f"mark {place}") for place in range(12)] + [(20, 1, "mark 7")]
    path = written(tmp_path, "trial_type", rows)
    with pytest.warns(UserWarning, match="left out") as seen:
        assert read_events(path).events == ()
    (warning,) = seen
    shown = ", ".join(f"'mark {place}' (1)" for place in (0, 1, 2, 3, 4, 5, 6, 8, 9))
    assert str(warning.message) == (
        f"{str(path)!r}: events that are not labelled as seizures are left out: 'mark 7' (2), "
        f"{shown} and 2 more labels; to count a label as a seizure, use --seizure-label (in "
        "Python: seizures=[...])"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_further_labels_may_stand_for_seizures(tmp_path, kind):
    path = written(tmp_path, kind, [(10, 5, "Ictal"), (30, 5, "sz"), (50, 5, "nesz")])
    found = read_events(path, seizures=[" ictal", "NESZ"])
    assert spans(found) == [(10.0, 15.0), (30.0, 35.0), (50.0, 55.0)]
    assert [event.label for event in found.events] == ["Ictal", "sz", "nesz"]


@pytest.mark.parametrize(
    "names, sentence",
    [
        ("ictal", "seizures must be a list of labels, but is the text 'ictal'"),
        (
            ["BCKG "],
            "a seizure label must not be blank or the label of the background, but is 'bckg'",
        ),
        (
            [" "],
            "a seizure label must not be blank or the label of the background, but is ''",
        ),
    ],
)
def test_labels_that_cannot_be(tmp_path, names, sentence):
    path = written(tmp_path, "eventType", [(10, 5, "sz")])
    assert_refused(InputError, sentence, read_events, path, names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", FAULTY, ids=str)
@pytest.mark.parametrize("label", ["button", "bckg"])
@pytest.mark.filterwarnings("ignore:.* not labelled as seizures")
def test_what_is_no_seizure_never_refuses_a_file(tmp_path, kind, times, label):
    found = read_events(written(tmp_path, kind, [(*times, label), (100, 60, "sz")]))
    assert spans(found) == [(100.0, 160.0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.* not labelled as seizures")
def test_markers_may_be_in_latin_1(tmp_path, kind):
    path = written(tmp_path, kind, [(10, 5, "MARK"), (100, 60, "sz")])
    path.write_bytes(path.read_bytes().replace(b"MARK", "décharge".encode("latin-1")))
    found = read_events(path)
    assert spans(found) == [(100.0, 160.0)]
    assert found.left_out == (("décharge", 1),)


@pytest.mark.parametrize(
    "name, text",
    [
        ("e.tsv", "onset\tduration\ttrial_type\tnote\n1\t2\tbutton\n5\t4\tsz\n"),
        ("e.tsv", "onset\tduration\ttrial_type\n1\t2\tbutton\t\n5\t4\tsz\t \t\n"),
        ("e.csv", "channel,start_time,stop_time,label,confidence\nT3,1,3,eyem\nT3,5,9,sz\n"),
        ("e.csv", "channel,start_time,stop_time,label,confidence\nT3,1,3,bckg,1,,\nT3,5,9,sz,1\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* not labelled as seizures")
def test_cells_behind_the_label_may_be_missing_and_empty_ones_follow(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert spans(read_events(path)) == [(5.0, 9.0)]


def test_a_confidence_of_what_is_no_seizure_does_not_matter(tmp_path):
    path = tmp_path / "truth.csv"
    head = "channel,start_time,stop_time,label,confidence\n"
    path.write_text(f"{head}T3,1,2,bckg,-1\nT3,1,2,bckg,?\nT3,5,9,fnsz,n/a\n")
    assert read_events(path).events == (Event(5.0, 9.0, 1.0, "fnsz", "T3"),)


@pytest.mark.parametrize(
    "name, text",
    [
        ("e.tsv", "onset\tduration\teventType\tconfidence\n5\t4\tsz\tnan\n"),
        ("e.json", '{"events": [{"start": 5, "stop": 9, "confidence": NaN}], "duration": NaN}'),
    ],
)
def test_nan_says_nothing_of_a_seizure(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    found = read_events(path)
    assert (found.events, found.duration) == ((Event(5.0, 9.0),), None)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_seizure_that_had_begun_before_the_rest_counts(tmp_path, kind):
    path = written(tmp_path, kind, [(-5, 20, "sz"), (-90, 60, "sz"), (50, 5, "sz")])
    with pytest.warns(UserWarning, match="1 seizure") as seen:
        found = read_events(path)
    assert spans(found) == [(0.0, 15.0), (50.0, 55.0)]
    assert found.notes == tuple(str(warning.message) for warning in seen)
    assert found.notes == (
        f"{str(path)!r}: 1 seizure cut at the start of the recording (0 s): -5 to 15 s",
        f"{str(path)!r}: 1 seizure left out, since the end is before the recording starts: "
        "-90 to -30 s",
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["n/a", "N/A", "", "NaN"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_seizure_without_times_is_refused_by_its_name(tmp_path, kind, what, place):
    row = [100, 60, "cpsz"]
    row[place] = what
    path = written(tmp_path, kind, [(1, 2, "sz"), row])
    sentence = rf"of the seizure 'cpsz' is '{what}', so it cannot be scored; write \w+ and \w+ as"
    with pytest.raises(InputError, match=sentence) as refused:
        read_events(path)
    assert str(path) in str(refused.value)


def test_the_label_is_in_the_first_of_two_columns_that_has_one(tmp_path):
    path = tmp_path / "events.tsv"
    head = "onset\tduration\ttrial_type\teventType\n"
    path.write_text(f"{head}1\t2\tseizure\tn/a\n5\t2\tseizure\tbckg\n8\t2\tn/a\tsz\n")
    assert spans(read_events(path)) == [(1.0, 3.0), (8.0, 10.0)]


def test_lines_end_where_an_editor_ends_them(tmp_path):
    path = tmp_path / "events.tsv"
    rows = "1\t2\tsz\tone\u2028line\x0bof\x85text\r\n\r\n5\tx\tsz\tx\r\n"
    path.write_bytes(f"\ufeffonset\tduration\ttrial_type\tnote\r\n{rows}".encode())
    with pytest.raises(InputError, match=", line 4: duration must be a number, but is 'x'"):
        read_events(path)
    path.write_bytes(path.read_bytes().replace(b"\tx\tsz", b"\t2\tsz"))
    assert spans(read_events(path)) == [(1.0, 3.0), (5.0, 7.0)]


def test_what_a_file_says_of_the_recording(tmp_path):
    path = tmp_path / "events.tsv"
    head = "onset\tduration\teventType\tdateTime\trecordingDuration\n"
    path.write_text(f"{head}n/a\tn/a\tbckg\tN/A\tn/a\n1\t2\tsz\t2024-05-06 09:30:00\t90\n")
    found = read_events(path)
    assert (found.duration, found.start.hour) == (90.0, 9)
    path.write_text(f"{head}1\t2\tsz\tn/a\t-1\n")
    sentence = f"{str(path)!r}: the duration of a recording must be above 0 s, but is -1.0"
    assert_refused(InputError, sentence, read_events, path)


def test_json_may_leave_labels_out(tmp_path):
    path = tmp_path / "e.json"
    path.write_text('{"events": [{"start": 1, "stop": 2}, {"start": 3, "stop": 4, "label": null}]}')
    with pytest.warns(UserWarning, match=r"left out: 'null' \(1\)"):
        assert spans(read_events(path)) == [(1.0, 2.0)]


def test_numbers_of_thousands_of_digits_are_no_json(tmp_path):
    path = tmp_path / "e.json"
    path.write_text(f'{{"events": [], "duration": {"9" * 5000}}}')
    with pytest.raises(InputError, match="is not valid JSON"):
        read_events(path)


def test_a_line_that_is_no_csv(tmp_path):
    path = tmp_path / "e.csv"
    head = "channel,start_time,stop_time,label,confidence\n"
    path.write_text(f"{head}T3,1,2,{'x' * 200_000},1\n")
    with pytest.raises(InputError, match=", line 2 is not CSV: field larger than field limit"):
        read_events(path)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".json"])
def test_every_seizure_that_is_written_is_read_as_one(tmp_path, suffix):
    path = tmp_path / f"e{suffix}"
    labels = [label.strip() for label in SEIZURES]
    events = tuple(Event(10.0 * n, 10.0 * n + 5.0, 1.0, label) for n, label in enumerate(labels))
    write_events(path, Annotations(events, 1000.0))
    assert spans(read_events(path)) == [(event.start, event.stop) for event in events]


INSIDE = Event(10.0, 20.0)


@pytest.mark.parametrize(
    "event, kept, sentence",
    [
        (
            Event(3590.0, 3650.0, 0.5, "sz_foc", "T3"),
            [Event(3590.0, 3600.0, 0.5, "sz_foc", "T3")],
            "the truth: 1 event cut at the end of the recording (3600 s): 3590 to 3650 s",
        ),
        (
            Event(3600.0, 3650.0),
            [],
            "the truth: 1 event left out, since the start is after the end of the recording "
            "(3600 s): 3600 to 3650 s",
        ),
        (
            Event(30.0, 30.0),
            [],
            "the truth: 1 event left out, since the duration is 0 s: 30 to 30 s",
        ),
    ],
    ids=["past the end", "after the end", "no time"],
)
def test_what_lies_inside_counts(event, kept, sentence):
    with pytest.warns(UserWarning, match="the truth: 1 event") as seen:
        found = within(Annotations((INSIDE, event), name="night"), 3600.0)
    assert found.events == (INSIDE, *kept)
    assert found.notes == (sentence,) == tuple(str(warning.message) for warning in seen)
    assert (found.duration, found.name) == (3600.0, "night")
    assert within(found, 3600.0) == found


def test_a_seizure_without_end_is_cut_at_the_end():
    with pytest.warns(
        UserWarning, match=r"1 event cut at the end of the recording \(60 s\): 10 to 1e\+308 s"
    ):
        found = within(Annotations((Event(10.0, 1e308),)), 60.0)
    assert found.spans == [(10.0, 60.0)]


def test_an_end_within_a_tenth_of_a_second_needs_no_note():
    found = within(Annotations((Event(0.0, 3600.05),)), 3600.0)
    assert (found.events, found.notes) == ((Event(0.0, 3600.0),), ())


def test_the_truth_of_another_recording_is_named():
    sentence = "the truth belongs to a recording of 1800 s, but this one lasts 3600 s"
    with pytest.warns(UserWarning, match=sentence):
        assert within(Annotations((INSIDE,), 1800.0), 3600.0).notes == (sentence,)
