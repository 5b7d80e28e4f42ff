"""Scores do not depend on how floats are rounded: SzCORE's rules in exact fractions, and shifts."""

import random
from fractions import Fraction
from math import floor

import numpy as np
import pytest

from tcnzoo.eeg.events import Annotations, Event
from tcnzoo.eeg.postprocess import PostProcessing, postprocess
from tcnzoo.eeg.scoring import Scored, score, sweep
from tcnzoo.eeg.taes import taes

pytest.importorskip("timescoring")

HALF = Fraction(1, 2)
# Onsets whose decimals floats do not hold, halves of samples at 10 Hz and 1 Hz, and whole ones.
ONSETS = [0.0, 28.0, 0.1, 0.2, 0.7, 28.2, 1000.3, 100.5, 101.5, 7.25, 0.05, 33.35, 1799.999999]


def samples(spans, rate, count):
    """The samples that spans cover, each edge rounded to the nearest, halves up."""
    return {
        place
        for start, stop in spans
        for place in range(floor(start * rate + HALF), min(count, floor(stop * rate + HALF)))
    }


def joined(spans, below):
    """Spans with gaps shorter than `below`, or none at all, joined."""
    found = []
    for start, stop in sorted(spans):
        if found and (start <= found[-1][1] or start - found[-1][1] < below):
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def events(spans):
    """Events less than 90 s apart as one, cut into pieces of 300 s."""
    pieces = []
    for start, stop in joined(spans, 90):
        while stop - start > 300:
            pieces.append((start, start + 300))
            start += 300
        pieces.append((start, stop))
    return pieces


def by_hand(truth, said, duration):
    """(hits, false alarms, references) of events, and of samples."""
    seconds, tenths = floor(duration + HALF), floor(duration * 10 + HALF)
    true, claimed = (samples(joined(side, 0), 1, seconds) for side in (truth, said))
    by_sample = (len(true & claimed), len(claimed - true), len(true))
    references, claims = events(truth), events(said)
    heard, near, hits = samples(claims, 10, tenths), set(), 0
    for start, stop in references:
        tolerated = [(max(Fraction(0), start - 30), min(Fraction(tenths, 10), stop + 60))]
        if samples(tolerated, 10, tenths) & heard:
            hits += 1
            near |= samples(tolerated, 10, tenths)
    alarms = sum(not samples([claim], 10, tenths) & near for claim in claims)
    return (hits, alarms, len(references)), by_sample


def drawn(generator, digits, duration):
    """Spans whose lengths and gaps are those of the rules, a last digit beside them, or any."""
    least = Fraction(1, 10**digits)
    spans, start = [], Fraction(generator.randrange(50 * 10**digits), 10**digits)
    while True:
        free = Fraction(generator.randrange(1, 700 * 10**digits), 10**digits)
        length = generator.choice([300, 600, 900, 10, 301, 600 + least, 300 - least, free])
        if start + length > duration:
            return spans
        spans.append((start, start + length))
        if generator.random() < 0.2:
            spans.append((start + Fraction(length) / 4, start + Fraction(length) / 2))
        free = Fraction(generator.randrange(300 * 10**digits), 10**digits)
        start += length + generator.choice([0, 90, 30, 60, 90 - least, 90 + least, free])


def tolerated(generator, truth, duration):
    """Predictions that end 30 s before an event, begin 60 s after it, or are the event."""
    spans = []
    for start, stop in truth:
        which = generator.randrange(3)
        if which == 0 and start >= 40:
            spans.append((start - 40, start - 30))
        elif which == 1 and stop + 70 <= duration:
            spans.append((stop + 60, stop + 70))
        elif which == 2:
            spans.append((start, stop))
    return spans


def annotated(generator, spans):
    """Events whose times have gone through a sum, as those of programs have."""

    def summed(time):
        part = generator.random() * 1000
        return max(0.0, (float(time) - part) + part)

    return Annotations(tuple(Event(summed(start), summed(stop)) for start, stop in spans))


def counts(found):
    return (found.hits, found.false_alarms, found.references)


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_exact_fractions(seed):
    generator = random.Random(seed)
    for _ in range(12):
        digits = generator.randrange(6)
        duration = 3600 + Fraction(generator.randrange(20), 20)
        truth = drawn(generator, digits, duration)
        said = generator.choice(
            [drawn(generator, digits, duration), tolerated(generator, truth, duration)]
        )
        sides = annotated(generator, truth), annotated(generator, said)
        found = score(*sides, float(duration))
        assert (counts(found.event), counts(found.sample)) == by_hand(truth, said, duration)


@pytest.mark.parametrize("onset", ONSETS)
@pytest.mark.parametrize(
    "spans, references",
    [
        ([(0.0, 600.0)], 2),
        ([(0.0, 900.0)], 3),
        ([(0.0, 300.0)], 1),
        ([(0.0, 10.0), (100.0, 110.0)], 2),
        ([(0.0, 10.0), (99.0, 109.0)], 1),
        ([(0.0, 400.0), (50.0, 60.0)], 2),
        ([(0.0, 100.0), (100.0, 200.0)], 1),
    ],
    ids=str,
)
def test_references_and_alarms_do_not_depend_on_the_onset(onset, spans, references):
    moved = Annotations(tuple(Event(onset + start, onset + stop) for start, stop in spans))
    nothing = Annotations(())
    assert score(moved, nothing, 7200.0).event.references == references
    assert score(nothing, moved, 7200.0).event.false_alarms == references


@pytest.mark.parametrize("onset", ONSETS)
@pytest.mark.parametrize("seconds", [60.0, 61.0])
def test_seconds_do_not_depend_on_the_onset(onset, seconds):
    one = Annotations((Event(onset, onset + seconds),))
    # Twice by a prediction that is one second late.
    late = Annotations((Event(onset + 1.0, onset + 1.0 + seconds),))
    assert counts(score(one, late, 3600.5).sample) == (seconds - 1.0, 1.0, seconds)


@pytest.mark.parametrize("onset", ONSETS)
@pytest.mark.parametrize(
    "claim, hits",
    [((-40.0, -30.0), 0), ((-40.0, -29.8), 1), ((120.0, 130.0), 0), ((119.8, 130.0), 1)],
)
def test_tolerances_do_not_depend_on_the_onset(onset, claim, hits):
    start = onset + 50.0
    truth = Annotations((Event(start, start + 60.0),))
    said = Annotations((Event(start + claim[0], start + claim[1]),))
    found = score(truth, said, 3600.0).event
    assert (found.hits, found.false_alarms) == (hits, 1 - hits)


@pytest.mark.parametrize("start, lasts", [(0.0, 10.6), (0.3, 10.3), (0.9, 9.7), (4.9, 5.7)])
def test_taes_takes_no_rounding_for_an_overlap(start, lasts):
    # 0.3 + 10.3 is 10.600000000000001. The prediction begins as the event ends: it touches none.
    found = taes([(start, start + lasts)], [(10.6, 15.6)])
    assert (found.hits, found.misses, found.false_alarms) == (0.0, 1.0, 1.0)
    # It ends with the event, and so leaves nothing for the next one.
    found = taes([(start, start + lasts), (12.0, 20.0)], [(start, 10.6)])
    assert (found.hits, found.misses, found.false_alarms) == (1.0, 1.0, 0.0)


def test_spans_that_touch_but_for_rounding_are_one():
    # 0.1 + 0.7 is 0.7999999999999999.
    one = Annotations((Event(0.1, 0.1 + 0.7), Event(0.8, 2.0)))
    assert one.spans == [(0.1, 2.0)]
    assert score(one, one, 60.0).taes.references == 1


@pytest.mark.parametrize("start", [28.0, 27.108, 27.12, 27.364])
def test_a_sweep_does_not_depend_on_the_onset(start):
    rate, settings = 250.0, PostProcessing(opening=1, closing=1)
    first = round(start * rate)
    # An event lasts 255 samples longer than its probabilities, so that these two are 90 s apart.
    second = first + 2500 + 255 + 22500
    p = np.full(75000, 0.01)
    p[first : first + 2500] = p[second : second + 2500] = 0.9
    before, after = postprocess(p, settings, rate)
    assert (before.start, after.start - before.stop) == pytest.approx((start, 90.0))
    truth = Annotations((Event(280.3, 290.0),))
    (point,) = sweep([Scored(p, truth, rate)], settings, thresholds=[0.86])
    assert point.false_alarms_a_day == 2 * 86400 / 300


def test_a_sweep_takes_what_lies_inside_of_the_truth():
    p = np.full(25600, 0.01)
    p[5000:7000] = 0.9
    truth = Annotations((Event(20.0, 27.0), Event(120.0, 130.0)))
    with pytest.warns(
        UserWarning, match="the truth: 1 event left out, since the start is after the end"
    ):
        (point,) = sweep([Scored(p, truth)], thresholds=[0.86])
    assert point.sensitivity == 1.0


@pytest.mark.filterwarnings("ignore:the (truth|prediction). 1 event cut")
def test_both_sides_are_cut_at_the_end():
    truth, said = Annotations((Event(3590.0, 3650.0),)), Annotations((Event(3580.0, 9000.0),))
    found = score(truth, said, 3600.0)
    assert counts(found.sample) == (10.0, 10.0, 10.0)
    # The prediction begins 10 s before an event of 10 s.
    assert (found.taes.hits, found.taes.false_alarms) == (1.0, 1.0)
