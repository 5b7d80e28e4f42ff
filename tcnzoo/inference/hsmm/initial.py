"""Weights to start fitting from: emissions of the clusters that k-means finds in the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights, to_numpy, to_real
from tcnzoo.errors import InputError
from tcnzoo.inference.hsmm.floors import warn_of_large_floor
from tcnzoo.inference.hsmm.inputs import Batch, checked
from tcnzoo.specs.hsmm import HsmmSpec
from tcnzoo.specs.params import initial_weights

SAMPLED = 5_000  # steps that are clustered, at most
RESTARTS = 4


def checked_sequences(
    spec: HsmmSpec, sequences: Sequence[Array], masks: Sequence[Array] | None = None
) -> list[Batch]:
    """Check sequences (channels, time) for a fit of a model.

    Warns of a variance floor that is not small beside the variance of the data.

    Raises:
        InputError: emissions that have no closed-form step; a sequence that does not fit; fewer
            observed steps than states.
    """
    if spec.emission not in ("gaussian", "categorical"):
        raise InputError(
            "EM fits gaussian and categorical emissions; train a model with "
            f"{spec.emission} emissions by gradients"
        )
    if len(sequences) == 0:
        raise InputError("EM needs at least one sequence, but none came")
    if masks is not None and len(masks) != len(sequences):
        raise InputError(f"{len(sequences)} sequences need as many masks, but {len(masks)} came")
    row_masks: list[Array | None] = [None] * len(sequences) if masks is None else list(masks)
    batches = [
        checked(spec, to_real(sequence, "float64", "a sequence")[None], None, _mask(row))
        for sequence, row in zip(sequences, row_masks, strict=True)
    ]
    observed = sum(int(batch.mask.sum()) for batch in batches)
    if observed < spec.states:
        raise InputError(
            f"{spec.states} states cannot be fitted to {observed} observed steps: "
            "there must be at least one step for each"
        )
    warn_of_large_floor(
        spec, np.concatenate([batch.x[0][:, batch.mask[0]] for batch in batches], 1), 4
    )
    return batches


def _mask(row: Any) -> Array | None:
    """The mask of a batch of one."""
    return None if row is None else to_numpy(row)[None]


def from_data(
    spec: HsmmSpec,
    sequences: Sequence[Array],
    *,
    seed: int = 0,
    masks: Sequence[Array] | None = None,
) -> Weights:
    """Initial weights whose emissions are those of clusters of the data.

    Args:
        spec: with gaussian or categorical emissions. Codes are clustered by their frequencies in
            the steps around each.
        sequences: each (channels, time).
        seed: of the weights and the clustering.
        masks: of each sequence, (time,), true where a step is observed.
    Returns:
        float32 weights.
    Raises:
        InputError: as `checked_sequences`.
    """
    batches = checked_sequences(spec, sequences, masks)
    weights = initial_weights(spec.params(), seed)
    generator = np.random.default_rng(seed)
    points = np.concatenate([_features(spec, batch) for batch in batches])
    if len(points) > SAMPLED:
        points = points[generator.choice(len(points), SAMPLED, replace=False)]
    labels = kmeans(points, spec.states, generator)
    groups = [points[labels == k] for k in range(spec.states)]
    groups = [group if len(group) else points for group in groups]
    if spec.emission == "gaussian":
        floor = spec.variance_floor
        spread = [np.log(np.maximum(group.var(axis=0) - floor, floor)) for group in groups]
        weights["means"] = np.stack([group.mean(axis=0) for group in groups]).astype(np.float32)
        weights["log_variances"] = np.stack(spread).astype(np.float32)
    else:
        chances = np.stack([group.mean(axis=0) for group in groups])
        smooth = 0.9 * chances + 0.1 * points.mean(axis=0) + 1e-3
        weights["code_logits"] = np.log(smooth).astype(np.float32)
    return weights


def _features(spec: HsmmSpec, batch: Batch) -> Array:
    """What is clustered of each observed step, (steps, features)."""
    seen, x = batch.mask[0], batch.x[0]
    if spec.emission == "gaussian":
        return np.asarray(x.T[seen])
    if spec.encoding == "index":
        x = np.eye(spec.codes or 0)[np.maximum(x[0], 0).astype(int)].T * (x[0] >= 0)
    x = x * seen
    width = max(1, round(spec.typical / 6))
    sums = np.cumsum(np.pad(x, ((0, 0), (width + 1, width))), axis=1)
    around = sums[:, 2 * width + 1 :] - sums[:, : x.shape[1]]  # `width` steps to each side
    return np.asarray((around / np.maximum(around.sum(axis=0), 1e-9)).T[seen])


def kmeans(points: Array, count: int, generator: np.random.Generator) -> Array:
    """Label points (N, features) by the nearest of `count` centres, the best of some restarts.

    Source:
        Lloyd 1982; first centres by k-means++, Arthur & Vassilvitskii 2007.
    """
    scale = points.std(axis=0)
    points = (points - points.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
    fits = [_lloyd(points, _spread_out(points, count, generator)) for _ in range(RESTARTS)]
    return min(fits, key=lambda fit: fit[1])[0]


def _distances(points: Array, centres: Array) -> Array:
    """Squared distances, (N, centres)."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(squares - 2.0 * points @ centres.T, 0.0))


def _spread_out(points: Array, count: int, generator: np.random.Generator) -> Array:
    """Draw centres among the points, each with probability by its distance to those before."""
    centres = points[[generator.integers(len(points))]]
    for _ in range(count - 1):
        far = np.cumsum(_distances(points, centres).min(axis=1))
        drawn = int(np.searchsorted(far, generator.random() * far[-1], side="right"))
        centres = np.concatenate([centres, points[[min(drawn, len(points) - 1)]]])
    return centres


def _lloyd(points: Array, centres: Array) -> tuple[Array, float]:
    """Move centres until no label changes, for a hundred rounds at most; (labels, inertia)."""
    labels = np.full(len(points), -1)
    for _ in range(100):
        distances = _distances(points, centres)
        nearest = distances.argmin(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        for k in np.unique(labels):
            centres[k] = points[labels == k].mean(axis=0)
    return labels, float(distances.min(axis=1).sum())
