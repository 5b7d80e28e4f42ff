"""Scores: TAES against a table that was computed by hand, the others against timescoring's own."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tcnzoo.eeg.events import Annotations, Event
from tcnzoo.eeg.postprocess import PostProcessing
from tcnzoo.eeg.scoring import OperatingPoint, Score, Scored, best_within, score, sweep
from tcnzoo.eeg.taes import Taes, taes
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused

# name: (reference, prediction, hits, misses, false alarms)
TABLE = {
    # the same: 10/10, 1 - 1, 0/10
    "exact": ([(10, 20)], [(10, 20)], 1.0, 0.0, 0.0),
    # the second half: 5/10, 1 - 0.5, 0/10
    "half": ([(10, 20)], [(15, 20)], 0.5, 0.5, 0.0),
    # before 2, after 4, of 20: 20/20, 1 - 1, (2 + 4)/20
    "too long": ([(10, 30)], [(8, 34)], 1.0, 0.0, 0.3),
    # before 10, after 80, of 10: (10 + 80)/10 = 9, at most 1
    "far too long": ([(10, 20)], [(0, 100)], 1.0, 0.0, 1.0),
    # starts 6 late and ends 4 late, of 10: 4/10, 1 - 0.4, 4/10
    "late": ([(10, 20)], [(16, 24)], 0.4, 0.6, 0.4),
    # starts 3 early and ends 6 early, of 10: 4/10, 1 - 0.4, 3/10
    "early": ([(10, 20)], [(7, 14)], 0.4, 0.6, 0.3),
    # one prediction over two events finds the first: 10/10, (5 + 25)/10 = 3, at most 1;
    # the second is missed, and the third, which nothing touches: 0 + 1 + 1
    "one over several": ([(10, 20), (30, 40), (50, 60)], [(5, 45)], 1.0, 2.0, 1.0),
    # three in one event of 40: (8 + 10 + 4)/40, 1 - 0.55, and the last is 8 too long: 8/40
    "several in one": ([(10, 50)], [(12, 20), (30, 40), (46, 58)], 0.55, 0.45, 0.2),
    # the first event, of 100, takes both: (10 + 10)/100, 1 - 0.2, 50/100; nothing is left for
    # the second: 1
    "taken": ([(0, 100), (120, 160)], [(10, 20), (90, 150)], 0.2, 1.8, 0.5),
    # nothing in common: 0, 1, and 1 for each prediction
    "beside": ([(10, 20)], [(30, 40), (50, 60)], 0.0, 1.0, 2.0),
    "nothing said": ([(10, 20), (30, 40)], [], 0.0, 2.0, 0.0),
    "nothing there": ([], [(10, 20)], 0.0, 0.0, 1.0),
}


@pytest.mark.parametrize("reference, prediction, hits, misses, alarms", TABLE.values(), ids=TABLE)
def test_taes_is_the_table(reference, prediction, hits, misses, alarms):
    found = taes(reference, prediction)
    assert (found.hits, found.misses, found.false_alarms) == pytest.approx((hits, misses, alarms))


def laid_out(parts):
    """Spans from pairs (gap before it, length), in s."""
    edges = np.cumsum(np.array(parts, dtype=float).ravel())
    return [(float(start), float(stop)) for start, stop in edges.reshape(-1, 2)]


spans = st.lists(st.tuples(st.integers(1, 120), st.integers(1, 90)), max_size=6).map(laid_out)


@given(spans, spans)
def test_taes_counts_every_reference_once(reference, prediction):
    found = taes(reference, prediction)
    assert found.hits + found.misses == pytest.approx(len(reference))
    assert -1e-9 <= found.hits <= len(reference) + 1e-9
    assert -1e-9 <= found.false_alarms <= len(prediction) + 1e-9
    assert taes(reference, reference) == Taes(len(reference), 0.0, 0.0)


def annotations(spans):
    return Annotations(tuple(Event(float(start), float(stop)) for start, stop in spans))


def test_predictions_that_overlap_each_other_are_one():
    pytest.importorskip("timescoring")
    # (0, 60) and (50, 110) are (0, 110): 100/100, 1 - 1, 10/100
    found = score(annotations([(0, 100)]), annotations([(0, 60), (50, 110)]), 200.0)
    assert (found.taes.hits, found.taes.false_alarms) == pytest.approx((1.0, 0.1))
    assert found.event.hits == 1.0


@settings(max_examples=40)
@given(spans, spans)
def test_event_and_sample_scores_are_timescorings_own(reference, prediction):
    annotation = pytest.importorskip("timescoring.annotations").Annotation
    scoring = pytest.importorskip("timescoring.scoring")
    duration = 1300.0
    sides = [annotation(side, 256, 1300 * 256) for side in (reference, prediction)]
    found = score(annotations(reference), annotations(prediction), duration)
    for kind, own in (
        (found.event, scoring.EventScoring(*sides)),
        (found.sample, scoring.SampleScoring(*sides)),
    ):
        assert (kind.hits, kind.false_alarms, kind.references) == (own.tp, own.fp, own.refTrue)
        np.testing.assert_allclose(kind.sensitivity, own.sensitivity)
        np.testing.assert_allclose(kind.precision, own.precision)
        np.testing.assert_allclose(kind.f1, own.f1)
        np.testing.assert_allclose(kind.false_alarms_a_day, own.fpRate)


def test_scores_of_recordings_are_added_and_their_events_never_meet():
    pytest.importorskip("timescoring")
    # A false alarm in one recording at the time of an event in the other.
    quiet = score(annotations([]), annotations([(10, 20)]), 600.0)
    missed = score(annotations([(10, 20)]), annotations([]), 300.0)
    total = quiet + missed
    for one in (total.event, total.taes):
        assert (one.hits, one.false_alarms, one.references, one.seconds) == (0, 1, 1, 900)
        assert one.false_alarms_a_day == 96.0  # one in a quarter of an hour
        assert one.sensitivity == 0.0
    assert np.isnan(quiet.event.sensitivity)
    assert np.isnan(missed.event.precision)


def test_a_score_as_plain_values():
    found = Score(3.0, 1.0, 4.0, 43200.0).to_dict()
    assert found["sensitivity"] == 0.75
    assert found["precision"] == 0.75
    assert found["false_alarms_a_day"] == 2.0
    assert found["f1"] == pytest.approx(0.75)


def recordings():
    """Two recordings of 10 min: an event of 0.9 and one of 0.6, a false alarm of 0.7 in each."""
    first, second = np.full(153600, 0.01), np.full(153600, 0.01)
    first[20000:24000], first[120000:124000] = 0.9, 0.7
    second[20000:24000], second[120000:124000] = 0.6, 0.7
    truth = annotations([(20000 / 256, 24000 / 256)])
    return [Scored(first, truth), Scored(second, truth)]


def test_a_sweep_scores_each_recording_on_its_own():
    pytest.importorskip("timescoring")
    points = sweep(recordings(), thresholds=[0.95, 0.8, 0.65, 0.5])
    # 2 recordings of 10 min are 1/72 day: one false alarm is 72 a day.
    assert [(p.sensitivity, p.false_alarms_a_day) for p in points] == [
        (0.0, 0.0),
        (0.5, 0.0),
        (0.5, 144.0),
        (1.0, 144.0),
    ]
    assert best_within(points, 10.0) == points[1]
    assert best_within(points, 144.0) == points[3]
    assert best_within(points[2:], 10.0) is None


def test_a_sweep_keeps_the_distance_of_the_thresholds():
    pytest.importorskip("timescoring")
    # High for 16 s, then 0.7 for as long as it takes to reach the event that is to be found.
    p = np.full(30000, 0.7)
    p[:4000], p[24000:] = 0.9, 0.01
    one = Scored(p, annotations([(20000 / 256, 24000 / 256)]))
    (apart,) = sweep([one], thresholds=[0.8])
    (reaching,) = sweep([one], PostProcessing(tau_on=0.86, tau_off=0.7), thresholds=[0.8])
    assert (apart.sensitivity, reaching.sensitivity) == (0.0, 1.0)


def test_of_equal_sensitivity_the_quieter_is_best():
    points = [OperatingPoint(0.5, 1.0, 9.0), OperatingPoint(0.6, 1.0, 3.0)]
    assert best_within(points, 10.0) == points[1]


def test_a_point_that_is_just_quiet_enough():
    # 13 in 3 h are 104 in a day; 13 / 10800 * 86400 is 104.00000000000001.
    loudest = Score(1.0, 13.0, 1.0, 10800.0).false_alarms_a_day
    assert loudest == 104.0
    assert best_within([OperatingPoint(0.5, 1.0, loudest)], 104.0) is not None


def test_a_sweep_goes_down_to_where_the_lower_threshold_ends():
    pytest.importorskip("timescoring")
    said = []
    points = sweep(recordings()[:1], PostProcessing(tau_on=0.5, tau_off=0.1), say=said.append)
    assert (points[0].tau_on, len(said)) == (1.0, len(points))
    assert 0.4 < points[-1].tau_on < 0.43


def test_scores_that_cannot_be():
    one = annotations([(10, 20)])
    sentence = "the duration of a recording must be above 0 s, but is 0.0"
    assert_refused(InputError, sentence, score, one, one, 0.0)
    sentence = "a sweep needs a recording with at least one event to find"
    assert_refused(InputError, sentence, sweep, [Scored(np.zeros(10), annotations([]))])
