"""Probabilities to events, for a whole signal or chunk by chunk with the same result."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.annotations import Event
from tcnzoo.eeg.runs import Closing, Hysteresis, MinLength, Opening, Run, Runs
from tcnzoo.errors import InputError

Confidence = Literal["mean", "peak", "percentile"]


@dataclass(frozen=True)
class PostProcessing:
    """How probabilities become events, in this order.

    Attributes:
        tau_on, onset_samples: a run begins with the first of so many samples in sequence that are
            at least tau_on.
        tau_off, offset_samples: it ends once so many samples in sequence are below tau_off; all of
            them but the last belong to it.
        opening: runs of fewer samples are taken away (odd; 1 for none).
        closing: gaps of fewer samples are filled (odd; 1 for none).
        min_duration: shorter runs are taken away, in s.
        merge_gap: runs with a gap of at most this between them are one event, in s.
        max_duration: an event that becomes as long as this ends, and what follows begins another
            one, in s; of that, less than min_duration is taken away.
        confidence: of an event: the `mean`, `peak` or `percentile` of the probabilities of each of
            its runs, and of those the largest.
        percentile: for that confidence, 0 to 1.
    Source:
        The defaults are those of brain-go-brr-v2 (Clarity-Digital-Twin), where pieces of
        max_duration stay adjacent, and so are one event again; here they are events.
    """

    tau_on: float = 0.86
    tau_off: float = 0.78
    onset_samples: int = 128
    offset_samples: int = 256
    opening: int = 11
    closing: int = 31
    min_duration: float = 3.0
    merge_gap: float = 2.0
    max_duration: float = 600.0
    confidence: Confidence = "mean"
    percentile: float = 0.75

    def __post_init__(self) -> None:
        """Refuse thresholds and durations that contradict each other."""
        if not 0.0 < self.tau_off < self.tau_on <= 1.0:
            raise InputError(
                f"the thresholds must be 0 < tau_off < tau_on <= 1, but tau_off is {self.tau_off} "
                f"and tau_on {self.tau_on}"
            )
        for name in ("onset_samples", "offset_samples", "opening", "closing"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} must be at least 1, but is {value}")
            if name in ("opening", "closing") and value % 2 == 0:
                raise InputError(f"{name} must be odd, but is {value}")
        if self.confidence not in get_args(Confidence) or not 0.0 <= self.percentile <= 1.0:
            raise InputError(
                f"confidence must be one of {', '.join(get_args(Confidence))} with a percentile "
                f"of 0 to 1, but is {self.confidence!r} with {self.percentile}"
            )
        if not 0.0 <= max(self.min_duration, self.merge_gap) < self.max_duration < float("inf"):
            raise InputError(
                f"max_duration must be above min_duration, {self.min_duration:g} s, and merge_gap, "
                f"{self.merge_gap:g} s, but is {self.max_duration:g} s"
            )
        if min(self.min_duration, self.merge_gap) < 0.0:
            raise InputError("min_duration and merge_gap must be at least 0 s")

    def latency(self, sampling_rate: float) -> tuple[float, float]:
        """Time from the last sample of an event until it is given out: (usually, at most), in s.

        Usually nothing follows, and one sample more than merge_gap (or the closing) is enough. At
        most, another run begins within merge_gap that lasts almost long enough to belong to the
        event. An event ends offset_samples - 1 after the probabilities have fallen.
        """
        gap = _samples_within(self.merge_gap, sampling_rate)
        least = _samples(self.min_duration, sampling_rate)
        pending = self.onset_samples + self.opening + self.closing + max(1, least) - 4
        return (
            max(gap + 1, self.closing) / sampling_rate,
            (gap + 1 + pending) / sampling_rate,
        )


def _samples(seconds: float, sampling_rate: float) -> int:
    """The fewest samples that last as long."""
    return math.ceil(seconds * sampling_rate - 1e-9)


def _samples_within(seconds: float, sampling_rate: float) -> int:
    """The most samples that last no longer."""
    return math.floor(seconds * sampling_rate + 1e-9)


def postprocess(
    probabilities: Array, settings: PostProcessing | None = None, sampling_rate: float = 256.0
) -> list[Event]:
    """Find the events in the probabilities of a whole signal.

    Args:
        probabilities: (time,), 0 to 1.
        settings: see PostProcessing.
        sampling_rate: of the probabilities, in Hz.
    Raises:
        InputError: another shape, or NaN.
    """
    processor = PostProcessor(settings, sampling_rate)
    return [*processor.push(probabilities), *processor.finish()]


class PostProcessor:
    """Post-processing chunk by chunk: an event is given out once nothing can change it.

    Any chunking gives the events of `postprocess`, bit for bit. The probabilities of an event that
    is going on are kept, which are at most those of max_duration and of the latency.
    """

    def __init__(
        self, settings: PostProcessing | None = None, sampling_rate: float = 256.0
    ) -> None:
        """Start before the first sample; arguments as in `postprocess`."""
        self.settings = settings or PostProcessing()
        if not 0.0 < sampling_rate < float("inf"):
            raise InputError(f"the sampling rate must be above 0 Hz, but is {sampling_rate}")
        s = self.settings
        self._rate = sampling_rate
        self._hysteresis = Hysteresis(s.tau_on, s.tau_off, s.onset_samples, s.offset_samples)
        self._least = _samples(s.min_duration, sampling_rate)
        self._stages = (Opening(s.opening), Closing(s.closing), MinLength(self._least))
        self._gap = _samples_within(s.merge_gap, sampling_rate)
        self._most = _samples_within(s.max_duration, sampling_rate)
        self._event: list[Run] = []
        self._held = np.zeros(0)
        self._first = self._cut = 0

    def push(self, probabilities: Array) -> list[Event]:
        """Take the next probabilities, (time,); return the events that are certain now.

        Raises:
            InputError: another shape, or values that are not 0 to 1.
        """
        if probabilities.ndim != 1:
            raise InputError(f"probabilities must be (time,), but have shape {probabilities.shape}")
        if not ((probabilities >= 0.0) & (probabilities <= 1.0)).all():
            odd = probabilities[~((probabilities >= 0.0) & (probabilities <= 1.0))][0]
            raise InputError(f"probabilities must be 0 to 1, but one is {odd}")
        # In float64, so that the thresholds are not rounded to a narrower type.
        values = probabilities.astype(np.float64)
        self._held = np.concatenate([self._held, values])
        return self._advanced(self._hysteresis.push(values))

    def finish(self) -> list[Event]:
        """End the signal; return the events that waited for more."""
        return self._advanced(self._hysteresis.finish())

    @property
    def ongoing(self) -> float | None:
        """Start in s of an event that is certain but may still grow, None without one."""
        if not self._event or self._event[-1][1] - self._event[0][0] < self._least:
            return None
        return self._event[0][0] / self._rate

    def _advanced(self, runs: Runs) -> list[Event]:
        """Take what is new through all stages."""
        for stage in self._stages:
            runs = stage.push(runs)
        events = list(self._grown(runs))
        oldest = self._event[0][0] if self._event else runs.known
        drop = min(oldest, runs.known) - self._first
        self._held, self._first = self._held[drop:], self._first + drop
        return events

    def _grown(self, runs: Runs) -> Iterator[Event]:
        """Join runs to events, and yield those that can grow no more."""
        going = () if runs.open is None else ((runs.open, runs.known),)
        for start, stop in (*runs.closed, *going):
            yield from self._joined(start, stop)
        apart = runs.known - self._event[-1][1] > self._gap if self._event else False
        if self._event and (runs.final or (runs.open is None and apart)):
            yield from self._ended()

    def _joined(self, start: int, stop: int) -> Iterator[Event]:
        """Add a run to the event, or more of its last run; yield the events that this ends."""
        start = max(start, self._cut)
        if start >= stop:
            return
        if self._event and self._event[-1][0] == start:
            self._event.pop()
        elif self._event and not self._reaches(start):
            yield from self._ended()
        while (end := self._event_start(start) + self._most) <= stop:
            self._event.append((start, end))
            yield from self._ended()
            start = self._cut = end
        if start < stop:
            self._event.append((start, stop))

    def _event_start(self, start: int) -> int:
        """First sample of the event that a run from `start` belongs to."""
        return self._event[0][0] if self._event else start

    def _reaches(self, start: int) -> bool:
        """Whether a run from `start` belongs to the event so far."""
        first, last = self._event[0][0], self._event[-1][1]
        return start - last <= self._gap and start < first + self._most

    def _ended(self) -> Iterator[Event]:
        """Yield the event, unless it is too short after a cut, and start the next one."""
        runs, self._event = self._event, []
        first, last = runs[0][0], runs[-1][1]
        if last - first >= self._least:
            confidence = max(self._confidence(start, stop) for start, stop in runs)
            yield Event(first / self._rate, last / self._rate, confidence)

    def _confidence(self, start: int, stop: int) -> float:
        """Confidence of one run."""
        values = self._held[start - self._first : stop - self._first]
        if self.settings.confidence == "peak":
            return float(values.max())
        if self.settings.confidence == "percentile":
            return float(np.quantile(values, self.settings.percentile))
        return float(values.mean())
