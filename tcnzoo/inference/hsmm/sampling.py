"""Samples of segmentations and signals; the same draws in every backend."""

import dataclasses
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.calls import current_tables, spec_of
from tcnzoo.inference.hsmm.inputs import checked
from tcnzoo.inference.hsmm.laws import log_softmax
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tcnzoo.models.calls import create, get_weights
from tcnzoo.specs.hsmm import HsmmSpec


@dataclasses.dataclass(frozen=True)
class Sample:
    """Draws from the prior.

    Attributes:
        states: (batch, time).
        observations: (batch, channels, time), as the model takes them; None for neural emissions
            and none, which do not say what a signal looks like.
    """

    states: Array
    observations: Array | None


def reference_scores(spec: HsmmSpec, weights: Weights, x: Array, mask: Array) -> Array:
    """Emission log-likelihoods by the reference, (batch, K, time), 0 where the mask is false."""
    model = create(spec, "numpy", weights=weights, dtype="float64")
    return np.where(mask[:, None], model.scores(x), 0.0)


def sample_posterior(
    model: Any, x: Any, generator: np.random.Generator, lengths: Any = None, mask: Any = None
) -> Array:
    """Draw a segmentation of each sequence, given the sequence.

    Args:
        model: of kind `hsmm`, in any backend.
        x, lengths, mask: as in `log_likelihood`.
        generator: numpy's; the same one draws the same in every backend.
    Returns:
        (batch, time), a state for each step; -1 behind a length.
    Raises:
        InputError, WeightError: as `log_likelihood`.
    """
    spec, weights = spec_of(model), get_weights(model)
    tables, given = tables_of(spec, weights), checked(spec, x, lengths, mask)
    scores = reference_scores(spec, weights, given.x, given.mask)
    paths = np.full(given.mask.shape, -1, dtype=np.int64)
    for index, (sequence, length) in enumerate(zip(scores, given.lengths, strict=True)):
        paths[index, :length] = inference.sample(tables, sequence[:, :length], generator)
    return paths


def sample_prior(
    model: Any, generator: np.random.Generator, length: int, batch_size: int = 1
) -> Sample:
    """Draw segmentations from the model, and signals for them.

    Args:
        model: of kind `hsmm`, in any backend.
        generator: numpy's; the same one draws the same in every backend.
        length: steps of each sequence.
        batch_size: how many.
    Raises:
        InputError: a length or number below 1, or no segmentation of that length.
        WeightError: weights that cannot be normalised.
    """
    for name, value in (("length", length), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, but is {value}")
    tables = current_tables(model)
    states = np.stack([_draw_path(tables, length, generator) for _ in range(batch_size)])
    return Sample(states, _observations(spec_of(model), get_weights(model), states, generator))


def _draw_path(tables: Tables, length: int, generator: np.random.Generator) -> Array:
    """Draw a state for each step."""
    if not tables.censored or tables.absorbing.any():
        # Not every way of going on reaches the end: the posterior of no signal.
        return inference.sample(tables, np.zeros((len(tables.initial), length)), generator)
    path, t = np.empty(length, dtype=np.int64), 0
    state, law = _draw(tables.initial, generator), tables.first_durations
    while t < length:
        duration = _draw(law[state], generator) + 1
        path[t : t + duration] = state
        t, law = t + duration, tables.durations
        state = _draw(tables.transitions[state], generator)
    return path


def _draw(logs: Array, generator: np.random.Generator) -> int:
    """Draw a place by its log-probability."""
    sums = np.cumsum(np.exp(logs))
    return int(np.searchsorted(sums, generator.random() * sums[-1], side="right"))


def _observations(
    spec: HsmmSpec, weights: Weights, states: Array, generator: np.random.Generator
) -> Array | None:
    """Draw a signal for states (batch, time)."""
    if spec.emission == "gaussian":
        means = weights["means"].astype(np.float64)[states]
        variance = spec.variance_floor + np.exp(weights["log_variances"].astype(np.float64))
        noise = generator.standard_normal(means.shape) * np.sqrt(variance)[states]
        return np.moveaxis(means + noise, 2, 1)
    if spec.emission == "categorical":
        chances = np.cumsum(np.exp(log_softmax(weights["code_logits"].astype(np.float64))), axis=1)
        drawn = generator.random((*states.shape, 1)) * chances[states][..., -1:]
        codes = (chances[states] <= drawn).sum(axis=2)
        if spec.encoding == "index":
            return np.asarray(codes[:, None], dtype=np.float64)
        return np.asarray(np.moveaxis(np.eye(chances.shape[1])[codes], 2, 1))
    return None
