"""Fitting under a hierarchical Dirichlet process, which leaves as many states as the data need."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError
from tcnzoo.inference.dirichlet import (
    concentrations,
    digamma,
    expected_log_rows,
    posterior_rows,
    rows_bound,
)
from tcnzoo.inference.hsmm.duration_step import TINY
from tcnzoo.inference.hsmm.em import HELD, Counts, expect, maximise
from tcnzoo.inference.hsmm.floors import warn_of_reached_floor
from tcnzoo.inference.hsmm.initial import checked_sequences
from tcnzoo.inference.hsmm.inputs import Batch
from tcnzoo.inference.hsmm.tables import tables_of
from tcnzoo.specs.hsmm import HsmmSpec
from tcnzoo.specs.params import check_weights

# Logs of chances that are as good as none, and the least global weight.
NEVER, LEAST = -1e4, 1e-12
# Steps of EM after a merge before it is judged.
SETTLING = 4
# Pairs that are tried, the most alike first, before the fit ends.
TRIES = 6


@dataclass(frozen=True)
class HdpFit:
    """The end of a fit under an HDP.

    Attributes:
        weights: float32, neutral.
        bounds: the evidence lower bound after the first steps, and after every merge.
        active: states that are left, in rising order.
        beta: global weights, (states,).
    """

    weights: Weights
    bounds: list[float]
    active: Array
    beta: Array


@dataclass(frozen=True)
class _Prior:
    """Concentrations of the rows and of the global weights."""

    alpha: float
    gamma: float


@dataclass(frozen=True)
class _Point:
    """Where a fit stands: weights, what they make of the data, and the bound."""

    weights: Weights
    counts: Counts
    log_beta: Array
    bound: float


def fit_hdp(
    spec: HsmmSpec,
    weights: Mapping[str, Array],
    sequences: Sequence[Array],
    *,
    masks: Sequence[Array] | None = None,
    alpha: float = 1.0,
    gamma: float = 1.0,
    iterations: int = 20,
) -> HdpFit:
    """Fit an HDP-HSMM of at most `spec.states` states, by variational steps and merges.

    The rows of the transitions are ~ Dir(alpha beta) without their diagonal, and have the posterior
    Dir(alpha beta + n); they enter the recursions as exp E[log pi], which is not normalised. The
    global weights beta, of a symmetric Dirichlet prior of concentration gamma (the weak limit of a
    Dirichlet process), follow from the expected numbers of tables m_k = sum over j of
    alpha beta_k (digamma(alpha beta_k + n_jk) - digamma(alpha beta_k)). Emissions and durations are
    point estimates.

    Variational steps alone hardly ever empty a state, so pairs of states are made one, the most
    alike first, and stay so where the evidence lower bound is no lower for it afterwards.

    Args:
        spec: with gaussian or categorical emissions; its states are the most there can be.
        weights: to start from; see `from_data`.
        sequences: each (channels, time), of any lengths.
        masks: of each sequence, (time,), true where a step is observed.
        alpha: concentration of the rows around the global weights.
        gamma: concentration of the global weights.
        iterations: steps before the first merge, and after the last one.
    Raises:
        InputError: as `fit_em`, or a concentration that is not above 0.
        WeightError: as `fit_em`.
    Source:
        Johnson & Willsky 2013, arXiv:1203.1365; merges under the bound: Hughes & Sudderth 2013,
        Memoized online variational inference for Dirichlet process mixture models, NeurIPS.
    """
    if min(alpha, gamma) <= 0.0 or iterations < 1:
        raise InputError(
            "fit_hdp takes concentrations above 0 and at least 1 iteration, but got "
            f"alpha {alpha:g}, gamma {gamma:g} and {iterations} iterations"
        )
    check_weights(spec.params(), weights)
    batches, prior = checked_sequences(spec, sequences, masks), _Prior(alpha, gamma)
    parameters = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}
    log_beta = np.full(spec.states, -np.log(spec.states))
    point = _Point(parameters, expect(spec, parameters, batches), log_beta, -np.inf)
    point = _steps(spec, batches, point, prior, iterations)
    bounds = [point.bound]
    while (merged := _merged(spec, batches, point, prior)) is not None:
        point = merged
        bounds.append(point.bound)
    point = _steps(spec, batches, point, prior, iterations)
    rounded = {name: array.astype(np.float32) for name, array in point.weights.items()}
    active = _active(spec, point.counts)
    warn_of_reached_floor(spec, rounded, active)
    return HdpFit(rounded, bounds, active, np.exp(point.log_beta))


def _steps(
    spec: HsmmSpec, batches: Sequence[Batch], point: _Point, prior: _Prior, number: int
) -> _Point:
    """Take variational steps."""
    for _ in range(number):
        log_beta = _global(point.counts.transitions, point.log_beta, prior)
        a = concentrations(log_beta, spec.states, prior.alpha, None)
        omega = posterior_rows(a, point.counts.transitions)
        transitions = np.maximum(expected_log_rows(omega), NEVER)
        np.fill_diagonal(transitions, 0.0)
        parameters = maximise(
            spec,
            point.weights,
            point.counts,
            lambda _, fixed=transitions: fixed,  # type: ignore[misc]
        )
        np.fill_diagonal(transitions, -np.inf)
        tables = replace(tables_of(spec, parameters), transitions=transitions)
        counts = expect(spec, parameters, batches, tables)
        # In the basis of its logits, where the density of beta has an upper bound.
        bound = counts.log_likelihood + rows_bound(omega, a)
        bound += prior.gamma / spec.states * float(log_beta.sum())
        point = _Point(parameters, counts, log_beta, bound)
    return point


def _global(transitions: Array, log_beta: Array, prior: _Prior) -> Array:
    """Logs of the global weights, from the expected numbers of tables."""
    a = concentrations(log_beta, len(log_beta), prior.alpha, None)
    safe = np.where(a > 0.0, a, 1.0)
    tables = np.where(a > 0.0, safe * (digamma(safe + transitions) - digamma(safe)), 0.0)
    shares = prior.gamma / len(log_beta) + tables.sum(axis=0)
    return np.asarray(np.log(np.maximum(shares / shares.sum(), LEAST)))


def _active(spec: HsmmSpec, counts: Counts) -> Array:
    """States that hold any of the data."""
    return np.flatnonzero(_steps_held(spec, counts) > HELD)


def _steps_held(spec: HsmmSpec, counts: Counts) -> Array:
    """Expected number of steps of each state."""
    steps = counts.weight if spec.emission == "gaussian" else counts.sums.sum(axis=1)
    return np.asarray(steps)


def _merged(
    spec: HsmmSpec, batches: Sequence[Batch], point: _Point, prior: _Prior
) -> _Point | None:
    """The fit with two states made one, or None where the bound is against all that are tried."""
    for kept, gone in itertools.islice(_alike(spec, point), TRIES):
        trial = replace(point, counts=_together(point, kept, gone))
        trial = _steps(spec, batches, trial, prior, SETTLING)
        if trial.bound >= point.bound:
            return trial
    return None


def _alike(spec: HsmmSpec, point: _Point) -> Iterator[tuple[int, int]]:
    """Pairs of active states, those first whose emissions lose least by being one."""
    active = _active(spec, point.counts)
    pairs = [(int(a), int(b)) for a, b in itertools.combinations(active, 2)]
    alone = {int(k): _misfit(spec, point, [int(k)]) for k in active}
    loss = {(a, b): _misfit(spec, point, [a, b]) - alone[a] - alone[b] for a, b in pairs}
    yield from sorted(pairs, key=lambda pair: loss[pair])


def _misfit(spec: HsmmSpec, point: _Point, states: Sequence[int]) -> float:
    """Minus the log-likelihood of what some states emit, under one emission, and a constant."""
    counts = point.counts
    if spec.emission == "categorical":
        total = np.maximum(counts.sums[states].sum(axis=0), TINY)
        return float(-(total * np.log(total / total.sum())).sum())
    weight, means = counts.weight[states], point.weights["means"][states]
    apart = counts.sums[states] / weight[:, None]
    squares = counts.squares[states] - weight[:, None] * apart**2
    centres, number = means + apart, weight.sum()
    centre = weight @ centres / number
    spread = (squares.sum(axis=0) + weight @ (centres - centre) ** 2) / number
    return float(0.5 * number * np.log(spread + spec.variance_floor).sum())


def _together(point: _Point, kept: int, gone: int) -> Counts:
    """The expected numbers with one state's added to another's."""
    merged = copy.deepcopy(point.counts)
    if "means" in point.weights:  # sums and squares are around each state's own mean
        shift = point.weights["means"][gone] - point.weights["means"][kept]
        weight, sums = merged.weight[gone], merged.sums[gone].copy()
        merged.sums[gone] = sums + weight * shift
        merged.squares[gone] += 2.0 * shift * sums + weight * shift**2
    for table in (
        merged.initial, merged.transitions, merged.durations, merged.censored, merged.weight,
        merged.sums, merged.squares,
    ):  # fmt: skip
        table[kept] += table[gone]
        table[gone] = 0.0
    merged.transitions[:, kept] += merged.transitions[:, gone]
    merged.transitions[:, gone] = 0.0
    merged.transitions[kept, kept] = 0.0
    return merged
