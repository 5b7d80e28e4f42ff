"""Windows of accelerometer events follow time: order, gaps, repeats, zones and noted seizures."""

import random

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tcnzoo.training.data.instants import instant
from tcnzoo.training.data.left_out import use_of
from tests.support.osd_files import BEGIN, FORM, counts, dataset, event, point, starts, written

LABELS = [0, 1, 1, 1, 1, 0, 0, 0, 0]
REPEAT = "a repeat of a datapoint"
CONFLICT = "datapoints of the same time with other samples"
SHORT = "in a run shorter than a window"


def changed(change, **options):
    one = event(**options)
    change(one["datapoints"])
    return one


def other_samples(one):
    return one | {"rawData": one["rawData"][::-1], "rawData3D": one["rawData3D"][::-1]}


ORDERS = {
    "in order": (lambda points: None, list(range(9)), {}),
    "newest first": (lambda points: points.reverse(), list(range(9)), {}),
    "shuffled": (random.Random(0).shuffle, list(range(9)), {}),
    "one twice": (lambda points: points.insert(3, points[2]), list(range(9)), {REPEAT: 1}),
    "all twice": (lambda points: points.extend(list(points)), list(range(9)), {REPEAT: 10}),
    "one three times": (lambda p: p.extend([p[4], p[4]]), list(range(9)), {REPEAT: 2}),
    "one missing": (lambda points: points.pop(4), [0, 1, 2, 5, 6, 7, 8], {}),
    "two missing": (lambda p: p.__delitem__(slice(4, 6)), [0, 1, 2, 6, 7, 8], {}),
    "two gaps": (lambda p: p.__delitem__(slice(1, 7, 4)), [2, 3, 6, 7, 8], {SHORT: 1}),
    "two of one time": (
        lambda points: points.insert(3, other_samples(points[2])),
        [0, 3, 4, 5, 6, 7, 8],
        {CONFLICT: 2},
    ),
    "two of one time, one of them twice": (
        lambda p: p.extend([p[2], other_samples(p[2])]),
        [0, 3, 4, 5, 6, 7, 8],
        {CONFLICT: 2, REPEAT: 1},
    ),
}


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("change, expected, lost", ORDERS.values(), ids=ORDERS.keys())
def test_windows_follow_time_and_never_span_a_gap(change, expected, lost, form, tmp_path):
    found = dataset(written(tmp_path, form, changed(change)))
    assert sorted(starts(found)) == expected
    assert counts(found) == lost
    assert found.describe()["events"] == len(found.signals) == 1


@pytest.mark.parametrize("signal", ["magnitude", "xyz"])
def test_channels_stay_together_across_a_gap(signal, tmp_path):
    found = dataset(written(tmp_path, "json", changed(lambda p: p.pop(4))), signal=signal)
    x = found.batch(np.arange(len(found)))["x"]
    signs = (1,) if signal == "magnitude" else (1, -1, 2)
    for channel, sign in enumerate(signs):
        assert np.array_equal(x[:, channel], sign * x[:, 0])
    assert sorted(starts(found)) == [0, 1, 2, 5, 6, 7, 8]


@pytest.mark.parametrize("step, joined", [(2.9, False), (3.0, True), (7.0, True), (7.1, False)])
def test_steps_of_a_clock_of_whole_seconds_are_no_gaps(step, joined, tmp_path):
    one = event(2, form="%Y-%m-%dT%H:%M:%S.0Z")
    one["datapoints"][1]["dataTime"] = f"2022-05-28T06:00:{step:04.1f}Z"
    path = written(tmp_path, "json", one, event(4, id=2))
    found = dataset(path)
    assert starts(found) == [0] * joined + [0, 1, 2]
    assert counts(found) == ({} if joined else {SHORT: 2})


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_event_in_several_places_is_one(form, tmp_path):
    first, second = event(), event()
    first["datapoints"] = first["datapoints"][1::2]
    second["datapoints"] = second["datapoints"][::2]
    found = dataset(written(tmp_path, form, first, event(3, id=2), second))
    assert sorted(starts(found)) == sorted([*range(9), 0, 1])
    assert len(found.signals) == 2


def test_an_event_in_two_files_is_one(tmp_path):
    # OSDB's tonic-clonic seizures are in osdb_3min_allSeizures.json as well.
    paths = [written(tmp_path, form, event()) for form in ("json", "csv")]
    found = dataset(tuple(paths))
    assert starts(found) == list(range(9))
    assert counts(found) == {REPEAT: 10}
    with pytest.raises(InputError, match="is named twice among the files of events$"):
        dataset((paths[0], paths[0]))


SAME = (
    *("2022-05-28T06:00:00Z", "2022-05-28T07:00:00+01:00", "2022-05-28T07:00:00+0100"),
    *("2022-05-28T07:00:00+01", "2022-05-28T00:30:00-05:30", "2022-05-28t06:00:00z"),
    *("2022-05-28T06:00:00", "2022-05-28 06:00:00", "28-05-2022 06:00:00"),
    *("2022-05-28T06:00:00.000Z", "2022-05-28 06:00:00.000000", "2022-05-28T06:00:00,0Z"),
    *("2022-05-28 06:00:00+00:00", "2022-05-28 06:00:00 Z", "2022-05-28T06:00:00.000000000Z"),
    *("2022-05-27T23:00:00-07:00", "28-05-2022 08:00:00+02:00", " 28-05-2022 06:00:00 "),
)


@pytest.mark.parametrize("text", SAME)
def test_one_instant_in_any_notation_and_zone(text, tmp_path):
    path = written(tmp_path, "json", event(dataTime=text))
    found = dataset(path, label="seizure_times")
    assert starts(found) == list(range(9))
    assert found.targets.tolist() == LABELS


@pytest.mark.parametrize(
    "form", ["%d-%m-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.000+00:00"]
)
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_datapoints_in_any_notation(form, kind, tmp_path):
    found = dataset(written(tmp_path, kind, changed(random.Random(1).shuffle, form=form)))
    assert sorted(starts(found)) == list(range(9))


def test_datapoints_of_two_notations_and_zones(tmp_path):
    one = event()
    for place, member in enumerate(one["datapoints"]):
        at = point(place)["dataTime"][:-1]
        hour = at.replace("T06", "T08")
        member["dataTime"] = (f"{hour}+02:00", f"{at}.000Z", at, at.replace("T", " "))[place % 4]
    random.Random(2).shuffle(one["datapoints"])
    found = dataset(written(tmp_path, "json", one), label="seizure_times")
    assert sorted(starts(found)) == list(range(9))
    assert np.array(found.targets)[np.argsort(starts(found))].tolist() == LABELS


def test_fractions_of_a_second_decide_at_the_edges(tmp_path):
    one = event(2, form="%Y-%m-%dT%H:%M:%S.%fZ", seizureTimes=[5.0005, 9.0])
    one["datapoints"][1]["dataTime"] = "2022-05-28T06:00:05.000500Z"
    path = written(tmp_path, "json", one)
    assert dataset(path, label="seizure_times").targets.tolist() == [1]
    one["datapoints"][1]["dataTime"] = "2022-05-28T06:00:05.000499Z"
    path = written(tmp_path, "json", one)
    found = dataset(path, label="seizure_times", untimed="by_type", window=5.0)
    assert found.targets.tolist() == [1, 1]
    with pytest.raises(InputError, match="^event 1 is a seizure whose noted times hold no data"):
        dataset(path, label="seizure_times")


NO_TIMES = (
    *(
        "yesterday",
        "2022-02-30T06:00:00Z",
        "2022-05-28",
        "2022-05-28T25:00:00Z",
        "05/28/2022 06:00",
    ),
    *("2022-05-28T06:00:60Z", "2022-05-28T06:00:00+99:00", "2022-05-28T06:00:00 CET", "32-05-2022"),
    *("0001-01-01T00:00:00+14:00", "2022-13-01T00:00:00Z", "1653717600", "٢٠٢٢-05-28T06:00:00Z"),
)


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_is_no_time_is_refused_by_name(text, form, tmp_path):
    assert instant(text) is None
    one = event()
    one["datapoints"][3]["dataTime"] = text
    where = "event 1, datapoint 3" if form == "json" else "line 5"
    with pytest.raises(InputError, match=f": {where}: dataTime must be like ") as said:
        dataset(written(tmp_path, form, one))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("value", [1653717600, 1.5, True, [2022, 5, 28], {"t": 1}])
def test_a_time_that_is_no_text_is_refused(value, tmp_path):
    one = event()
    one["datapoints"][3]["dataTime"] = value
    with pytest.raises(InputError, match=": event 1, datapoint 3: dataTime must be like "):
        dataset(written(tmp_path, "json", one))


def test_a_datapoint_without_time_among_others_is_left_out(tmp_path):
    one = event()
    one["datapoints"][4]["dataTime"] = None
    del one["datapoints"][7]["dataTime"]
    for form in ("json", "csv"):
        found = dataset(written(tmp_path, form, one))
        assert starts(found) == [0, 1, 2, 5, 8]
        assert counts(found) == {"no time, but others of the event have one": 2}


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("time", [None, "", "2022-05-28T06:00:00Z"])
def test_without_times_of_their_own_datapoints_are_in_the_order_of_the_file(time, form, tmp_path):
    one = event()
    for member in one["datapoints"]:
        member["dataTime"] = time
    assert starts(dataset(written(tmp_path, form, one))) == list(range(9))
    # A datapoint that cannot be used is a gap there.
    one["datapoints"][4]["rawData"] = None
    found = dataset(written(tmp_path, form, one))
    assert starts(found) == [0, 1, 2, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "times",
    [
        *([10], [25, 10], [10, 25, 30], [None, 25], [10, None], ["10", "25"], [[10, 25]], "10"),
        *(
            [True, False],
            {"start": 10},
            10,
            [float("nan"), 25],
            [10, float("inf")],
            [-(10**400), 0],
        ),
        [10, 10**400],
    ],
    ids=repr,
)
def test_odd_seizure_times_are_refused_where_they_are_used(times, tmp_path):
    path = written(tmp_path, "json", event(seizureTimes=times))
    with pytest.raises(InputError, match=": event 1: seizureTimes must be the first and the last"):
        dataset(path, label="seizure_times")
    assert len(dataset(path)) == 9
    calm = written(tmp_path, "json", event(seizureTimes=times, type="NDA"))
    assert not dataset(calm, label="seizure_times").targets.any()


@pytest.mark.parametrize(
    "times, expected",
    [
        ([-20, 5], [1] + [0] * 8),
        ([10, 1e9], [0] + [1] * 8),
        ([25, 25], [0, 0, 0, 0, 1, 0, 0, 0, 0]),
        ([-1e9, 1e9], [1] * 9),
    ],
)
def test_noted_times_may_reach_past_the_event(times, expected, tmp_path):
    path = written(tmp_path, "json", event(seizureTimes=times))
    assert dataset(path, label="seizure_times").targets.tolist() == expected


UNTIMED = {
    "no times": {"seizureTimes": None},
    "no list": {"seizureTimes": []},
    "no time of the event": {"dataTime": None},
    "past the end": {"seizureTimes": [500, 600]},
    "before the start": {"seizureTimes": [-600, -500]},
    "between datapoints": {"seizureTimes": [11, 13]},
}


@pytest.mark.parametrize("fields", UNTIMED.values(), ids=UNTIMED.keys())
def test_seizures_without_times_that_can_be_used(fields, tmp_path):
    path = written(tmp_path, "json", event(**fields), event(4, id=2), event(3, id=3, type="NDA"))
    with pytest.raises(InputError, match="^event 1 is a seizure .*; set untimed to drop or by_ty"):
        dataset(path, label="seizure_times")
    dropped = dataset(path, label="seizure_times", untimed="drop")
    assert starts(dropped) == [0, 1, 2, 0, 1]
    assert dropped.targets.tolist() == [0, 1, 1, 0, 0]
    assert list(counts(dropped).values()) == [10]
    by_type = dataset(path, label="seizure_times", untimed="by_type")
    assert by_type.targets.tolist() == [1] * 9 + [0, 1, 1, 0, 0]
    assert counts(by_type) == {}


def test_a_seizure_that_ends_before_the_first_window_is_named(tmp_path):
    events = [event(id=place, seizureTimes=[-5, 5 * place]) for place in range(3)]
    path = written(tmp_path, "json", *events, event(id=9, type="NDA"))
    found = dataset(path, label="seizure_times")
    # Windows of 10 s end with the second datapoint at the earliest, 5 s after the event.
    assert found.targets.sum() == 0 + 1 + 2
    assert found.describe()["unseen_seizures"] == ["0"]
    assert use_of(found.describe()) == "1 seizure without a window of that label (0)"
    assert use_of(dataset(path).describe()) == ""


def test_a_csv_has_no_noted_times(tmp_path):
    path = written(tmp_path, "csv", event(), event(4, id=2, type="NDA"))
    with pytest.raises(InputError, match="^event 1 is a seizure without noted times"):
        dataset(path, label="seizure_times")
    assert dataset(path, label="seizure_times", untimed="by_type").targets.sum() == 9


def test_phase_never_reaches_over_a_gap(tmp_path):
    path = written(tmp_path, "json", changed(lambda points: points.pop(4), count=12))
    found = dataset(path, augment=[{"kind": "phase", "steps": 400}])
    plain = starts(found)
    moved = set()
    for seed in range(30):
        x = found.batch(np.arange(len(found)), np.random.default_rng(seed))["x"][:, 0]
        assert (np.diff(x, axis=1) == 1).all()
        moved |= {int(value) for value in x[plain.index(6), :1]}
    # The second run begins with datapoint 5: 125 steps before the window that begins with 6.
    assert min(moved) >= 1000 + 5 * 125
    assert len(moved) > 5


def test_windows_say_which_part_without_a_gap_they_are_of(tmp_path):
    first = changed(lambda points: points.pop(4))
    batch = dataset(written(tmp_path, "json", first, event(3, id=2))).batch(np.arange(9))
    assert batch["event"].tolist() == [0] * 7 + [1] * 2
    assert batch["run"].tolist() == [0] * 3 + [1] * 4 + [2] * 2


def test_the_time_of_an_event_is_utc():
    assert instant(BEGIN.strftime(FORM)) == instant("28-05-2022 06:00:00")
    # Days up to the 12th are days in both notations.
    assert instant("2022-05-09T06:00:00Z") == instant("09-05-2022 06:00:00")
    assert instant("2022-05-09T06:00:00Z").month == 5
    assert instant("2022-05-28T06:00:00Z").utcoffset().total_seconds() == 0
