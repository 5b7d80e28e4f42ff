"""Recordings with gaps in time: found by time stamps and marks, refused, or taken in parts."""

import datetime
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.eeg import detect, detect_parts, read_parts, read_recording, score, score_parts
from tcnzoo.eeg.events import Annotations, Event, read_events, write_events
from tcnzoo.eeg.parts import Detections
from tcnzoo.eeg.pipeline import Detection
from tcnzoo.eeg.postprocess import PostProcessing
from tcnzoo.eeg.preprocess import Preprocessing
from tcnzoo.eeg.recordings import Recording
from tcnzoo.eeg.stretches import Marks, Stretch, cut
from tcnzoo.errors import InputError
from tcnzoo.specs.montages import TEN_TWENTY
from tests.support import edf_files, eeg_signals
from tests.support.compare import assert_refused
from tests.support.edf_files import annotations, electrodes, stamps, tal, write

RATE = 64
START = datetime.datetime(2024, 1, 1, 22, tzinfo=datetime.UTC)
ROUNDING = 0.501 * 800 / 2**16
KINDS = pytest.mark.parametrize("kind", ["", "EDF+C", "EDF+D"])
SUFFIXES = pytest.mark.parametrize("suffix", [".edf", ".bdf"])


def stamped(path, times, kind="EDF+C", seconds="1", texts=None, rate=RATE):
    """An EDF or BDF whose records begin at some times, and its signal."""
    x = edf_files.signal(len(times), rate)
    rows = [*electrodes(x, samples=rate), annotations(texts or stamps(times), 60)]
    kind = kind.replace("EDF", path.suffix[1:].upper())
    return write(path, rows, kind=kind, seconds=seconds), x


def offsets(parts):
    """When each part begins, in s, and how many samples it has."""
    return [(part.offset, part.signal.shape[1]) for part in parts]


JUMP = [0, 1, 2, 103, 104, 205.5]


@SUFFIXES
@KINDS
def test_time_stamps_tell_of_gaps_whatever_the_header_says(tmp_path, suffix, kind):
    path, x = stamped(tmp_path / f"a{suffix}", JUMP, kind)
    sentence = (
        f"{str(path)!r} has a gap in time of 100 s at 3 s and 1 more; ask for the parts between "
        "the gaps, by --gaps parts or tcnzoo.eeg.read_parts"
    )
    assert_refused(InputError, sentence, read_recording, path)
    parts = read_parts(path)
    assert offsets(parts) == [(0.0, 3 * RATE), (103.0, 2 * RATE), (205.5, RATE)]
    np.testing.assert_allclose(np.hstack([part.signal for part in parts]), x, atol=ROUNDING)
    later = [START + datetime.timedelta(seconds=offset) for offset in (0, 103, 205.5)]
    assert [part.start for part in parts] == later
    assert {part.origin for part in parts} == {START}


@SUFFIXES
@KINDS
def test_records_that_follow_each_other_are_one(tmp_path, suffix, kind):
    path, x = stamped(tmp_path / f"a{suffix}", np.arange(6) + 0.25, kind)
    np.testing.assert_allclose(read_recording(path).signal, x, atol=ROUNDING)
    assert offsets(read_parts(path)) == [(0.0, 6 * RATE)]


@SUFFIXES
@pytest.mark.parametrize(
    "times, record, begin, end",
    [
        ([0, 1, 2, 2.5, 3.5], 4, 2.5, 3),
        ([5, 6, 3, 4], 3, 3, 7),
        ([0, 0, 0], 2, 0, 1),
        # Each record overlaps the one before by less than a sample.
        ([0, 0.99, 1.98, 2.97], 3, 1.98, 2),
    ],
)
def test_records_that_overlap_or_go_back(tmp_path, suffix, times, record, begin, end):
    path, _ = stamped(tmp_path / f"a{suffix}", times)
    sentence = (
        f"{str(path)!r} has records that overlap: its record {record} begins at {begin:g} s, but "
        f"the one before ends at {end:g} s"
    )
    for read in (read_recording, read_parts):
        assert_refused(InputError, sentence, read, path)


def test_inexact_stamps_are_no_gaps(tmp_path):
    # Thirds of a second: the header has 8 characters for their duration, the stamps 3 decimals.
    texts = [f"+{record / 3:.3f}\x14\x14\x00".encode() for record in range(300)]
    x = edf_files.signal(300 * 16, 1)
    rows = [*electrodes(x, samples=16), annotations(texts)]
    path = write(tmp_path / "a.edf", rows, kind="EDF+C", seconds="0.333333")
    assert read_recording(path).signal.shape == (19, 300 * 16)


@pytest.mark.parametrize("drift, found", [(9e-5, 1), (-9e-5, 1), (2.5e-4, 3)])
def test_a_clock_may_drift_within_long_records(tmp_path, drift, found):
    # At 20 Hz a sample is 0.05 s, and the drift of a record 0.09 or 0.25 s.
    times = [1000 * (1 + drift) * place for place in range(3)]
    texts = [f"+{time:.4f}\x14\x14\x00".encode() for time in times]
    path, _ = stamped(tmp_path / "a.edf", times, seconds="1000", texts=texts, rate=20_000)
    assert len(read_parts(path)) == found


@pytest.mark.parametrize("gap, found", [(0.008, 1), (0.03, 2)])
def test_a_gap_of_more_than_a_sample_counts(tmp_path, gap, found):
    times = [0, 1, 2 + gap, 3 + gap]
    texts = [f"+{time:.4f}\x14\x14\x00".encode() for time in times]
    path, _ = stamped(tmp_path / "a.edf", times, texts=texts)
    assert len(read_parts(path)) == found


def test_small_gaps_add_up(tmp_path):
    times = 1.009 * np.arange(6)
    path, _ = stamped(tmp_path / "a.edf", times)
    assert len(read_parts(path)) > 1


def test_records_without_a_stamp_follow_the_one_before(tmp_path):
    texts = [*stamps([0]), b"", *stamps([2]), tal(7.0, b"a note"), *stamps([14])]
    path, _ = stamped(tmp_path / "a.edf", range(5), texts=texts)
    assert offsets(read_parts(path)) == [(0.0, 4 * RATE), (14.0, RATE)]
    path, _ = stamped(tmp_path / "b.edf", range(5), "EDF+D", texts=texts)
    with pytest.raises(InputError, match="its record 2 has no time stamp, so its gaps are unknown"):
        read_parts(path)


def test_a_stamp_that_cannot_be(tmp_path):
    texts = [*stamps([0]), b"+999999999999\x14\x14\x00"]
    path, _ = stamped(tmp_path / "a.edf", range(2), texts=texts)
    sentence = f"{str(path)!r} has a damaged time stamp: its record 2 begins at 1e+12 s"
    assert_refused(InputError, sentence, read_recording, path)


def test_the_first_channel_of_annotations_has_the_stamps(tmp_path):
    x = edf_files.signal(4, RATE)
    # An event without a text looks as a stamp does, but stands in the second channel.
    events = [tal(50.0, b"")] * 4
    rows = [annotations(stamps(range(4))), *electrodes(x), annotations(events)]
    assert len(read_parts(write(tmp_path / "a.edf", rows, kind="EDF+C"))) == 1


def test_what_mne_appends_when_it_exports_is_left_out(tmp_path):
    mne = pytest.importorskip("mne")
    pytest.importorskip("edfio")
    x = edf_files.signal(2.5, RATE)
    raw = mne.io.RawArray(
        x * 1e-6, mne.create_info(list(TEN_TWENTY), float(RATE), "eeg"), verbose="error"
    )
    path = tmp_path / "a.edf"
    mne.export.export_raw(path, raw, verbose="error")
    whole = mne.io.read_raw_edf(path, verbose="error")
    assert whole.n_times == 3 * RATE
    found = read_recording(path)
    assert found.duration == 2.5
    # MNE scales each channel by the limits of all; 16 bits over what the signal spans.
    np.testing.assert_allclose(found.signal, x, atol=1.0 * np.ptp(x) / 2**16)


def test_marks_of_mne_in_an_edf(tmp_path):
    texts = stamps(range(6))
    texts[1] += tal(1.5, b"BAD_ACQ_SKIP", 2)
    path, x = stamped(tmp_path / "a.edf", range(6), texts=texts)
    with pytest.raises(InputError, match="has a gap in time of 2 s at 1.5 s; ask for the parts"):
        read_recording(path)
    first, second = read_parts(path)
    assert offsets([first, second]) == [(0.0, 96), (3.5, 160)]
    np.testing.assert_allclose(first.signal, x[:, :96], atol=ROUNDING)
    np.testing.assert_allclose(second.signal, x[:, 224:], atol=ROUNDING)


def fif(path, seconds=60, skips=(), cut=0, date=START, mark="BAD_ACQ_SKIP", buffer=1.0):
    """A FIF with skips (onset, duration), cut at its beginning; and its signal."""
    mne = pytest.importorskip("mne")
    x = edf_files.signal(seconds, RATE) + 100.0
    info = mne.create_info(list(TEN_TWENTY), float(RATE), "eeg")
    raw = mne.io.RawArray(x * 1e-6, info, verbose="error")
    raw.set_meas_date(date)
    onsets, durations = ([skip[place] for skip in skips] for place in (0, 1))
    raw.set_annotations(
        mne.Annotations(onsets, durations, [mark] * len(skips), orig_time=date), verbose="error"
    )
    raw.crop(cut, None).save(path, buffer_size_sec=buffer, verbose="error")
    return x[:, cut * RATE :]


@pytest.mark.parametrize("name", ["a_raw.fif", "a_raw.fif.gz", "A.FIF"])
@pytest.mark.parametrize("date", [START, None])
@pytest.mark.parametrize("cut", [0, 5])
# Skips that do not fit the buffers are written as zeros, others not at all.
@pytest.mark.parametrize("buffer", [1.0, 7.0])
def test_skips_of_a_fif(tmp_path, name, date, cut, buffer):
    mne = pytest.importorskip("mne")
    saved = tmp_path / name.lower()
    x = fif(saved, 60, [(10, 20), (40, 1)], cut, date, buffer=buffer)
    path = saved.rename(tmp_path / name)
    with pytest.raises(InputError, match=f"gap in time of 20 s at {10 - cut} s and 1 more"):
        read_recording(path)
    parts = read_parts(path)
    spans = [(0, 10 - cut), (30 - cut, 40 - cut), (41 - cut, 60 - cut)]
    assert offsets(parts) == [(start, (stop - start) * RATE) for start, stop in spans]
    expected = np.hstack([x[:, start * RATE : stop * RATE] for start, stop in spans])
    found = np.hstack([part.signal for part in parts])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    raw = mne.io.read_raw_fif(path, verbose="error")
    omitted = raw.get_data(reject_by_annotation="omit", verbose="error") * 1e6
    np.testing.assert_allclose(found, omitted, rtol=1e-12)
    begin = None if date is None else date + datetime.timedelta(seconds=cut)
    assert {part.origin for part in parts} == {begin}


def test_a_compressed_fif_in_capitals(tmp_path):
    x = fif(tmp_path / "a_raw.fif.gz", 10, [(2, 3)], 0, START)
    path = (tmp_path / "a_raw.fif.gz").rename(tmp_path / "A_RAW.FIF.GZ")
    first, second = read_parts(path)
    np.testing.assert_allclose(first.signal, x[:, : 2 * RATE], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(second.signal, x[:, 5 * RATE :], rtol=1e-5, atol=1e-4)


def test_a_fif_without_its_first_seconds(tmp_path):
    fif(tmp_path / "a_raw.fif", 10, cut=3)
    found = read_recording(tmp_path / "a_raw.fif")
    assert (found.start, found.duration) == (START + datetime.timedelta(seconds=3), 7.0)


def test_pieces_that_were_put_together(tmp_path):
    mne = pytest.importorskip("mne")
    info = mne.create_info(list(TEN_TWENTY), float(RATE), "eeg")
    x = edf_files.signal(10, RATE)
    pieces = [
        mne.io.RawArray(part * 1e-6, info, verbose="error") for part in np.split(x, [4 * RATE], 1)
    ]
    joined = mne.concatenate_raws(pieces, verbose="error")
    joined.save(tmp_path / "a_raw.fif", verbose="error")
    with pytest.warns(UserWarning, match="was put together from pieces, with joins at 4 s"):
        found = read_recording(tmp_path / "a_raw.fif")
    np.testing.assert_allclose(found.signal, x, rtol=1e-5, atol=1e-4)
    assert offsets(read_parts(tmp_path / "a_raw.fif")) == [(0.0, 4 * RATE), (4.0, 6 * RATE)]


def test_a_recording_of_skips_alone(tmp_path):
    texts = [text + tal(0, b"bad_acq_skip", 9) for text in stamps(range(2))]
    path, _ = stamped(tmp_path / "a.edf", range(2), texts=texts)
    sentence = f"{str(path)!r} is empty: all of it is marked as not recorded"
    assert_refused(InputError, sentence, read_parts, path)


def test_marks_in_any_order_that_overlap():
    found = Marks(
        [(7.0, 8.5), (1.5, 3.0), (2.0, 2.5), (2.5, 4.0), (20.0, 30.0)], [6.0, 2.0, -3.0, 40.0]
    )
    stretches = [Stretch(0, 40, 0.0), Stretch(40, 60, 15.0), Stretch(60, 70, 21.0)]
    expected = ((0, 6, 0.0), (16, 24, 4.0), (24, 28, 6.0), (34, 40, 8.5), (40, 60, 15.0))
    assert cut(stretches, found, 4.0) == expected
    assert cut(stretches, Marks([], []), 4.0) == tuple(stretches)
    assert cut(stretches[:1], Marks([(-5.0, 0.0), (10.0, 11.0)], []), 4.0) == (stretches[0],)


def test_many_marks_are_read_and_told_briefly(tmp_path):
    texts = [
        text + b"".join(tal(record + place / 4, b"edge boundary") for place in (3, 1, 2))
        for record, text in enumerate(stamps(range(3)))
    ]
    path, x = stamped(tmp_path / "a.edf", range(3), texts=texts)
    with pytest.warns(UserWarning, match="joins at 0.25 s, .*, 2.5 s and 1 more; ") as caught:
        found = read_recording(path)
    assert len(caught) == 1
    np.testing.assert_allclose(found.signal, x, atol=ROUNDING)
    lengths = [part.signal.shape[1] for part in read_parts(path)]
    assert lengths == [16, 16, 16, 32, 16, 16, 32, 16, 16, 16]


def test_what_stands_around_annotations(tmp_path):
    first, *others = stamps(range(3))
    skip = tal(1, b"bad_acq_skip", 1)
    path, _ = stamped(tmp_path / "a.edf", range(3), texts=[first + b"\0\0\n x" + skip, *others])
    assert offsets(read_parts(path)) == [(0.0, RATE), (2.0, RATE)]
    # Without its end it is none.
    texts = [first + skip.rstrip(b"\0\x14"), *others]
    path, _ = stamped(tmp_path / "a.edf", range(3), texts=texts)
    assert offsets(read_parts(path)) == [(0.0, 3 * RATE)]


def with_gap(path, gap=1000.0, short=True):
    """40 s with a burst, a gap, half a second if `short`, a gap, and 40 s with a burst."""
    x = eeg_signals.signal(80.5, 256, bursts=((20.0, 31.0), (60.5, 71.5)))
    times = [0.5 * record for record in range(81)] + [40.5 + gap + 0.5 * i for i in range(80)]
    if not short:
        x, times = np.delete(x, range(40 * 256, 40 * 256 + 128), axis=1), [*times[:80], *times[81:]]
    else:
        times[80] += 10.0
    rows = [
        {**row, "physical_min": -3000.0, "physical_max": 3000.0}
        for row in electrodes(x, samples=128)
    ]
    return write(path, [*rows, annotations(stamps(times))], kind="EDF+D", seconds="0.5")


@pytest.mark.parametrize("padding", ["causal", "same"])
def test_each_part_is_detected_by_itself_on_one_clock(tmp_path, padding):
    pytest.importorskip("scipy")
    model = eeg_signals.detector("numpy", padding)
    parts = read_parts(with_gap(tmp_path / "night.edf"))
    with pytest.warns(UserWarning, match="parts shorter than 1 s are left out: 0.5 s at 50 s"):
        found = detect_parts(model, parts)
    assert [part.offset for part in found.left_out] == [50.0]
    assert found.duration == 80.0
    alone = [
        detect(model, Recording(part.signal, part.names, part.sampling_rate)) for part in parts[::2]
    ]
    for part, expected in zip(found.parts, alone, strict=True):
        np.testing.assert_array_equal(part.probabilities, expected.probabilities)
    shifted = [(0.0, event) for event in alone[0].events]
    shifted += [(1040.5, event) for event in alone[1].events]
    assert len(found.events) == 2
    for event, (offset, expected) in zip(found.events, shifted, strict=True):
        assert (event.start, event.stop) == (expected.start + offset, expected.stop + offset)
        assert event.confidence == expected.confidence
    written = found.annotations
    assert (written.duration, written.start, written.name) == (1080.5, START, "night")


def test_every_backend_detects_in_parts(backend):
    pytest.importorskip("scipy")
    first = eeg_signals.recording(16.0, bursts=((6.0, 12.0),))
    second = eeg_signals.recording(16.0, bursts=((7.0, 13.0),), seed=1)
    parts = (first, replace(second, offset=500.25))
    found = detect_parts(eeg_signals.detector(backend), parts)
    expected = detect_parts(eeg_signals.detector("numpy"), parts)
    assert [round(event.start, 2) // 500 for event in found.events] == [0.0, 1.0]
    for one, other in zip(found.events, expected.events, strict=True):
        assert (one.start, one.stop) == (other.start, other.stop)
    for one, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_joins_that_mne_marks_in_an_edf(tmp_path):
    texts = stamps(range(4))
    texts[2] += tal(2.0, b"BAD boundary") + tal(2.0, b"EDGE boundary")
    path, x = stamped(tmp_path / "a.edf", range(4), texts=texts)
    with pytest.warns(UserWarning, match="with joins at 2 s; it is read as if no time had passed"):
        found = read_recording(path)
    np.testing.assert_allclose(found.signal, x, atol=ROUNDING)
    assert offsets(read_parts(path)) == [(0.0, 2 * RATE), (2.0, 2 * RATE)]


def test_parts_that_are_all_too_short():
    parts = [eeg_signals.recording(0.5, bursts=())]
    sentence = "no part of the recording lasts 1 s; the longest has 0.5 s"
    assert_refused(InputError, sentence, detect_parts, eeg_signals.detector(), parts)


def test_a_part_that_cannot_be_used_is_named(tmp_path):
    pytest.importorskip("scipy")
    parts = read_parts(with_gap(tmp_path / "a.edf", short=False))
    parts[1].signal[3] = 7.0
    with pytest.raises(InputError, match=r"channel P3 of '.*a.edf' from 1040.5 s on is flat"):
        detect_parts(eeg_signals.detector(), parts)


def found_at(spans, events):
    """Detections in parts (offset, duration) with events of a second's resolution."""
    parts = tuple(
        Detection(
            Recording(np.zeros((19, int(length))), TEN_TWENTY, 1.0, offset=start),
            np.zeros(int(length)),
            1.0,
            tuple(Event(*event) for event in events if start <= event[0] < start + length),
            PostProcessing(),
        )
        for start, length in spans
    )
    return Detections(parts)


def test_scores_count_what_was_recorded():
    pytest.importorskip("timescoring")
    found = found_at(
        [(0.0, 3600.0), (36000.0, 3600.0)], [(100, 160), (36200, 36260), (37000, 37010)]
    )
    # The second lasts from before the gap until after it, the third lies within it.
    truth = Annotations((Event(100, 160), Event(3590, 36260), Event(9000, 9100)))
    with pytest.warns(UserWarning, match="1 of 3 events of the truth lie where nothing was"):
        scores = score_parts(truth, found)
    # By hand: 3590 to 3600 and 36000 to 36260 are left of the second.
    assert scores.sample.references == 60 + 10 + 260
    assert scores.sample.hits == 60 + 60
    assert scores.sample.false_alarms == 10
    assert scores.event.hits == 2
    assert scores.event.false_alarms == 1
    assert scores.event.references == 3
    for one in (scores.event, scores.sample, scores.taes):
        assert one.seconds == 7200.0
    assert scores.event.false_alarms_a_day == 12.0
    # In recorded time the second is one event of 270 s, of which 60 s are found.
    assert scores.taes.references == 2
    assert scores.taes.hits == pytest.approx(1.0 + 60 / 270)


def test_scores_without_a_gap_are_those_of_a_recording():
    pytest.importorskip("timescoring")
    found = found_at([(0.0, 3600.0)], [(100, 160), (700, 720)])
    truth = Annotations((Event(110, 170),))
    assert score_parts(truth, found) == score(truth, found.annotations, 3600.0)


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def place(tmp_path):
    """A folder with a checkpoint and a recording that has gaps."""
    pytest.importorskip("scipy")
    tcnzoo.save(eeg_signals.detector(), tmp_path / "model")
    with_gap(tmp_path / "night.edf")
    return tmp_path


def test_commands_refuse_gaps(place):
    for command in (("detect", place / "model"), ("stream", place / "model", "--input")):
        done = run(*command, place / "night.edf", "--backend", "numpy")
        assert done.exit_code == 2
        assert "has a gap in time of 10 s at 40 s and 1 more" in done.stderr
        assert "--gaps parts" in done.stderr
        done = run(*command, place / "night.edf", "--gaps", "part")
        assert done.exit_code == 2
        assert "--gaps must be one of refuse, parts, but is 'part'" in done.stderr


@pytest.mark.filterwarnings("default:parts shorter than 1 s are left out")
def test_commands_take_parts(place):
    pytest.importorskip("matplotlib")
    pytest.importorskip("timescoring")
    truth = Annotations((Event(20.0, 31.0), Event(1060.5, 1071.5)), 1080.5)
    write_events(place / "truth.tsv", truth)
    more = ("--gaps", "parts", "--backend", "numpy", "--json")
    out = ("--output", place / "e.tsv", "--figure", place / "e.png", "--probabilities")
    known = ("--truth", place / "truth.tsv")
    args = ("detect", place / "model", place / "night.edf")
    done = run(*args, *out, place / "p.npy", *known, *more)
    assert done.exit_code == 0, done.output
    assert "parts shorter than 1 s are left out: 0.5 s at 50 s" in done.stderr
    report = json.loads(done.stdout)
    assert report["duration"] == 80.0
    spans = [{"start": 0.0, "duration": 40.0}, {"start": 1040.5, "duration": 40.0}]
    assert report["parts"] == spans
    assert report["left_out"] == [{"start": 50.0, "duration": 0.5}]
    first, second = (event["start"] for event in report["events"])
    assert 19.8 < first < 21.5
    assert 1060.3 < second < 1062.0
    assert report["scores"]["event"]["sensitivity"] == 1.0
    assert report["scores"]["event"]["seconds"] == 80.0
    assert np.load(place / "p.npy").shape == (80 * 256,)
    assert (place / "e.png").read_bytes().startswith(b"\x89PNG")
    written = read_events(place / "e.tsv")
    assert (written.duration, written.start) == (1080.5, START.replace(tzinfo=None))
    done = run("stream", place / "model", "--input", place / "night.edf", *more)
    assert done.exit_code == 0, done.output
    streamed = json.loads(done.stdout)
    assert streamed["parts"] == spans
    assert streamed["chunks"] == 2 * 40
    for one, other in zip(streamed["events"], report["events"], strict=True):
        assert (one["start"], one["stop"]) == (other["start"], other["stop"])


def test_gaps_are_of_recordings(place):
    np.save(place / "x.npy", np.zeros((19, 100), np.float32))
    args = ("--input", place / "x.npy", "--gaps", "parts", "--backend", "numpy")
    done = run("stream", place / "model", *args)
    assert done.exit_code == 2
    assert "--gaps is for EEG recordings, but the input is" in done.stderr


def test_a_fraction_of_a_second_reaches_the_files(tmp_path):
    start = datetime.datetime(2024, 1, 1, 22, 0, 0, 750000)
    for when, shown in ((start, "22:00:00.750000"), (start.replace(microsecond=0), "22:00:00")):
        write_events(tmp_path / "e.tsv", Annotations((Event(1.0, 2.0),), 10.0, when))
        assert f"\t2024-01-01 {shown}\t" in (tmp_path / "e.tsv").read_text()
        assert read_events(tmp_path / "e.tsv").start == when


def test_settings_are_those_of_detect(tmp_path):
    pytest.importorskip("scipy")
    parts = read_parts(with_gap(tmp_path / "a.edf", short=False))
    after = PostProcessing(tau_on=0.9999999, tau_off=0.9)
    settings = Preprocessing(mode="zero-phase", notch=None)
    lines = []
    found = detect_parts(
        eeg_signals.detector(),
        parts,
        preprocessing=settings,
        postprocessing=after,
        say=lines.append,
    )
    assert found.postprocessing is after
    expected = detect(
        eeg_signals.detector(), parts[1], preprocessing=settings, postprocessing=after
    )
    np.testing.assert_array_equal(found.parts[1].probabilities, expected.probabilities)
    assert lines[0] == "part 1 of 2: preprocessing"
