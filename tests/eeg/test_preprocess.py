"""Preprocessing: the origin's formulas, streaming in any chunks, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tcnzoo.eeg.online import OnlinePreprocessor, RunningScale
from tcnzoo.eeg.preprocess import Preprocessing, prepare
from tcnzoo.eeg.recordings import Recording
from tcnzoo.eeg.resampler import Resampler
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused, noise

scipy_signal = pytest.importorskip("scipy.signal")

NAMES = ("a", "b", "c")


def recording(rate=256.0, seconds=4.0, signal=None):
    """Three channels of different levels, with drift and mains."""
    if signal is None:
        steps = round(seconds * rate)
        time = np.arange(steps) / rate
        waves = 50.0 * np.sin(2 * np.pi * 60.0 * time) + 200.0 * time
        signal = waves + noise(3, steps) * np.array([[20.0], [40.0], [5.0]]) + 300.0
    return Recording(signal, NAMES, rate)


def by_the_origin(x, rate, filtered):
    """The chain in the origin's own terms: transfer functions, and resampling first."""
    x = scipy_signal.resample(x, round(x.shape[1] * 256 / rate), axis=1) if rate != 256 else x
    band = scipy_signal.butter(3, [0.5, 120.0], btype="band", fs=256.0)
    for b, a in (band, scipy_signal.iirnotch(60.0, 30.0, fs=256.0)):
        x = filtered(b, a, x, axis=1)
    x = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-8)
    return np.clip(x, -10.0, 10.0)


# Transfer functions of order 6 with poles near 1 lose about 5 digits, which sections do not.
@pytest.mark.parametrize("rate", [256.0, 200.0, 400.0])
@pytest.mark.filterwarnings("ignore:the (recording has 200 Hz|offsets of the electrodes)")
def test_origin_is_one_pass_of_the_origins_filters(rate):
    found = prepare(recording(rate))
    expected = by_the_origin(recording(rate).signal, rate, scipy_signal.lfilter)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_zero_phase_moves_no_wave():
    steps = 256 * 8
    wave = np.sin(2 * np.pi * 5.0 * np.arange(steps) / 256)
    found = prepare(recording(signal=np.stack([wave] * 3)), Preprocessing(mode="zero-phase"))
    middle = slice(steps // 4, -steps // 4)
    np.testing.assert_allclose(
        found[:, middle], np.stack([wave] * 3)[:, middle] * 2**0.5, atol=0.05
    )


def test_outliers_are_clipped_and_each_channel_scaled():
    signal = noise(3, 4096) * np.array([[1.0], [100.0], [0.01]])
    signal[:, 2000] *= 1e4
    found = prepare(recording(signal=signal), Preprocessing(clip=3.0))
    assert np.abs(found).max() == 3.0
    found = prepare(recording(signal=noise(3, 4096) * np.array([[1.0], [100.0], [0.01]])))
    np.testing.assert_allclose(found.std(axis=1), 1.0, atol=1e-5)


def test_notch_at_50_hz_or_none():
    time = np.arange(2560) / 256
    for mains, notch in ((50.0, 50.0), (60.0, 60.0)):
        wave = np.sin(2 * np.pi * mains * time) * 1000 + noise(3, 2560)
        with_notch = prepare(recording(signal=wave), Preprocessing(notch=notch, mode="zero-phase"))
        without = prepare(recording(signal=wave), Preprocessing(notch=None, mode="zero-phase"))

        def power(x, mains=mains):
            spectrum = np.abs(np.fft.rfft(x[:, 1024:1536], axis=1)) ** 2
            place = round(mains * 2)
            return (spectrum[:, place] / spectrum.sum(axis=1)).max()

        assert power(without) > 0.9 > 100 * power(with_notch)


def streamed(online, x, cuts):
    pieces = [online.push(piece) for piece in np.split(x, cuts, axis=1)]
    return np.concatenate([*pieces, online.finish()], axis=1)


chunkings = st.lists(st.integers(0, 600), max_size=10).map(sorted)


@settings(max_examples=25)
@given(chunkings, st.sampled_from([256.0, 250.0, 200.0, 512.0, 1000.0]), st.booleans())
def test_chunks_give_the_same_numbers(cuts, rate, cumulative):
    options = Preprocessing(mode="causal", time_constant=None if cumulative else 0.5)
    x = noise(3, 700) * 30.0
    whole = streamed(OnlinePreprocessor(options, rate, 3), x, [])
    found = streamed(OnlinePreprocessor(options, rate, 3), x, cuts)
    assert found.shape == whole.shape
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [256.0, 250.0])
def test_causal_is_the_streams_own_result(rate):
    x = recording(rate, seconds=3.0)
    online = OnlinePreprocessor(Preprocessing(mode="causal"), rate, 3)
    expected = streamed(online, x.signal, [1, 2, 90])
    np.testing.assert_array_equal(prepare(x, Preprocessing(mode="causal")), expected)


def test_causal_looks_only_back():
    online = OnlinePreprocessor(Preprocessing(mode="causal"), 256.0, 3)
    first = online.push(recording().signal[:, :400])
    other = OnlinePreprocessor(Preprocessing(mode="causal"), 256.0, 3)
    np.testing.assert_array_equal(other.push(recording().signal)[:, :400], first)


RATIOS = {250: (128, 125), 200: (32, 25), 512: (1, 2), 1000: (32, 125), 128: (2, 1)}


@pytest.mark.parametrize("rate", RATIOS)
def test_the_streams_resampler_is_polyphase_resampling(rate):
    x = noise(2, 701)
    online = Resampler(rate, 256.0, 2)
    found = np.concatenate([online.push(x[:, :300]), online.push(x[:, 300:]), online.finish()], 1)
    up, down = RATIOS[rate]
    expected = scipy_signal.resample_poly(
        x, up, down, axis=1, window=("kaiser", 5.0), padtype="edge"
    )
    # Each phase of scipy's filter is divided by its sum, which is within 0.0007 of 1 (and exactly 1
    # where the rate is divided by a whole number).
    constant = np.ones((1, 701))
    gain = scipy_signal.resample_poly(
        constant, up, down, axis=1, window=("kaiser", 5.0), padtype="edge"
    )
    assert np.abs(gain - 1.0).max() < 7e-4
    np.testing.assert_allclose(found, expected / gain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", RATIOS)
def test_a_constant_is_resampled_to_itself(rate):
    levels = np.array([[3e5], [-2e4]])
    online = Resampler(rate, 256.0, 2)
    pieces = [online.push(np.tile(levels, size)) for size in (0, 1, 700)]
    found = np.concatenate([*pieces, online.finish()], axis=1)
    assert found.shape == (2, -(-701 * 256 // rate))
    # A sum of some 20 to 100 products in float64.
    np.testing.assert_allclose(found, np.tile(levels, found.shape[1]), rtol=1e-14)


@pytest.mark.parametrize("rate", [250.0, 512.0])
def test_the_resamplers_latency_is_what_it_waits(rate):
    online, came, given = Resampler(rate, 256.0, 1), 0, 0
    for _ in range(300):
        came, given = came + 1, given + online.push(noise(1, 1)).shape[1]
        # Output k stands for k / 256 s, and waits for the input up to `latency` later, no longer.
        assert given == 0 or (given - 1) / 256.0 + online.latency < came / rate
        assert given / 256.0 + online.latency > (came - 1) / rate - 1e-9


@pytest.mark.parametrize("seconds", [None, 0.1])
def test_the_running_scale_weighs_the_past(seconds):
    x = noise(2, 90)
    found = RunningScale(2, 100.0, seconds, 1e-8).push(x)
    for last in range(90):
        age = np.arange(last, -1, -1) / 100.0
        weight = np.ones(last + 1) if seconds is None else np.exp(-age / seconds)
        past = x[:, : last + 1]
        mean = (past * weight).sum(axis=1) / weight.sum()
        variance = ((past - mean[:, None]) ** 2 * weight).sum(axis=1) / weight.sum()
        expected = (x[:, last] - mean) / (np.sqrt(variance) + 1e-8)
        np.testing.assert_allclose(found[:, last], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["origin", "zero-phase", "causal"])
@pytest.mark.parametrize(
    "value, sentence",
    [(7.5, "is flat: all of it is 7.5 uV"), (np.nan, "holds NaN and nothing else")],
)
def test_a_channel_without_anything_is_named(mode, value, sentence):
    signal = recording().signal
    signal[1] = value
    assert_refused(
        InputError,
        f"channel b of the recording {sentence}",
        prepare,
        recording(signal=signal),
        Preprocessing(mode=mode),
    )


@pytest.mark.parametrize(
    "mode, value",
    [
        ("origin", "0 uV"),
        *((mode, "the last good one of their") for mode in ("zero-phase", "causal")),
    ],
)
def test_single_nan_samples_are_replaced_with_a_warning(mode, value):
    signal = np.array([[20.0], [40.0], [5.0]]) * noise(3, 1024)
    replaced = signal.copy()
    replaced[0, 100:103] = 0.0 if mode == "origin" else signal[0, 99]
    replaced[2, 7] = 0.0 if mode == "origin" else signal[2, 6]
    signal[0, 100:103], signal[2, 7] = np.nan, -np.inf
    sentence = (
        f"the recording has samples that are NaN or infinite, which count as {value}.*: 3 in a, "
        "1 in c"
    )
    with pytest.warns(UserWarning, match=sentence):
        found = prepare(recording(signal=signal), Preprocessing(mode=mode))
    expected = prepare(recording(signal=replaced), Preprocessing(mode=mode))
    np.testing.assert_array_equal(found, expected)


def test_a_low_rate_is_said():
    with pytest.warns(UserWarning, match="has 100 Hz, so there is nothing in it above 50 Hz"):
        prepare(recording(rate=100.0), Preprocessing(mode="zero-phase"))


def test_a_recording_of_less_than_a_second():
    sentence = "the recording must last at least 1 s, but has 0.5 s"
    assert_refused(InputError, sentence, prepare, recording(seconds=0.5))


@pytest.mark.parametrize(
    "options, sentence",
    [
        (
            {"mode": "best"},
            "preprocessing must be one of origin, zero-phase, causal, but is 'best'",
        ),
        (
            {"band": (0.5, 128.0)},
            "the band must lie between 0 and half of 256 Hz, but is 0.5 to 128 Hz",
        ),
        ({"notch": 200.0}, "the notch must lie between 0 and half of 256 Hz, but is at 200 Hz"),
        ({"clip": 0.0}, "clip must be above 0, but is 0.0"),
        ({"time_constant": -1.0}, "time_constant must be above 0, but is -1.0"),
    ],
)
def test_settings_that_cannot_be(options, sentence):
    assert_refused(InputError, sentence, Preprocessing, **options)


def test_streams_that_cannot_be():
    causal = Preprocessing(mode="causal")
    sentence = "preprocessing 'origin' needs all of a recording, so it cannot stream; use 'causal'"
    assert_refused(InputError, sentence, OnlinePreprocessor, Preprocessing(), 256.0, 3)
    sentence = "the sampling rate must be above 0 Hz, but is -1.0"
    assert_refused(InputError, sentence, OnlinePreprocessor, causal, -1.0, 3)
    sentence = (
        "a stream of 255.98765 Hz cannot be brought to 256 Hz: their ratio must be one of whole "
        "numbers up to 4096"
    )
    assert_refused(InputError, sentence, OnlinePreprocessor, causal, 255.98765, 3)
    online = OnlinePreprocessor(causal, 256.0, 3)
    assert_refused(
        InputError, "a chunk must be (3, time), but has shape (5, 3)", online.push, np.zeros((5, 3))
    )
