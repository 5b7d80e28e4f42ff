"""tcnzoo detect, and tcnzoo stream on a recording."""

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app, eeg as cli_eeg
from tcnzoo.eeg.events import Annotations, Event, read_events, write_events
from tcnzoo.errors import InputError
from tests.support import eeg_signals
from tests.support.eeg_signals import BURSTS

for package in ("scipy", "mne", "edfio", "timescoring"):
    pytest.importorskip(package)

SECONDS = 40.0


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def place(tmp_path):
    """A folder with a checkpoint, a recording, and its truth."""
    tcnzoo.save(eeg_signals.detector(), tmp_path / "model")
    tcnzoo.save(eeg_signals.detector(padding="same"), tmp_path / "windowed")
    x = eeg_signals.signal(SECONDS, bursts=BURSTS[:1])
    eeg_signals.write_edf(tmp_path / "night.edf", x)
    truth = Annotations((Event(*BURSTS[0]),), SECONDS)
    write_events(tmp_path / "truth.tsv", truth)
    return tmp_path


@pytest.fixture
def command(place):
    return (place / "model", place / "night.edf", "--backend", "numpy")


def test_detect_writes_events_scores_and_a_picture(place, command):
    pytest.importorskip("matplotlib")
    out = ("--output", place / "e.tsv", "--csv-bi", place / "e.csv_bi", "--figure", place / "e.png")
    more = ("--truth", place / "truth.tsv", "--probabilities", place / "p.npy", "--json")
    done = run("detect", *command, *out, *more)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (event,) = report["events"]
    assert 20.0 < event["start"] < 21.5
    assert report["preprocessing"] == "causal"
    assert report["scores"]["event"]["sensitivity"] == 1.0
    assert report["scores"]["taes"]["sensitivity"] > 0.9
    (written,) = read_events(place / "e.tsv").events
    assert (written.start, written.stop) == (event["start"], event["stop"])
    assert read_events(place / "e.tsv").duration == SECONDS
    assert read_events(place / "e.csv_bi").name == "night"
    assert (place / "e.png").read_bytes().startswith(b"\x89PNG")
    assert np.load(place / "p.npy").shape == (SECONDS * 256,)


def test_detect_prints_a_table(place, command):
    done = run("detect", *command, "--truth", place / "truth.tsv")
    assert done.exit_code == 0, done.output
    for word in ("1 event", "confidence", "taes", "false alarms in 24 h", "times real time"):
        assert word in " ".join(done.stdout.split()), word


@pytest.mark.filterwarnings("always")
def test_the_truth_is_told(place, command):
    truth = place / "events.tsv"
    truth.write_text(
        "onset\tduration\ttrial_type\n0\t15\tBCKG\n1\tn/a\timpd\n20\t11\tsz_foc\n35\t9\tictal\n"
    )
    done = run("detect", *command, "--truth", truth, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["truth"] == {"seizures": 1, "left_out": {"impd": 1, "ictal": 1}, "notes": []}
    assert report["scores"]["event"]["references"] == 1.0
    assert "are left out: 'impd' (1), 'ictal' (1); to count a label as a seizure" in done.stderr
    done = run("detect", *command, "--truth", truth, "--seizure-label", "Ictal", "--json")
    report = json.loads(done.stdout)
    note = "the truth: 1 event cut at the end of the recording (40 s): 35 to 44 s"
    assert report["truth"] == {"seizures": 2, "left_out": {"impd": 1}, "notes": [note]}
    assert report["scores"]["sample"]["references"] == 16.0
    assert f"warning: {note}" in done.stderr
    done = run("detect", *command, "--truth", truth)
    assert "1 seizure; not seizures: impd (1), ictal (1)" in " ".join(done.stdout.split())
    assert json.loads(run("detect", *command, "--json").stdout)["truth"] is None


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ("20\tn/a\tsz\n", "the duration of the seizure 'sz' is 'n/a', so it cannot be scored"),
        ("soon\t5\tsz\n", "onset must be a number, but is 'soon'"),
    ],
)
def test_a_truth_that_cannot_be_scored_leaves_nothing_behind(place, command, rows, sentence):
    (place / "truth.tsv").write_text(f"onset\tduration\teventType\n{rows}")
    assert_nothing_is_written(place, command, sentence)


def test_scores_that_fail_leave_nothing_behind(place, command, monkeypatch):
    def refuse(*_):
        raise InputError("no score")

    monkeypatch.setattr(cli_eeg, "score_parts", refuse)
    assert_nothing_is_written(place, command, "no score")


@pytest.mark.parametrize("module", ["timescoring.scoring", "matplotlib.backends.backend_agg"])
def test_packages_that_are_missing_are_named_before_the_work(place, command, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    (place / "night.edf").unlink()
    assert_nothing_is_written(place, command, f"import of {module} halted")


def assert_nothing_is_written(place, command, sentence):
    """Hold that `detect` with all its outputs is refused, and that none of these is there."""
    before = sorted(place.iterdir())
    out = ("--output", place / "e.tsv", "--csv-bi", place / "e.csv_bi", "--figure", place / "e.png")
    more = ("--truth", place / "truth.tsv", "--probabilities", place / "p.npy")
    done = run("detect", *command, *out, *more)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert sorted(place.iterdir()) == before


def test_labels_without_a_truth(command):
    done = run("detect", *command, "--seizure-label", "ictal")
    assert done.exit_code == 2
    assert "--seizure-label is for the labels of --truth, which is missing" in done.stderr


def test_stream_gives_the_events_of_detect(place, command):
    expected = json.loads(run("detect", *command, "--json").stdout)["events"]
    args = (place / "model", "--input", place / "night.edf", "--backend", "numpy")
    for chunk in (256, 26, 4000):
        done = run("stream", *args, "--chunk", chunk, "--output", place / "e.tsv", "--json")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert [(e["start"], e["stop"]) for e in report["events"]] == [
            (e["start"], e["stop"]) for e in expected
        ]
        assert report["chunks"] == -(-int(SECONDS * 256) // chunk)
        assert report["latency"]["total"] == 513 / 256
        assert len(read_events(place / "e.tsv").events) == 1


def test_stream_tells_the_latency(place):
    args = (place / "model", "--input", place / "night.edf", "--backend", "numpy")
    done = run("stream", *args, "--output", place / "p.npy")
    assert "2.00 s from the end of an event until it is given out" in " ".join(done.stdout.split())
    assert np.load(place / "p.npy").shape == (SECONDS * 256,)


def test_a_windowed_model_detects_but_does_not_stream(place):
    args = ("--preprocessing", "zero-phase", "--backend", "numpy", "--json")
    done = run("detect", place / "windowed", place / "night.edf", *args)
    assert len(json.loads(done.stdout)["events"]) == 1
    args = ("--input", place / "night.edf", "--backend", "numpy")
    done = run("stream", place / "windowed", *args)
    assert done.exit_code == 2
    assert "this model cannot stream" in done.stderr


def test_thresholds_and_notch(command):
    args = ("--threshold-on", "1.0", "--threshold-off", "0.5", "--notch", "0", "--json")
    assert json.loads(run("detect", *command, *args).stdout)["events"] == []


@pytest.mark.parametrize(
    "args, sentence",
    [
        (("--preprocessing", "best"), "preprocessing must be one of origin, zero-phase, causal"),
        (("--threshold-on", "0.5"), "the thresholds must be 0 < tau_off < tau_on <= 1"),
        (("--output", "e.txt"), "events are one of .tsv, .csv, .csv_bi, .json, but got 'e.txt'"),
        (("--csv-bi", "e.tsv"), "CSV_BI is a .csv or .csv_bi file, but got 'e.tsv'"),
        (("--figure", "e.pdf"), "a figure is a .png file, but got 'e.pdf'"),
        (("--probabilities", "p.txt"), "a signal is a .npy or .csv file, but got 'p.txt'"),
        (("--truth", "absent.tsv"), "no file at 'absent.tsv'"),
        (("--notch", "200"), "the notch must lie between 0 and half of 256 Hz, but is at 200 Hz"),
        (("--truth", "./e.tsv", "--output", "e.tsv"), "'e.tsv' is named twice"),
        (("--output", "e.csv", "--probabilities", "e.csv"), "'e.csv' is named twice"),
    ],
)
def test_options_that_cannot_be(place, command, args, sentence):
    # Said before anything is opened.
    (place / "night.edf").write_bytes(b"")
    done = run("detect", *command, *args)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_that_cannot_be_used_leaves_nothing_behind(place, command):
    x = eeg_signals.signal(SECONDS, bursts=BURSTS[:1])
    x[5] = 12.0
    eeg_signals.write_edf(place / "night.edf", x)
    before = sorted(place.iterdir())
    out = ("--output", place / "e.tsv", "--figure", place / "e.png")
    for done in (
        run("detect", *command, *out),
        run("stream", command[0], "--input", command[1], "--output", place / "e.tsv"),
    ):
        assert done.exit_code == 2
        assert "channel T3 of" in done.stderr
        assert "is flat: all of it is 12" in done.stderr
    assert sorted(place.iterdir()) == before


def test_a_recording_is_streamed_without_state(place):
    args = ("--input", place / "night.edf", "--state-out", place / "s.safetensors")
    done = run("stream", place / "model", *args)
    assert done.exit_code == 2
    assert "a recording is streamed from its start, without state" in done.stderr
