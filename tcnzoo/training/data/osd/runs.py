"""Datapoints of an event in the order of time: repeats are dropped, and a gap starts a new run."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

from tcnzoo.training.data.left_out import LeftOut
from tcnzoo.training.data.osd.datapoints import Row

# In s. Clocks write whole seconds at both ends of a step; flattenData has the same tolerance.
TOLERANCE = 2.0


def runs_of(datapoints: Iterable[Row], seconds: float, left_out: LeftOut) -> list[list[Row]]:
    """Datapoints that follow each other without a gap, those of one event.

    A step of time within 2 s of a datapoint's length is no gap. Datapoints of one time are kept
    once if they are equal, and not at all if they differ. Where times do not tell datapoints apart
    (they are missing, or all the same) the order of the file counts, and times are dropped.

    Args:
        datapoints: of an event, in the order of the file.
        seconds: that a datapoint is long.
        left_out: counts what is not used.
    Source:
        OpenSeizureDatabase, commit c0d2c3e, `flattenData.py` for the tolerance.
    """
    usable = _without_repeats(datapoints, left_out)
    times = {row.time for row in usable}
    if times == {None} or (len(times) == 1 and len(usable) > 1):
        bare = [row._replace(time=None, in_seizure=None) for row in usable]
        return _cut(bare, lambda first, other: other.position == first.position + 1)
    ordered = _in_time(usable, left_out)
    return _cut(ordered, lambda first, other: abs(_step(first, other) - seconds) <= TOLERANCE)


def _without_repeats(datapoints: Iterable[Row], left_out: LeftOut) -> list[Row]:
    """Datapoints with samples; of those with equal time, samples and class, the first."""
    kept, seen = [], set()
    for row in datapoints:
        if row.samples is None or row.lack:
            left_out.add(row.lack, row.event)
            continue
        same = (row.time, row.label, row.samples.tobytes())
        if row.time is not None and same in seen:
            left_out.add("a repeat of a datapoint", row.event)
            continue
        seen.add(same)
        kept.append(row)
    return kept


def _in_time(datapoints: Iterable[Row], left_out: LeftOut) -> list[Row]:
    """Datapoints by time; those that cannot be placed are left out."""
    at = defaultdict(list)
    for row in datapoints:
        if row.time is None:
            left_out.add("no time, but others of the event have one", row.event)
        else:
            at[row.time].append(row)
    for members in at.values():
        if len(members) > 1:
            reason = "datapoints of the same time with other samples"
            left_out.add(reason, members[0].event, len(members))
    return [at[time][0] for time in sorted(at) if len(at[time]) == 1]


def _step(first: Row, other: Row) -> float:
    """Seconds from a datapoint to the next; infinite where a time is not known."""
    if first.time is None or other.time is None:
        return math.inf
    return (other.time - first.time).total_seconds()


def _cut(datapoints: list[Row], follows: Callable[[Row, Row], bool]) -> list[list[Row]]:
    """Rows in runs, each row following the one before."""
    runs: list[list[Row]] = []
    for row in datapoints:
        if runs and follows(runs[-1][-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
