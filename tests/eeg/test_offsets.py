"""Offsets and drifts of electrodes, tens of mV in DC-coupled amplifiers, are no signal."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tcnzoo.eeg.detector import Detector, stream
from tcnzoo.eeg.online import OnlinePreprocessor
from tcnzoo.eeg.pipeline import detect
from tcnzoo.eeg.preprocess import Preprocessing, prepare
from tcnzoo.eeg.recordings import Recording
from tcnzoo.eeg.resampler import Resampler
from tests.support import eeg_signals
from tests.support.compare import noise
from tests.support.eeg_signals import BURSTS

pytest.importorskip("scipy")

NAMES = ("a", "b", "c")
RATES = [256, 250, 200, 128, 512, 500, 1000]
# uV: a DC-coupled amplifier's, one of the other sign, and almost none.
OFFSETS = np.array([[2e4], [-3e5], [3.0]])
pytestmark = pytest.mark.filterwarnings("ignore:.* Hz, so there is nothing in it above")


def eeg(rate, seconds=6.0):
    """Three channels of 20 uV."""
    return 20.0 * noise(3, round(rate * seconds))


def prepared(x, rate, mode):
    return prepare(Recording(x, NAMES, float(rate)), Preprocessing(mode=mode))


@pytest.mark.parametrize("mode", ["causal", "zero-phase"])
@pytest.mark.parametrize("rate", RATES)
def test_an_offset_changes_nothing(mode, rate):
    x = eeg(rate)
    # 3e5 uV are held to 6e-11 uV, and the result is float32.
    np.testing.assert_allclose(
        prepared(x + OFFSETS, rate, mode), prepared(x, rate, mode), rtol=0, atol=1e-6
    )


chunkings = st.lists(st.integers(0, 600), max_size=10).map(sorted)


@settings(max_examples=25, deadline=None)
@given(chunkings, st.sampled_from(RATES), st.booleans(), st.integers(0, 40))
def test_chunks_with_an_offset_give_the_same_numbers(cuts, rate, cumulative, broken):
    options = Preprocessing(mode="causal", time_constant=None if cumulative else 0.5)
    x = eeg(rate, 700 / rate) + OFFSETS
    # Samples that are no numbers, before the first one of a channel and later.
    x[0, :broken], x[1, 300 : 300 + broken], x[2, broken] = np.nan, np.inf, np.nan

    def streamed(pieces):
        online = OnlinePreprocessor(options, float(rate), 3)
        return np.concatenate([*map(online.push, pieces), online.finish()], axis=1)

    whole = streamed([x])
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(streamed(np.split(x, cuts, axis=1)), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["causal", "zero-phase"])
@pytest.mark.parametrize("rate", [256, 250])
@pytest.mark.filterwarnings("ignore:the recording has samples that are NaN")
def test_samples_that_are_no_numbers_are_no_step(mode, rate):
    x = eeg(rate)
    x[:, :3] = x[:, 500:550] = x[1, 40] = np.nan
    np.testing.assert_allclose(
        prepared(x + OFFSETS, rate, mode), prepared(x, rate, mode), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["causal", "zero-phase"])
@pytest.mark.parametrize("rate", RATES)
def test_a_drift_is_no_signal(mode, rate):
    x = eeg(rate, 20.0)
    drift = np.linspace(0.0, 1e3, x.shape[1])
    found, expected = prepared(x + drift, rate, mode), prepared(x, rate, mode)
    inner = slice(256 * 5, 256 * 15)
    # The filters need seconds to settle on the slope.
    np.testing.assert_allclose(found[:, inner].std(1), expected[:, inner].std(1), rtol=0.02)


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate != 256])
def test_an_offset_that_comes_later_makes_no_wave(rate):
    online = Resampler(float(rate), 256.0, 1)
    step = np.where(np.arange(3 * rate) < rate, 5.0, 2e4)[None]
    found = np.concatenate([online.push(step), online.finish()], axis=1)
    # The filter reaches over 10 samples of the lower rate.
    reach = 1 + 10 * 256 // min(rate, 256)
    np.testing.assert_allclose(found[0, : 256 - reach], 5.0, rtol=1e-14)
    np.testing.assert_allclose(found[0, 256 + reach :], 2e4, rtol=1e-14)


@pytest.mark.parametrize("rate", [256, 250, 512])
def test_origin_names_what_an_offset_makes_too_small(rate):
    x = eeg(rate, 60.0)
    plain = prepared(x, rate, "origin")
    sentence = "the offsets of the electrodes in the recording change the scale of the EEG, since"
    with pytest.warns(UserWarning, match=sentence) as seen:
        found = prepared(x + OFFSETS, rate, "origin")
    late = slice(plain.shape[1] // 2, None)
    sizes = found[:, late].std(1) / plain[:, late].std(1)
    told = dict(re.findall(r"(\w) has ([\d.e-]+) of its size", str(seen[0].message)))
    assert list(told) == ["b", "a"]
    for name, size in told.items():
        # Told to two digits; 60 s hold a little of what is clipped.
        np.testing.assert_allclose(float(size), sizes[NAMES.index(name)], rtol=0.06)


@pytest.mark.parametrize("rate", [512, 1000])
def test_origin_names_a_drift_that_fourier_resampling_takes_for_a_step(rate):
    x = eeg(rate, 60.0)
    x[0] += np.linspace(0.0, 2e4, x.shape[1])
    with pytest.warns(UserWarning, match=r": a has 0\.\d+ of its size \(-?\d+ uV at the start"):
        prepared(x, rate, "origin")


@pytest.mark.parametrize("rate", RATES)
def test_origin_has_nothing_to_say_of_eeg_around_0(rate):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.isfinite(prepared(eeg(rate, 30.0), rate, "origin")).all()
    assert not [one for one in caught if "of its size" in str(one.message)]


@pytest.mark.parametrize("rate", [256, 250])
def test_events_are_found_whatever_the_offsets(rate):
    plain = eeg_signals.recording(40.0, rate, BURSTS[:1])
    offsets = np.linspace(-3e5, 3e5, 19)[:, None]
    moved = Recording(plain.signal + offsets, plain.names, plain.sampling_rate)
    model = eeg_signals.detector()
    expected = detect(model, plain)
    (event,) = expected.events
    found = detect(model, moved)
    assert [(e.start, e.stop) for e in found.events] == [(event.start, event.stop)]
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    steps = list(stream(Detector(model, float(rate)), moved, 97))
    assert [(e.start, e.stop) for step in steps for e in step.events] == [(event.start, event.stop)]
