"""How well predicted events match the truth: by event, by sample, and time-aligned."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.events import Annotations
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.postprocess import PostProcessing, postprocess
from tcnzoo.eeg.taes import taes
from tcnzoo.errors import InputError

DAY = 86400.0
# Samples a second of the masks that timescoring is given: finer than any label, and it goes on to
# 10 Hz for events and 1 Hz for samples, as SzCORE says.
_MASK_RATE = 256


@dataclass(frozen=True)
class Score:
    """Counts of one kind over one recording or several, and what follows from them.

    Attributes:
        hits: what was found, of `references`; fractions in TAES.
        false_alarms: what was said without being so, in the same unit.
        references: what there was to find: events, or seconds.
        seconds: duration of the recordings.
    """

    hits: float
    false_alarms: float
    references: float
    seconds: float

    @property
    def sensitivity(self) -> float:
        """Part of the references that was found; NaN where there were none."""
        return self.hits / self.references if self.references else float("nan")

    @property
    def precision(self) -> float:
        """Part of what was said that was so; NaN where nothing was said."""
        said = self.hits + self.false_alarms
        return self.hits / said if said else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; NaN where there was nothing and nothing was said."""
        both = self.references + self.hits + self.false_alarms
        return 2.0 * self.hits / both if both else float("nan")

    @property
    def false_alarms_a_day(self) -> float:
        """False alarms in 24 h."""
        return self.false_alarms / self.seconds * DAY

    def __add__(self, other: "Score") -> "Score":
        """The counts of both, added."""
        return Score(
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.references + other.references,
            self.seconds + other.seconds,
        )

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        derived = ("sensitivity", "precision", "f1", "false_alarms_a_day")
        return asdict(self) | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True)
class Scores:
    """The three kinds of score.

    Attributes:
        event: SzCORE's, any overlap with 30 s before and 60 s after being tolerated, events less
            than 90 s apart being one, and longer ones than 5 min several.
        sample: SzCORE's, second by second.
        taes: NEDC's time-aligned event scoring, with fractions of events.
    """

    event: Score
    sample: Score
    taes: Score

    def __add__(self, other: "Scores") -> "Scores":
        """The counts of both, added."""
        return Scores(self.event + other.event, self.sample + other.sample, self.taes + other.taes)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Plain values."""
        kinds = ("event", "sample", "taes")
        return {kind: getattr(self, kind).to_dict() for kind in kinds}


def score(truth: Annotations, prediction: Annotations, duration: float) -> Scores:
    """Score the predictions for one recording; scores of several are added, never their events.

    Events of one side that overlap or touch each other count as one.

    Args:
        truth, prediction: events of the same recording.
        duration: of the recording, in s.
    Raises:
        InputError: a duration of 0, or an event of the truth after its end.
        BackendMissing: timescoring is not installed.
    Source:
        Dan et al. 2024, arXiv:2402.13005 (SzCORE), by its own package timescoring.
    """
    if not 0.0 < duration < float("inf"):
        raise InputError(f"the duration of a recording must be above 0 s, but is {duration}")
    for side, annotations in (("truth", truth), ("prediction", prediction)):
        end = max((stop for _, stop in annotations.spans), default=0.0)
        if end > duration + 1.0:
            raise InputError(
                f"the {side} has an event until {end:g} s, but the recording ends at {duration:g} s"
            )
    fractions = taes(truth.spans, prediction.spans)
    aligned = Score(fractions.hits, fractions.false_alarms, len(truth.spans), duration)
    return Scores(*_timescored(truth, prediction, duration), aligned)


def _timescored(
    truth: Annotations, prediction: Annotations, duration: float
) -> tuple[Score, Score]:
    """Event and sample scores of timescoring."""
    annotations = needed("timescoring.annotations", "scoring")
    scoring = needed("timescoring.scoring", "scoring")
    sides = [
        annotations.Annotation(one.spans, _MASK_RATE, round(duration * _MASK_RATE))
        for one in (truth, prediction)
    ]
    found = (scoring.EventScoring(*sides), scoring.SampleScoring(*sides))
    event, sample = (
        Score(float(one.tp), float(one.fp), float(one.refTrue), duration) for one in found
    )
    return event, sample


@dataclass(frozen=True)
class Scored:
    """One recording for a sweep of thresholds.

    Attributes:
        probabilities: (time,) of all of it.
        truth: its events.
        sampling_rate: of the probabilities, in Hz.
    """

    probabilities: Array
    truth: Annotations
    sampling_rate: float = 256.0


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives, over all recordings.

    Attributes:
        tau_on: the upper threshold; the lower one follows at a fixed distance.
        sensitivity: of SzCORE's event score.
        false_alarms_a_day: of the same score.
    """

    tau_on: float
    sensitivity: float
    false_alarms_a_day: float


def sweep(
    recordings: Sequence[Scored],
    settings: PostProcessing | None = None,
    thresholds: Sequence[float] | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> list[OperatingPoint]:
    """Score every threshold over some recordings, each of which is post-processed on its own.

    Args:
        recordings: whole ones, so that no event is cut or counted twice.
        settings: the rest of the post-processing; tau_off keeps its distance to tau_on.
        thresholds: of tau_on; None for 1, 0.98, ... as far down as tau_off stays above 0.
        say: called with a line before each threshold.
    Returns:
        One point for each threshold, in their order.
    Raises:
        InputError: no recording has an event to find.
        BackendMissing: timescoring is not installed.
    """
    base = settings or PostProcessing()
    distance = base.tau_on - base.tau_off
    if thresholds is None:
        thresholds = [tau for tau in np.linspace(1.0, 0.02, 50).tolist() if tau > distance + 1e-9]
    if not any(one.truth.spans for one in recordings):
        raise InputError("a sweep needs a recording with at least one event to find")
    points = []
    for tau in thresholds:
        say(f"threshold {tau:.2f}")
        chosen = replace(base, tau_on=tau, tau_off=tau - distance)
        total = Score(0.0, 0.0, 0.0, 0.0)
        for one in recordings:
            total += _event_score(one, chosen)
        points.append(OperatingPoint(tau, total.sensitivity, total.false_alarms_a_day))
    return points


def _event_score(recording: Scored, settings: PostProcessing) -> Score:
    """SzCORE's event score of one recording."""
    duration = len(recording.probabilities) / recording.sampling_rate
    events = postprocess(recording.probabilities, settings, recording.sampling_rate)
    event, _ = _timescored(recording.truth, Annotations(tuple(events)), duration)
    return event


def best_within(points: Sequence[OperatingPoint], false_alarms: float) -> OperatingPoint | None:
    """The most sensitive point with at most so many false alarms in 24 h; of equals the quietest.

    Args:
        points: of a sweep.
        false_alarms: allowed in 24 h.
    Returns:
        None where every threshold gives more.
    """
    allowed = [point for point in points if point.false_alarms_a_day <= false_alarms]
    return max(allowed, key=lambda one: (one.sensitivity, -one.false_alarms_a_day), default=None)
