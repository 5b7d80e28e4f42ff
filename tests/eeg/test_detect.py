"""Recordings to events by a model: the events that were put in are found, at once or streamed."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.eeg.detector import Detector, stream
from tcnzoo.eeg.events import Annotations, Event
from tcnzoo.eeg.logits import Logits, to_probabilities
from tcnzoo.eeg.pipeline import detect
from tcnzoo.eeg.postprocess import PostProcessing
from tcnzoo.eeg.preprocess import Preprocessing
from tcnzoo.eeg.recordings import Recording, read_recording
from tcnzoo.eeg.scoring import score
from tcnzoo.eeg.windows import Windows
from tcnzoo.errors import InputError
from tests.support import eeg_signals
from tests.support.compare import assert_refused
from tests.support.eeg_signals import BURSTS

pytest.importorskip("scipy")

TRUTH = Annotations(tuple(Event(start, stop) for start, stop in BURSTS))
# A second of mean before the threshold, and a second of hysteresis after it; and the causal scale,
# which a burst itself raises.
LATE = 1.5
WINDOWS = Windows(5120, 2560)


def assert_found(events, bursts=BURSTS):
    """Hold the events against what was put in."""
    assert len(events) == len(bursts)
    for event, (start, stop) in zip(events, bursts, strict=True):
        assert start - 0.2 <= event.start <= start + LATE
        assert stop - LATE <= event.stop <= stop + LATE
        assert 0.8 < event.confidence <= 1.0


def streamed(model, recording, chunks, **options):
    """(events, probabilities) of a recording in chunks of the given lengths, over and over."""
    detector = Detector(model, recording.sampling_rate, **options)
    events, pieces, start, turn = [], [], 0, 0
    while start < recording.signal.shape[1]:
        size = chunks[turn % len(chunks)]
        step = detector.push(recording.signal[:, start : start + size])
        events, pieces = events + step.events, [*pieces, step.probabilities]
        start, turn = start + size, turn + 1
    step = detector.finish()
    return events + step.events, np.concatenate([*pieces, step.probabilities])


@pytest.mark.parametrize("mode", ["origin", "zero-phase", "causal"])
@pytest.mark.parametrize("padding", ["causal", "same"])
def test_bursts_of_an_edf_are_found(tmp_path, mode, padding):
    pytest.importorskip("mne")
    pytest.importorskip("edfio")
    eeg_signals.write_edf(tmp_path / "night.edf", eeg_signals.signal())
    recording = read_recording(tmp_path / "night.edf")
    model = eeg_signals.detector("numpy", padding)
    found = detect(model, recording, preprocessing=Preprocessing(mode=mode), windows=WINDOWS)
    assert found.probabilities.shape == (75 * 256,)
    assert_found(found.events)
    assert found.annotations.name == "night"
    scores = score(TRUTH, found.annotations, recording.duration)
    assert scores.event.sensitivity == scores.event.precision == 1.0
    assert scores.taes.sensitivity > 0.85
    assert scores.taes.false_alarms < 0.5


def test_every_backend_finds_the_same(backend):
    recording = eeg_signals.recording(40.0, bursts=BURSTS[:1])
    found = detect(eeg_signals.detector(backend), recording)
    expected = detect(eeg_signals.detector("numpy"), recording)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert_found(found.events, BURSTS[:1])
    events, _ = streamed(eeg_signals.detector(backend), recording, [256])
    assert [(e.start, e.stop) for e in events] == [(e.start, e.stop) for e in found.events]


@pytest.mark.parametrize("rate", [256, 250])
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("chunks", [[256], [26], [1, 700, 13, 2, 90]], ids=["1s", "0.1s", "ragged"])
def test_chunks_give_the_events_of_the_whole(rate, strided, chunks):
    recording = eeg_signals.recording(72.3, rate)
    model = eeg_signals.detector("numpy", strided=strided)
    whole = detect(model, recording)
    events, probabilities = streamed(model, recording, chunks)
    # float32 convolutions of chunks and of the whole differ in the last bits.
    np.testing.assert_allclose(probabilities, whole.probabilities, atol=1e-5)
    assert_found(events)
    for event, expected in zip(events, whole.events, strict=True):
        assert (event.start, event.stop) == (expected.start, expected.stop)
        assert event.confidence == pytest.approx(expected.confidence, abs=1e-5)


def test_probabilities_are_as_long_as_the_signal_whatever_the_stride():
    for steps in (1024, 1025, 1039):
        recording = eeg_signals.recording(steps / 256, bursts=())
        model = eeg_signals.detector("numpy", strided=True)
        assert detect(model, recording).probabilities.shape == (steps,)
        assert streamed(model, recording, [100])[1].shape == (steps,)


def test_windows_are_stitched():
    recording = eeg_signals.recording(61.7)
    model = eeg_signals.detector("numpy", "same")
    # A window sees zeros beyond its edges, where the mean over a second goes wrong; windows that
    # overlap by more than that agree with the whole in the middle of each.
    whole = detect(model, recording, windows=Windows(15795, 15795))
    for method in ("overlap_add", "overlap_add_weighted", "max"):
        found = detect(model, recording, windows=Windows(5120, 2560, method), batch_size=3)
        assert_found(found.events)
        np.testing.assert_allclose(found.probabilities, whole.probabilities, atol=0.55)


def test_an_event_may_last_until_the_end():
    recording = eeg_signals.recording(40.0, bursts=((30.0, 40.0),))
    model = eeg_signals.detector()
    whole = detect(model, recording)
    assert whole.events[-1].stop == 40.0
    events, _ = streamed(model, recording, [256])
    assert [(e.start, e.stop) for e in events] == [(e.start, e.stop) for e in whole.events]


def test_thresholds_matter():
    recording = eeg_signals.recording()
    found = detect(
        eeg_signals.detector(),
        recording,
        postprocessing=PostProcessing(tau_on=0.9999999, tau_off=0.9),
    )
    assert len(found.events) < 2


def test_latency_is_stated_and_kept():
    recording = eeg_signals.recording()
    detector = Detector(eeg_signals.detector(strided=True))
    latency = detector.latency
    assert (latency.preprocessing, latency.model) == (0.0, 15 / 256)
    assert latency.total == (15 + 513) / 256
    came, late = 0, []
    for step in stream(detector, recording, 16):
        came += 16
        late += [came / 256 - event.stop for event in step.events]
    assert len(late) == 2
    assert all(one <= latency.total + 16 / 256 for one in late)
    assert Detector(eeg_signals.detector(), 250.0).latency.preprocessing == 0.04


def test_an_event_is_announced_while_it_goes_on():
    detector = Detector(eeg_signals.detector())
    x = eeg_signals.signal()
    detector.push(x[:, : 22 * 256])
    assert detector.ongoing is None
    detector.push(x[:, 22 * 256 : 28 * 256])
    assert 20.0 <= detector.ongoing <= 20.0 + LATE


def test_electrodes_may_come_in_any_order():
    one = eeg_signals.recording(40.0, bursts=BURSTS[:1])
    other = Recording(one.signal[::-1], one.names[::-1], one.sampling_rate)
    model = eeg_signals.detector()
    assert detect(model, other).events == detect(model, one).events


def test_streaming_counts_nan_as_the_last_good_sample():
    recording = eeg_signals.recording(40.0, bursts=BURSTS[:1])
    recording.signal[3, 500:600] = np.nan
    assert_found(streamed(eeg_signals.detector(), recording, [256])[0], BURSTS[:1])


def test_models_that_are_no_detectors():
    recording = eeg_signals.recording(5.0, bursts=())
    conv = {"kind": "conv1d", "in_channels": 3, "out_channels": 1, "kernel_size": 1}
    sentence = "a detector takes 19 channels, but the model takes 3"
    assert_refused(InputError, sentence, detect, tcnzoo.create(conv, "numpy"), recording)
    conv = {**conv, "in_channels": 19, "out_channels": 2}
    sentence = (
        "a detector gives one logit for each sample, (1, 15360), but the output of the model is "
        "(2, 15360)"
    )
    assert_refused(InputError, sentence, detect, tcnzoo.create(conv, "numpy"), recording)
    with pytest.raises(InputError, match="this model cannot stream: .*padding 'same' looks ahead"):
        Detector(eeg_signals.detector(padding="same"))
    sentence = "batch_size must be at least 1, but is 0"
    assert_refused(InputError, sentence, detect, eeg_signals.detector(), recording, batch_size=0)


def test_a_model_that_gives_nan():
    model = eeg_signals.detector()
    weights = tcnzoo.get_weights(model)
    weights["mean.bias"][:] = np.nan
    tcnzoo.set_weights(model, weights)
    recording = eeg_signals.recording(5.0, bursts=())
    sentence = "the output of the model must be finite, but holds NaN"
    assert_refused(InputError, sentence, detect, model, recording)


def test_a_detector_that_lost_a_chunk_takes_no_more():
    model = eeg_signals.detector()
    right = tcnzoo.get_weights(model)
    detector, x = Detector(model), eeg_signals.signal(2.0, bursts=())
    with pytest.raises(InputError):
        detector.push(x[:5])  # a wrong shape costs nothing
    detector.push(x[:, :256])
    tcnzoo.set_weights(model, {**right, "mean.bias": np.full_like(right["mean.bias"], np.nan)})
    sentence = "the output of the model must be finite, but holds NaN"
    assert_refused(InputError, sentence, detector.push, x[:, 256:])
    tcnzoo.set_weights(model, right)
    for call in (lambda: detector.push(x[:, 256:]), detector.finish):
        with pytest.raises(InputError, match="^this detector lost a chunk to an error"):
            call()


def test_the_streaming_preset_runs():
    recording = eeg_signals.recording(4.0, bursts=())
    model = tcnzoo.create("seizure-stream", "numpy", seed=1)
    detector = Detector(model)
    assert detector.latency.model == 15 / 256
    whole = detect(model, recording)
    _, probabilities = streamed(model, recording, [300])
    np.testing.assert_allclose(probabilities, whole.probabilities, atol=1e-5)


def test_a_detector_that_holds_its_memory():
    # A value that is not finite, as a model can make from a huge one: no event, and then as before.
    memory = {"kind": "squeeze_excitation", "channels": 19, "pool": "cumulative"}
    last = {"kind": "conv1d", "in_channels": 19, "out_channels": 1, "kernel_size": 1}
    layers = {"memory": memory, "out": last}
    model = tcnzoo.create({"kind": "sequential", "layers": layers}, "numpy")
    x = np.random.default_rng(0).standard_normal((19, 12)).astype(np.float32)
    bad = x.copy()
    bad[3, 5] = np.nan
    with pytest.raises(InputError, match=r"^memory \(squeeze_excitation\) would hold NaN"):
        Logits(model).push(bad)
    held, plain = Logits(model, "hold"), Logits(model, "hold")
    found = to_probabilities(held.push(bad))
    np.testing.assert_array_equal(found[5:], 0.0)
    np.testing.assert_array_equal(held.push(x), plain.push(x))
    with pytest.raises(InputError, match="nonfinite must be one of raise, hold, reset"):
        Detector(eeg_signals.detector(), nonfinite="stop")
