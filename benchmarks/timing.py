"""Interleaved timing: contenders take turns in every round, so that load falls on all alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        task: `forward`, `training step`, `stream 1`, ...
        seconds: median time of one call, by contender.
        ratio: median over the rounds of (time of the first contender / time of each).
        rounds: how many rounds the medians are over.
        threads: threads that the CPU computations were allowed.
    """

    net: str
    task: str
    device: str
    seconds: dict[str, float]
    ratio: dict[str, float]
    rounds: int
    threads: int
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def interleaved(
    contenders: Mapping[str, Callable[[], object]], *, budget: float = 20.0, calls: int = 1
) -> tuple[dict[str, float], dict[str, float], int]:
    """Time some functions in turn.

    Args:
        contenders: name -> function; the first is the one that ratios refer to.
        budget: seconds to spend, roughly; at least 5 and at most 60 rounds are run.
        calls: calls of each function in one round.
    Returns:
        (median seconds of one call, median ratio to the first contender, number of rounds).
    """
    times = in_turns(contenders, budget, calls)
    first = next(iter(times.values()))
    seconds = {name: statistics.median(one) for name, one in times.items()}
    return seconds, {name: ratio(first, one) for name, one in times.items()}, len(first)


def ratio(first: Sequence[float], other: Sequence[float]) -> float:
    """Median over the rounds of the first's time relative to the other's."""
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


def in_turns(
    contenders: Mapping[str, Callable[[], object]], budget: float, calls: int = 1
) -> dict[str, list[float]]:
    """Seconds of one call of each contender in every round; arguments as in `interleaved`."""
    start = time.perf_counter()
    for run in contenders.values():
        run()
        run()
    warm = (time.perf_counter() - start) / 2
    rounds = max(5, min(60, int(budget / max(1e-6, warm * calls))))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            times[name].append((time.perf_counter() - start) / calls)
    return times
