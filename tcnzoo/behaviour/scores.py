"""Numbers that say whether codes, clusters and states are any good."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.needs import needed

# More points than these make a silhouette slow and no more exact.
SAMPLED = 2000


@dataclass(frozen=True)
class Match:
    """How states found fit labels known.

    Attributes:
        labels: (states,), the label that each state stands for; -1 for a state that none needs.
        accuracy: share of the steps whose state stands for their label.
        segments: share of the true segments most of whose steps are right.
    """

    labels: Array
    accuracy: float
    segments: float


def code_usage(codes: Array, size: int) -> dict[str, float]:
    """How much of a codebook is used.

    Args:
        codes: integers 0 .. size - 1 of any shape; below 0 counts as masked.
        size: codes that there are.
    Returns:
        `perplexity`, exp of the entropy of the codes in nats, 1 .. size, and `usage`, the share of
        the codes that occur.
    Raises:
        InputError: no code at all, or one outside the codebook.
    """
    used = np.asarray(codes).ravel()
    used = used[used >= 0]
    if not used.size:
        raise InputError("there is no code to count: all of them are masked, or none came")
    if used.max() >= size:
        raise InputError(f"codes must be 0 to {size - 1}, but {int(used.max())} came")
    share = np.bincount(used, minlength=size) / used.size
    seen = share[share > 0]
    perplexity = float(np.exp(-(seen * np.log(seen)).sum()))
    return {"perplexity": perplexity, "usage": len(seen) / size}


def active(path: Array, states: int, share: float = 0.01) -> Array:
    """States that hold more than a share of the steps, in rising order.

    Args:
        path: states of steps, of any shape; below 0 is not counted.
        states: how many there could be.
        share: of the steps.
    """
    visited = np.asarray(path).ravel()
    visited = visited[visited >= 0]
    counts = np.bincount(visited, minlength=states)
    return np.flatnonzero(counts > share * max(visited.size, 1))


def persistence(path: Array) -> float:
    """Share of the steps (batch, time) or (time,) whose state is that of the step before."""
    paths = np.atleast_2d(np.asarray(path))
    if paths.shape[1] < 2:
        raise InputError(f"a path must have at least 2 steps, but has {paths.shape[1]}")
    return float((paths[:, 1:] == paths[:, :-1]).mean())


def psnr(signal: Array, reconstructed: Array) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the span of the signal's values.

    Raises:
        InputError: shapes that differ, or a constant signal.
    """
    if signal.shape != reconstructed.shape:
        raise InputError(
            f"a reconstruction must have the signal's shape {signal.shape}, "
            f"but has {reconstructed.shape}"
        )
    wide = np.asarray(signal, np.float64)
    span = float(np.ptp(wide))
    if span == 0.0:
        raise InputError("the signal is constant, so it has no peak to compare with")
    error = float(np.square(wide - reconstructed).mean())
    return float("inf") if error == 0.0 else 10.0 * float(np.log10(span**2 / error))


def silhouette(features: Array, labels: Array, seed: int = 0) -> float:
    """Mean silhouette of steps, -1 .. 1, by Euclidean distance (Rousseeuw 1987).

    Args:
        features: (steps, width).
        labels: (steps,), at least two different ones.
        seed: of the sample that is taken where there are many steps.
    Raises:
        InputError: one label only.
        BackendMissing: scikit-learn is not installed.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("a silhouette needs at least 2 clusters, but all steps are in one")
    scored = needed("sklearn.metrics", "the silhouette")
    size = SAMPLED if len(labels) > SAMPLED else None
    return float(scored.silhouette_score(features, labels, sample_size=size, random_state=seed))


def durations(path: Array, states: int) -> list[Array]:
    """Lengths of the segments of each state, in steps; those that an end cuts are left out.

    Args:
        path: (batch, time) or (time,).
        states: how many there are.
    """
    lengths: list[list[int]] = [[] for _ in range(states)]
    for row in np.atleast_2d(np.asarray(path)):
        edges = np.flatnonzero(np.diff(row)) + 1
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            if row[start] >= 0:
                lengths[row[start]].append(int(stop - start))
    return [np.array(steps, dtype=np.int64) for steps in lengths]


def matched(path: Array, labels: Array, *, by: str = "majority") -> Match:
    """Give each state the label that it stands for, and score it.

    Args:
        path: states of steps, (time,), 0 or more.
        labels: what is true, (time,), 0 or more.
        by: `majority` gives every state its most frequent label, so several states may share one;
            `one_to_one` is the assignment with the most steps right (Kuhn 1955).
    Raises:
        InputError: lengths that differ, or another `by`.
    """
    path, labels = np.asarray(path), np.asarray(labels)
    if path.shape != labels.shape or path.ndim != 1:
        raise InputError(
            f"states {path.shape} and labels {labels.shape} must be (time,), and equal"
        )
    counts = np.zeros((int(path.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (path, labels), 1)
    meaning = _meaning(counts, by)
    return scored(path, labels, meaning)


def _meaning(counts: Array, by: str) -> Array:
    """The label of each state, from how often they meet."""
    meaning = np.full(len(counts), -1, dtype=np.int64)
    if by == "majority":
        seen = counts.sum(axis=1) > 0
        meaning[seen] = counts[seen].argmax(axis=1)
        return meaning
    if by != "one_to_one":
        raise InputError(f"by must be 'majority' or 'one_to_one', but is {by!r}")
    optimize = needed("scipy.optimize", "the assignment of states to labels")
    states, columns = optimize.linear_sum_assignment(-counts)
    meaning[states] = columns
    return meaning


def scored(path: Array, labels: Array, meaning: Array) -> Match:
    """Score states whose labels are known, such as those that `matched` found elsewhere.

    Args:
        path, labels: as in `matched`.
        meaning: (states,), the label of each; a state beyond it stands for none.
    """
    known: Any = np.full(max(len(meaning), int(path.max()) + 1), -1, dtype=np.int64)
    known[: len(meaning)] = meaning
    right = known[path] == labels
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    parts = [
        right[start:stop].mean() > 0.5 for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]
    return Match(meaning, float(right.mean()), float(np.mean(parts)))
