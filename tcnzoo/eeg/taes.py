"""Time-aligned event scoring, in which hits, misses and false alarms are fractions."""

from collections.abc import Sequence
from dataclasses import dataclass

from tcnzoo.eeg.ticks import Span, span_ticks


@dataclass(frozen=True)
class Taes:
    """Sums over the events of one recording, or of several.

    Attributes:
        hits: parts of the reference events that were detected.
        misses: the other parts; hits + misses is the number of reference events.
        false_alarms: of the predictions.
    """

    hits: float = 0.0
    misses: float = 0.0
    false_alarms: float = 0.0

    def __add__(self, other: "Taes") -> "Taes":
        """The sums over both."""
        return Taes(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false_alarms + other.false_alarms,
        )


def taes(
    reference: Sequence[tuple[float, float]], prediction: Sequence[tuple[float, float]]
) -> Taes:
    """Score the predictions of one recording; times are compared to 10 ns.

    Reference events are taken in order of time. One that overlaps a prediction not yet taken:

    - The first such prediction ends before the reference event does. Then it and all further
      predictions that overlap the event are its own: the hit is the part of the event that they
      cover, and each gives a false alarm of what it has outside of the event, over the event's
      duration and at most 1.
    - Or it ends with the event or later. Then hit and false alarm come from it alone, and every
      later reference event that it overlaps is missed: a prediction finds one event only.

    The miss is 1 - hit. Reference events that no prediction was left for are misses of 1, and
    predictions that no event has taken are false alarms of 1.

    Args:
        reference, prediction: (start, stop) in s, in order of time, none overlapping the next.
    Source:
        Shah et al. 2021, Objective evaluation metrics for automatic classification of EEG events,
        arXiv:1712.10107, section TAES; the treatment of several overlaps is that of NEDC's
        nedc_eeg_eval 6.0.0. That tool asks for overlap in whole seconds; here any overlap counts.
    """
    events, claims = (
        [span_ticks(span) for span in reference],
        [span_ticks(span) for span in prediction],
    )
    total = Taes()
    while events:
        event = events.pop(0)
        taken = [claim for claim in claims if _overlap(event, claim) > 0]
        if not taken:
            total += Taes(misses=1.0)
            continue
        if taken[0][1] >= event[1]:
            also = [other for other in events if _overlap(other, taken[0]) > 0]
            events = [other for other in events if other not in also]
            total += Taes(misses=float(len(also)))
        hit = sum(_overlap(event, claim) for claim in taken) / _length(event)
        alarms = sum(min(1.0, _outside(event, claim) / _length(event)) for claim in taken)
        total += Taes(hit, 1.0 - hit, alarms)
        claims = [claim for claim in claims if claim not in taken]
    return total + Taes(false_alarms=float(len(claims)))


def _length(span: Span) -> int:
    """Duration of a span, in ticks."""
    return span[1] - span[0]


def _overlap(first: Span, other: Span) -> int:
    """Ticks that two spans share; 0 or less if they do not overlap."""
    return min(first[1], other[1]) - max(first[0], other[0])


def _outside(event: Span, claim: Span) -> int:
    """Ticks of a claim that are not in the event."""
    return _length(claim) - _overlap(event, claim)
