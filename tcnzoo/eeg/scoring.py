"""How well predicted events match the truth: by event, by sample, and time-aligned."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tcnzoo.arrays import Array
from tcnzoo.eeg.annotations import Annotations, within
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.postprocess import PostProcessing, postprocess
from tcnzoo.eeg.taes import taes
from tcnzoo.eeg.ticks import TICKS, rounded, span_ticks
from tcnzoo.errors import InputError

DAY = 86400.0
Spans = list[tuple[float, float]]
# Samples a second at which timescoring compares events, and samples, as SzCORE says.
_EVENT_RATE, _SAMPLE_RATE = 10, 1
# Parts of a second that timescoring is given: a float holds each of them, and the sums and
# differences of them that it compares with 90 s and 300 s, for half a year.
_PARTS = 2**24


@dataclass(frozen=True)
class Score:
    """Counts of one kind over one recording or several, and what follows from them.

    Attributes:
        hits: detected, of `references`; fractions in TAES.
        false_alarms: predicted without a reference, in the same unit.
        references: in the truth: events, or seconds.
        seconds: duration of the recordings.
    """

    hits: float
    false_alarms: float
    references: float
    seconds: float

    @property
    def sensitivity(self) -> float:
        """Part of the references that was detected; NaN without references."""
        return self.hits / self.references if self.references else float("nan")

    @property
    def precision(self) -> float:
        """Part of the predictions that are right; NaN without predictions."""
        said = self.hits + self.false_alarms
        return self.hits / said if said else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; NaN without references and predictions."""
        both = self.references + self.hits + self.false_alarms
        return 2.0 * self.hits / both if both else float("nan")

    @property
    def false_alarms_a_day(self) -> float:
        """False alarms in 24 h."""
        # Multiplied first, so that 10 in a day are not 10.000000000000002.
        return self.false_alarms * DAY / self.seconds

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

    Events of one side that overlap or touch each other count as one. Of an event that goes on past
    the end of the recording, what lies before counts, with a warning.

    Args:
        truth, prediction: events of the same recording.
        duration: of the recording, in s.
    Raises:
        InputError: a duration of 0.
        BackendMissing: timescoring is not installed.
    Source:
        Dan et al. 2024, arXiv:2402.13005 (SzCORE), by its own package timescoring.
    """
    references = within(truth, duration).spans
    said = within(prediction, duration, "the prediction").spans
    fractions = taes(references, said)
    aligned = Score(fractions.hits, fractions.false_alarms, len(references), duration)
    return Scores(*_timescored(references, said, duration), aligned)


def check_scorer() -> None:
    """Raise BackendMissing before the work starts, if timescoring is not installed."""
    needed("timescoring.scoring", "scoring")


def _timescored(references: Spans, said: Spans, duration: float) -> tuple[Score, Score]:
    """Event and sample scores of timescoring, of spans that neither overlap nor touch."""
    scoring = needed("timescoring.scoring", "scoring")
    events = [_annotation(spans, duration, _EVENT_RATE) for spans in (references, said)]
    samples = [_annotation(spans, duration, _SAMPLE_RATE) for spans in (references, said)]
    scorings = (scoring.EventScoring(*events), scoring.SampleScoring(*samples, _SAMPLE_RATE))
    event, sample = (
        Score(float(counted.tp), float(counted.fp), float(counted.refTrue), duration)
        for counted in scorings
    )
    return event, sample


def _annotation(spans: Spans, duration: float, rate: int) -> Any:
    """Spans as timescoring wants them, at the rate at which it compares them."""
    annotation = needed("timescoring.annotations", "scoring").Annotation
    exact = [(_exact(start), _exact(stop)) for start, stop in map(span_ticks, spans)]
    return annotation(exact, rate, max(1, rounded(duration, rate)))


def _exact(ticks: int) -> float:
    """A time in s, half a part of a second or little more later.

    timescoring rounds halves of its samples to even numbers, so that 61 s from 100.5 s are 62
    samples and from 101.5 s are 60; a time that is later than any half is rounded up.
    """
    return (-(-ticks * _PARTS // TICKS) + 0.5) / _PARTS


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

    @property
    def duration(self) -> float:
        """Length in s."""
        return len(self.probabilities) / self.sampling_rate


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
        thresholds = [step / 50 for step in range(50, 0, -1) if step / 50 > distance + 1e-9]
    references = [within(recording.truth, recording.duration).spans for recording in recordings]
    if not any(references):
        raise InputError("a sweep needs a recording with at least one event to find")
    points = []
    for tau in thresholds:
        say(f"threshold {tau:.2f}")
        # Rounded, since a difference of floats is not the threshold that was meant.
        chosen = replace(base, tau_on=tau, tau_off=round(tau - distance, 12))
        total = Score(0.0, 0.0, 0.0, 0.0)
        for recording, spans in zip(recordings, references, strict=True):
            total += _event_score(recording, spans, chosen)
        points.append(OperatingPoint(tau, total.sensitivity, total.false_alarms_a_day))
    return points


def _event_score(recording: Scored, references: Spans, settings: PostProcessing) -> Score:
    """SzCORE's event score of one recording."""
    events = postprocess(recording.probabilities, settings, recording.sampling_rate)
    said = Annotations(tuple(events)).spans
    event, _ = _timescored(references, said, recording.duration)
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
    return max(
        allowed, key=lambda point: (point.sensitivity, -point.false_alarms_a_day), default=None
    )
