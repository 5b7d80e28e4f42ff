"""Detection in a recording with gaps: each part alone, with times on one clock."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tcnzoo.eeg.annotations import Annotations, Event, ordered
from tcnzoo.eeg.pipeline import Detection, Say, detect
from tcnzoo.eeg.postprocess import PostProcessing
from tcnzoo.eeg.preprocess import Preprocessing
from tcnzoo.eeg.recordings import SHORTEST, Recording
from tcnzoo.eeg.scoring import Score, Scores, score
from tcnzoo.eeg.windows import Windows
from tcnzoo.errors import InputError

_SHOWN = 6


@dataclass(frozen=True)
class Detections:
    """The events in the parts of a recording.

    Attributes:
        parts: one for each part that was long enough, in order of time.
        left_out: parts shorter than 1 s.
    """

    parts: tuple[Detection, ...]
    left_out: tuple[Recording, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """Events of all parts, in s from the first sample of the whole recording."""
        return tuple(event for part in self.parts for event in part.events)

    @property
    def duration(self) -> float:
        """Duration of all parts in s, without the gaps."""
        return sum(part.recording.duration for part in self.parts)

    @property
    def annotations(self) -> Annotations:
        """The events with the facts of the recording, for `write_events`.

        Their duration reaches from the first sample to the last, gaps included, since that is the
        time in which events lie.
        """
        return replace(self.parts[-1].annotations, events=self.events)

    @property
    def sampling_rate(self) -> float:
        """Of the probabilities, in Hz."""
        return self.parts[0].sampling_rate

    @property
    def postprocessing(self) -> PostProcessing:
        """Settings of the post-processing."""
        return self.parts[0].postprocessing


def detect_parts(
    model: Any,
    parts: Sequence[Recording],
    *,
    preprocessing: Preprocessing | None = None,
    windows: Windows | None = None,
    postprocessing: PostProcessing | None = None,
    batch_size: int = 4,
    say: Say = lambda text: None,
) -> Detections:
    """Find the events of a recording with gaps, each part as a recording of its own.

    Filters, means, deviations and the model start again with each part. A part shorter than 1 s is
    left out, with a warning.

    Args:
        model, preprocessing, windows, postprocessing, batch_size, say: as of `detect`.
        parts: by `read_parts`.
    Raises:
        InputError: as `detect`, or no part is long enough.
        BackendMissing: scipy is not installed.
    """
    kept, short = usable(parts)
    detections = [
        detect(
            model,
            part,
            preprocessing=preprocessing,
            windows=windows,
            postprocessing=postprocessing,
            batch_size=batch_size,
            say=part_say(say, number, len(kept)),
        )
        for number, part in enumerate(kept, start=1)
    ]
    return Detections(tuple(detections), short)


def usable(parts: Sequence[Recording]) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Parts that can be preprocessed, and those that are too short; a warning names the latter.

    Raises:
        InputError: none is long enough.
    """
    kept = tuple(part for part in parts if part.duration >= SHORTEST)
    short = tuple(part for part in parts if part.duration < SHORTEST)
    if not kept:
        lengths = max((part.duration for part in short), default=0.0)
        raise InputError(
            f"no part of the recording lasts {SHORTEST:g} s; the longest has {lengths:.3g} s"
        )
    if short:
        shown = [f"{part.duration:.3g} s at {part.offset:g} s" for part in short[:_SHOWN]]
        more = f" and {len(short) - _SHOWN} more" if len(short) > _SHOWN else ""
        warnings.warn(
            f"parts shorter than {SHORTEST:g} s are left out: {', '.join(shown)}{more}",
            stacklevel=3,
        )
    return kept, short


def part_say(say: Say, number: int, count: int) -> Say:
    """Report progress with the number of the part, if there are several."""
    return say if count == 1 else lambda text: say(f"part {number} of {count}: {text}")


def score_parts(truth: Annotations, found: Detections) -> Scores:
    """Score the events of a recording with gaps; the gaps do not count.

    Events are cut to the parts. SzCORE's event score keeps the clock, so that tolerances and the
    time between two events are those that passed; its duration, and all of TAES, leave the gaps
    out.

    Args:
        truth: events in s from the first sample of the whole recording.
        found: by `detect_parts`.
    Raises:
        InputError, BackendMissing: as `score`.
    """
    if len(found.parts) == 1 and found.parts[0].recording.offset == 0.0 and not found.left_out:
        return score(truth, found.annotations, found.duration)
    whole = found.annotations.duration or found.duration
    spans = [
        (part.recording.offset, part.recording.offset + part.recording.duration)
        for part in found.parts
    ]
    outside = [event for event in truth.events if not _pieces(event, spans)]
    if outside:
        warnings.warn(
            f"{len(outside)} of {len(truth.events)} events of the truth lie where nothing was "
            f"recorded and are left out, the first at {outside[0].start:g} s",
            stacklevel=2,
        )
    said = found.annotations
    clock = score(_within(truth, spans), _within(said, spans), whole)
    recorded = score(_without_gaps(truth, spans), _without_gaps(said, spans), found.duration)
    return Scores(_lasting(clock.event, found), _lasting(clock.sample, found), recorded.taes)


def _lasting(score: Score, detections: Detections) -> Score:
    """A score by the time that was recorded."""
    return replace(score, seconds=detections.duration)


Span = tuple[float, float]


def _pieces(event: Event, spans: Sequence[Span]) -> list[Event]:
    """The pieces of an event within some spans."""
    cuts = [(max(event.start, start), min(event.stop, stop)) for start, stop in spans]
    return [
        replace(event, start=start, stop=stop)
        for start, stop in cuts
        if start < stop or (start == stop and event.duration == 0.0)
    ]


def _within(side: Annotations, spans: Sequence[Span]) -> Annotations:
    """Events cut to some spans."""
    pieces = [piece for event in side.events for piece in _pieces(event, spans)]
    return replace(side, events=ordered(pieces))


def _without_gaps(side: Annotations, spans: Sequence[Span]) -> Annotations:
    """Events in s of recorded time; one over a gap stays a single event."""

    def recorded(time: float) -> float:
        return sum(min(max(time, start), stop) - start for start, stop in spans)

    cuts = [
        replace(event, start=recorded(event.start), stop=recorded(event.stop))
        for event in side.events
        if _pieces(event, spans)
    ]
    return replace(side, events=ordered(cuts), duration=None)
