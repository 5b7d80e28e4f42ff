"""Events from windows: an event is detected if any of its windows is."""

from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array

HOUR = 3600.0
# Thresholds that are tried for a rate of false alarms.
GRID = np.linspace(0.0, 1.0, 1001)
# Names in `EventScores.summary`.
EVENT_METRICS = ("event_sensitivity", "event_false_share", "false_alarms_per_hour")


@dataclass(frozen=True)
class Operation:
    """Scores of events at one threshold.

    Attributes:
        threshold: probability from which a window is an alarm.
        sensitivity: share of the seizures that are detected; None without seizures.
        false_share: share of the other events with an alarm; None without other events.
        false_per_hour: alarms in an hour of other events, adjacent windows being one; None if
            their length is unknown.
    """

    threshold: float
    sensitivity: float | None
    false_share: float | None
    false_per_hour: float | None


@dataclass(frozen=True)
class EventScores:
    """Events, and the windows of those that are no seizures.

    Attributes:
        labels: (events,), 1 for a seizure.
        scores: (events,), largest probability of a window.
        quiet: (windows,), probabilities of the windows of other events, in their order.
        quiet_run: (windows,), which event each belongs to, or which part without a gap.
        seconds: from one window to the next; None if unknown.
    """

    labels: Array
    scores: Array
    quiet: Array
    quiet_run: Array
    seconds: float | None

    @property
    def hours(self) -> float | None:
        """How long the other events are, in hours of new signal: one window's step each."""
        return None if self.seconds is None else self.quiet.size * self.seconds / HOUR

    def at(self, threshold: float) -> Operation:
        """Scores of events if windows from this threshold on are alarms."""
        alarmed, seizure = self.scores >= threshold, self.labels == 1
        alarm = self.quiet >= threshold
        goes_on = np.zeros(alarm.size, bool)
        goes_on[1:] = alarm[:-1] & (self.quiet_run[1:] == self.quiet_run[:-1])
        hours = self.hours
        return Operation(
            threshold=float(threshold),
            sensitivity=float(alarmed[seizure].mean()) if seizure.any() else None,
            false_share=float(alarmed[~seizure].mean()) if (~seizure).any() else None,
            false_per_hour=float((alarm & ~goes_on).sum() / hours) if hours else None,
        )

    def within(self, share: float) -> Operation:
        """Scores at the lowest threshold with alarms in at most this share of the other events."""
        quiet = self.scores[self.labels != 1]
        fits = [t for t in GRID[1:] if not quiet.size or (quiet >= t).mean() <= share]
        return self.at(fits[0] if fits else np.nextafter(1.0, 2.0))

    def summary(self) -> dict[str, float]:
        """Sensitivity and false alarms at threshold 0.5; those that are defined."""
        operation = self.at(0.5)
        named = {
            "event_sensitivity": operation.sensitivity,
            "event_false_share": operation.false_share,
            "false_alarms_per_hour": operation.false_per_hour,
        }
        return {name: value for name, value in named.items() if value is not None}


def event_scores(
    events: Array,
    labels: Array,
    positive: Array,
    seconds: float | None,
    runs: Array | None = None,
) -> EventScores:
    """Group windows into events.

    Args:
        events: (windows,), number of the event of each.
        labels: (windows,); an event with any window of label 1 is a seizure.
        positive: (windows,), probability of label 1.
        seconds: from one window to the next.
        runs: (windows,), number of the part without a gap that each lies in; None where events
            have no gaps.
    """
    _, places = np.unique(events, return_inverse=True)
    count = int(places.max()) + 1
    label, score = np.zeros(count, np.int64), np.full(count, -np.inf)
    np.maximum.at(label, places, labels)
    np.maximum.at(score, places, positive)
    quiet = label[places] != 1
    parts = places if runs is None else runs
    return EventScores(label, score, positive[quiet], parts[quiet], seconds)
