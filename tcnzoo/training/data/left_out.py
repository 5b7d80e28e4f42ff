"""Datapoints of files that a data set does not use, counted by reason."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

# Names of events that a description lists for each reason.
NAMED = 8


class LeftOut:
    """Counts of datapoints by reason and event."""

    def __init__(self) -> None:
        """Begin without counts."""
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, reason: str, event: str, datapoints: int = 1) -> None:
        """Count datapoints of an event; 0 for an event that has none."""
        self._counts[reason][event] += datapoints

    @property
    def events(self) -> set[str]:
        """Names of all events that lack something."""
        return {event for counts in self._counts.values() for event in counts}

    def describe(self) -> dict[str, dict[str, Any]]:
        """For each reason the numbers of datapoints and events, and the names of some events."""
        return {
            reason: {
                "datapoints": counts.total(),
                "events": len(counts),
                "such as": list(counts)[:NAMED],
            }
            for reason, counts in sorted(self._counts.items())
        }


def sentence(left_out: Mapping[str, Mapping[str, Any]]) -> str:
    """Text on what was left out; empty without such data."""
    return "; ".join(
        f"{_number(counts['datapoints'], 'datapoint')} of {_number(counts['events'], 'event')}: "
        f"{reason} ({_listed(counts['such as'], counts['events'])})"
        for reason, counts in left_out.items()
    )


def use_of(description: Mapping[str, Any]) -> str:
    """Text on how much of its files a data set uses; empty if it is all of them."""
    said = []
    if description.get("left_out"):
        events, datapoints = (
            f"{description[what]:,} of {description['read'][what]:,} {what}"
            for what in ("events", "datapoints")
        )
        lost = sentence(description["left_out"])
        said.append(f"{events} and {datapoints} are used; left out: {lost}")
    unseen = description.get("unseen_seizures")
    if unseen:
        names = _listed(unseen[:NAMED], len(unseen))
        said.append(f"{_number(len(unseen), 'seizure')} without a window of that label ({names})")
    return "; ".join(said)


def _number(count: int, what: str) -> str:
    """A number with its noun."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _listed(names: Sequence[str], count: int) -> str:
    """Some names of so many."""
    return ", ".join([*names, *["..."] * (count > len(names))])
