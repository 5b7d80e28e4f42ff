"""Probabilities to events: against the rules written out step by step, and in any chunks."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tcnzoo.eeg.events import Event
from tcnzoo.eeg.postprocess import PostProcessing, PostProcessor, postprocess
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused

RATE = 10.0


def hysteresis(p, s):
    """The mask, by the state machine that the origin describes, one sample after the other."""
    mask, inside, high, low = np.zeros(len(p), bool), False, 0, 0
    for place, value in enumerate(p):
        high = high + 1 if value >= s.tau_on else 0
        low = low + 1 if value < s.tau_off else 0
        if not inside and high >= s.onset_samples:
            inside = True
            mask[place - s.onset_samples + 1 : place] = True
        elif inside and low >= s.offset_samples:
            inside = False
        mask[place] = inside
    return mask


def pooled(mask, size, largest):
    """Largest or smallest value of a window that is cut off at the borders."""
    half, pick = size // 2, max if largest else min
    return np.array(
        [pick(mask[max(0, t - half) : t + half + 1]) for t in range(len(mask))], dtype=bool
    )


def morphology(mask, s):
    opened = pooled(pooled(mask, s.opening, largest=False), s.opening, largest=True)
    return pooled(pooled(opened, s.closing, largest=True), s.closing, largest=False)


def events_by_hand(p, s, rate):
    """Runs, joined and cut by the words of the docstring."""
    mask = morphology(hysteresis(p, s), s)
    runs, start = [], None
    for place, value in enumerate([*mask, False]):
        if value and start is None:
            start = place
        elif not value and start is not None:
            runs.append((start, place))
            start = None
    runs = [run for run in runs if run[1] - run[0] >= s.min_duration * rate]
    most, joined = round(s.max_duration * rate), []
    for start, stop in runs:
        last = joined[-1] if joined else None
        full = last and last[-1][1] - last[0][0] == most
        near = last and start - last[-1][1] <= s.merge_gap * rate and start < last[0][0] + most
        if not near or full:
            joined.append([])
        joined[-1].append((start, stop))
        while joined[-1][-1][1] - joined[-1][0][0] >= most:
            begin, end = joined[-1][-1][0], joined[-1][0][0] + most
            rest = joined[-1].pop()[1]
            joined[-1].append((begin, end))
            if rest == end:
                break
            joined.append([(end, rest)])
    confidence = {
        "mean": np.mean,
        "peak": np.max,
        "percentile": lambda values: np.quantile(values, s.percentile),
    }[s.confidence]
    return [
        Event(one[0][0] / rate, one[-1][1] / rate, max(float(confidence(p[a:b])) for a, b in one))
        for one in joined
        if one[-1][1] - one[0][0] >= s.min_duration * rate
    ]


def streamed(p, s, cuts, rate=RATE):
    processor, found = PostProcessor(s, rate), []
    for piece in np.split(p, cuts):
        found += processor.push(piece)
    return found + processor.finish()


# Stretches of high, middle and low probabilities, a few samples to longer than an event may be.
stretches = st.lists(
    st.tuples(st.sampled_from([0.1, 0.8, 0.9, 0.95]), st.integers(1, 25) | st.integers(50, 150)),
    min_size=1,
    max_size=25,
).map(lambda parts: np.concatenate([np.full(count, value) for value, count in parts]))
chunkings = st.lists(st.integers(0, 400), max_size=12).map(sorted)
variants = st.fixed_dictionaries(
    {
        "onset_samples": st.integers(1, 6),
        "offset_samples": st.integers(1, 8),
        "opening": st.sampled_from([1, 3, 9]),
        "closing": st.sampled_from([1, 5, 11]),
        "min_duration": st.sampled_from([0.0, 0.1, 0.6, 1.5]),
        "merge_gap": st.sampled_from([0.0, 0.3, 1.4]),
        "max_duration": st.sampled_from([1.6, 4.0, 90.0]),
        "confidence": st.sampled_from(["mean", "peak", "percentile"]),
    }
)


@settings(max_examples=120)
@given(stretches, variants, st.integers(0, 2**32 - 1))
def test_events_follow_the_rules(p, options, seed):
    p = np.clip(p + np.random.default_rng(seed).uniform(-0.08, 0.05, len(p)), 0.0, 1.0)
    s = PostProcessing(**options)
    assert postprocess(p, s, RATE) == events_by_hand(p, s, RATE)


@settings(max_examples=120)
@given(stretches, variants, chunkings, st.booleans())
def test_chunks_give_the_same_events(p, options, cuts, single):
    s = PostProcessing(**options)
    cuts = list(range(1, len(p))) if single else cuts
    assert streamed(p, s, cuts) == postprocess(p, s, RATE)


masks = st.lists(st.tuples(st.integers(1, 14), st.booleans()), min_size=1, max_size=20).map(
    lambda parts: np.concatenate([np.full(count, value) for count, value in parts])
)
sizes = st.sampled_from([1, 3, 9, 11])


@settings(max_examples=150)
@given(masks, sizes, sizes, chunkings)
def test_morphology_is_pooling_cut_off_at_the_borders(mask, opening, closing, cuts):
    s = PostProcessing(
        onset_samples=1,
        offset_samples=1,
        opening=opening,
        closing=closing,
        min_duration=0.0,
        merge_gap=0.0,
    )
    found = np.zeros(len(mask), bool)
    for event in streamed(0.9 * mask, s, cuts):
        found[round(event.start * RATE) : round(event.stop * RATE)] = True
    np.testing.assert_array_equal(found, morphology(mask, s))


def test_a_run_that_begins_after_the_longest_event_could_end_is_another():
    s = PostProcessing(
        onset_samples=1,
        offset_samples=1,
        opening=1,
        closing=1,
        min_duration=0.5,
        merge_gap=0.8,
        max_duration=2.0,
    )
    # 16 samples, a gap of 6, 10 samples: the second run begins 22 after the first, 20 are the most.
    p = np.concatenate([np.full(16, 0.9), np.zeros(6), np.full(10, 0.9), np.zeros(20)])
    spans = [(event.start, event.stop) for event in postprocess(p, s, RATE)]
    assert spans == [(0.0, 1.6), (2.2, 3.2)]
    # One that begins 18 after it belongs to it, and is cut 2 later.
    p = np.concatenate([np.full(16, 0.9), np.zeros(2), np.full(10, 0.9), np.zeros(20)])
    spans = [(event.start, event.stop) for event in postprocess(p, s, RATE)]
    assert spans == [(0.0, 2.0), (2.0, 2.8)]


@settings(max_examples=60)
@given(stretches, variants)
def test_an_event_is_given_out_within_the_latency(p, options):
    s = PostProcessing(**options)
    processor, (usual, most) = PostProcessor(s, RATE), s.latency(RATE)
    assert usual <= most
    for place in range(len(p)):
        for event in processor.push(p[place : place + 1]):
            assert (place + 1) / RATE - event.stop <= most + 1e-9


def test_the_latency_is_usually_the_gap_that_could_be_merged():
    s = PostProcessing()
    assert s.latency(256.0) == (513 / 256, 1447 / 256)
    processor, p = PostProcessor(s), np.concatenate([np.full(2000, 0.9), np.zeros(2000)])
    given_out = [place for place in range(4000) if processor.push(p[place : place + 1])]
    # It ends 255 samples after the fall, and is certain 513 samples after that.
    assert given_out == [2000 + 255 + 513 - 1]


def test_the_origins_numbers():
    # 127 high samples are none, 128 are; 256 low samples end an event, all but the last within it.
    p = np.concatenate([np.full(127, 0.86), np.zeros(300), np.full(800, 0.86), np.zeros(255)])
    p = np.concatenate([p, np.full(10, 0.8), np.full(600, 0.77999)])
    (event,) = postprocess(p)
    assert event.start == 427 / 256
    assert event.stop == (427 + 800 + 255 + 10 + 255) / 256
    assert event.confidence == pytest.approx(p[427:1747].mean())


@pytest.mark.parametrize(
    "gap, count",
    [(767, 1), (768, 2)],
)
def test_gaps_up_to_two_seconds_are_merged(gap, count):
    # The first 255 samples of a gap belong to the event before it: 767 leave 512, which are 2 s.
    p = np.concatenate([np.full(900, 0.95), np.zeros(gap), np.full(900, 0.9), np.zeros(900)])
    events = postprocess(p)
    assert len(events) == count
    parts = [p[:1155].mean(), p[900 + gap : 900 + gap + 1155].mean()]
    assert [event.confidence for event in events] == pytest.approx(
        [max(parts)] if count == 1 else parts
    )


def test_long_events_are_really_cut():
    s = PostProcessing(max_duration=10.0, min_duration=3.0)
    events = postprocess(np.full(256 * 24, 0.9), s)
    assert [(event.start, event.stop) for event in events] == [(0, 10), (10, 20), (20, 24)]
    events = postprocess(np.full(256 * 22, 0.9), s)
    assert [(event.start, event.stop) for event in events] == [(0, 10), (10, 20)]


@pytest.mark.parametrize("kind, expected", [("mean", 0.92), ("peak", 1.0), ("percentile", 0.95)])
def test_confidence(kind, expected):
    p = np.tile([0.88, 0.89, 0.9, 0.95, 0.98], 200).astype(np.float64)
    p[500] = 1.0
    (event,) = postprocess(p, PostProcessing(confidence=kind))
    assert event.confidence == pytest.approx(expected, abs=2e-4)


def test_thresholds_are_not_rounded_to_the_probabilities_type():
    # float32's 0.86 is above 0.86; one step below it is under.
    at, below = np.float32(0.86), np.nextafter(np.float32(0.86), np.float32(0.0))
    assert len(postprocess(np.full(1000, at))) == 1
    assert not postprocess(np.full(1000, below))


def test_an_ongoing_event_is_known_when_it_is_long_enough():
    processor = PostProcessor()
    processor.push(np.zeros(100))
    processor.push(np.full(767, 0.9))
    assert processor.ongoing is None
    processor.push(np.full(1, 0.9))
    assert processor.ongoing == 100 / 256
    processor.push(np.zeros(2000))
    assert processor.ongoing is None


def test_what_is_kept_does_not_grow_with_the_signal():
    processor = PostProcessor(PostProcessing(max_duration=5.0))
    for _ in range(100):
        processor.push(np.full(256, 0.9))
        processor.push(np.zeros(300))
        assert len(processor._held) < 6 * 256 + 1447
    for _ in range(100):
        processor.push(np.full(256, 0.9))
        assert len(processor._held) < 6 * 256 + 1447


@pytest.mark.parametrize(
    "options, sentence",
    [
        (
            {"tau_on": 0.7},
            "the thresholds must be 0 < tau_off < tau_on <= 1, but tau_off is 0.78 and tau_on 0.7",
        ),
        ({"opening": 4}, "opening must be odd, but is 4"),
        ({"closing": 0}, "closing must be at least 1, but is 0"),
        ({"onset_samples": 0}, "onset_samples must be at least 1, but is 0"),
        ({"min_duration": -1.0}, "min_duration and merge_gap must be at least 0 s"),
        (
            {"max_duration": 2.0},
            "max_duration must be above min_duration, 3 s, and merge_gap, 2 s, but is 2 s",
        ),
        (
            {"confidence": "median"},
            "confidence must be one of mean, peak, percentile with a percentile of 0 to 1, but is "
            "'median' with 0.75",
        ),
    ],
)
def test_settings_that_cannot_be(options, sentence):
    assert_refused(InputError, sentence, PostProcessing, **options)


def test_probabilities_that_cannot_be():
    sentence = "probabilities must be (time,), but have shape (2, 3)"
    assert_refused(InputError, sentence, postprocess, np.zeros((2, 3)))
    for odd in (np.nan, 1.5, -0.1):
        sentence = f"probabilities must be 0 to 1, but one is {odd}"
        assert_refused(InputError, sentence, postprocess, np.array([0.5, odd]))
    sentence = "the sampling rate must be above 0 Hz, but is 0.0"
    assert_refused(InputError, sentence, PostProcessor, None, 0.0)
