"""Fitting by expectation and maximisation: the weights that make sequences likeliest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError
from tcnzoo.inference.hsmm import inference
from tcnzoo.inference.hsmm.duration_step import TINY, completed, fitted_durations
from tcnzoo.inference.hsmm.floors import warn_of_reached_floor
from tcnzoo.inference.hsmm.initial import checked_sequences
from tcnzoo.inference.hsmm.inputs import Batch
from tcnzoo.inference.hsmm.sampling import reference_scores
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tcnzoo.specs.hsmm import NEVER, HsmmSpec
from tcnzoo.specs.params import check_weights

# Steps that a state must hold to count as one.
HELD = 1.0

TransitionStep = Callable[[Array], Array]


@dataclass(frozen=True)
class Fit:
    """The end of a fit.

    Attributes:
        weights: float32, neutral.
        log_likelihoods: of all sequences together, before each step and after the last one.
        converged: whether the last step gained less than was asked for.
    """

    weights: Weights
    log_likelihoods: list[float]
    converged: bool


@dataclass
class Counts:
    """Expected numbers, summed over the sequences."""

    initial: Array
    transitions: Array
    durations: Array
    censored: Array
    weight: Array
    sums: Array
    squares: Array
    log_likelihood: float = 0.0


def fit_em(
    spec: HsmmSpec,
    weights: Mapping[str, Array],
    sequences: Sequence[Array],
    *,
    masks: Sequence[Array] | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
    transition_step: TransitionStep | None = None,
) -> Fit:
    """Raise the likelihood of sequences until it hardly grows any more.

    Every step is at least as likely as the one before (but for `transition_step`, which may have an
    aim of its own). It is a climb to the nearest top: where several starts (seeds of `from_data`)
    end apart, the one with the highest likelihood is to be kept. A state that explains nothing
    keeps its weights.

    `variance_floor` has the squared unit of the signal, so the same signal in another unit is
    fitted alike only with a floor in that unit. A warning appears where the floor is above a
    hundredth of a channel's variance, and where a state ends with less variance than the floor.

    Args:
        spec: with gaussian or categorical emissions and any law of durations.
        weights: to start from; see `from_data`.
        sequences: each (channels, time), of any lengths.
        masks: of each sequence, (time,), true where a step is observed.
        iterations: steps at most.
        tolerance: gain of log-likelihood for each observed step below which fitting ends.
        transition_step: the log of the transitions from their expected numbers (K, K), for a prior;
            None for the likeliest.
    Raises:
        InputError: emissions without a closed-form step, sequences that do not fit, or more states
            than observed steps.
        WeightError: weights that do not fit the spec or cannot be normalised.
    """
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, but is {iterations}")
    check_weights(spec.params(), weights)
    batches = checked_sequences(spec, sequences, masks)
    parameters = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}
    least = tolerance * sum(int(batch.mask.sum()) for batch in batches)
    counts, reached, converged = expect(spec, parameters, batches), [], False
    for _ in range(iterations):
        reached.append(counts.log_likelihood)
        parameters = maximise(spec, parameters, counts, transition_step)
        counts = expect(spec, parameters, batches)
        converged = counts.log_likelihood - reached[-1] <= least
        if converged:
            break
    reached.append(counts.log_likelihood)
    rounded = {name: array.astype(np.float32) for name, array in parameters.items()}
    warn_of_reached_floor(spec, rounded, np.flatnonzero(counts.weight > HELD))
    return Fit(rounded, reached, converged)


def expect(
    spec: HsmmSpec, weights: Weights, batches: Sequence[Batch], tables: Tables | None = None
) -> Counts:
    """Expected numbers of everything, given the weights, or other tables than they say."""
    tables, k = tables_of(spec, weights) if tables is None else tables, spec.states
    width = spec.codes or spec.input_channels
    counts = Counts(
        np.zeros(k), np.zeros((k, k)), np.zeros((k, spec.max_duration)),
        np.zeros((k, spec.max_duration)), np.zeros(k), np.zeros((k, width)), np.zeros((k, width)),
    )  # fmt: skip
    for batch in batches:
        scores = reference_scores(spec, weights, batch.x, batch.mask)[0]
        expected = inference.expected(tables, scores)
        counts.log_likelihood += expected.log_likelihood
        counts.initial += expected.posterior[:, 0]
        counts.transitions += expected.transitions
        counts.durations += expected.durations
        counts.censored += expected.censored
        _add_emission(spec, weights, counts, batch, expected.posterior)
    return counts


def _add_emission(
    spec: HsmmSpec, weights: Weights, counts: Counts, batch: Batch, posterior: Array
) -> None:
    """Add what the observed steps say of each state's emission."""
    x, share = batch.x[0], posterior * batch.mask[0]
    if spec.emission == "gaussian":  # around the last means, so that squares stay small
        counts.weight += share.sum(axis=1)
        for k, mean in enumerate(weights["means"]):
            apart = x - mean[:, None]
            counts.sums[k] += apart @ share[k]
            counts.squares[k] += (apart**2) @ share[k]
    elif spec.encoding == "one_hot":
        counts.sums += share @ x.T
    else:
        codes = x[0].astype(np.int64)
        known = codes >= 0
        for k in range(spec.states):
            counts.sums[k] += np.bincount(
                codes[known], share[k, known], minlength=counts.sums.shape[1]
            )


def maximise(
    spec: HsmmSpec, weights: Weights, counts: Counts, transition_step: TransitionStep | None
) -> Weights:
    """The weights that make the expected numbers likeliest."""
    tables = tables_of(spec, weights)
    if transition_step is None:
        transitions = _logs(counts.transitions, tables.transitions)
        np.fill_diagonal(transitions, 0.0)
    else:
        transitions = transition_step(counts.transitions)
    return {
        **weights,
        "initial_logits": _logs(counts.initial[None], tables.initial[None])[0],
        "transition_logits": transitions,
        **_durations(spec, weights, tables, counts),
        **_emission(spec, weights, counts),
    }


def _logs(counts: Array, before: Array) -> Array:
    """Logs of rows of counts as chances; a row without any stays as it was, and so does a 0."""
    number = counts.sum(axis=1, keepdims=True)
    logs = np.log(np.maximum(counts / np.maximum(number, TINY), TINY))
    return np.where((number > TINY) & (before > NEVER), logs, before)


def _durations(spec: HsmmSpec, weights: Weights, tables: Tables, counts: Counts) -> Weights:
    """Parameters of the law of durations."""
    whole = completed(tables, counts.durations, counts.censored)
    begun = counts.initial if tables.stationary else np.zeros(spec.states)
    fitted = fitted_durations(spec, weights, whole, begun)
    seen = whole.sum(axis=1) > TINY
    return {
        name: np.where(seen.reshape(-1, *[1] * (array.ndim - 1)), array, weights[name])
        for name, array in fitted.items()
    }


def _emission(spec: HsmmSpec, weights: Weights, counts: Counts) -> Weights:
    """Parameters of the emissions."""
    if spec.emission == "categorical":
        return {"code_logits": _logs(counts.sums, weights["code_logits"])}
    seen = counts.weight[:, None] > TINY
    number = np.maximum(counts.weight[:, None], TINY)
    apart = counts.sums / number
    variance = counts.squares / number - apart**2
    spread = np.log(np.maximum(variance - spec.variance_floor, 1e-6 * spec.variance_floor))
    return {
        "means": np.where(seen, weights["means"] + apart, weights["means"]),
        "log_variances": np.where(seen, spread, weights["log_variances"]),
    }
