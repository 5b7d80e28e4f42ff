"""The normalised tables of a hidden semi-Markov model, in float64 and in logarithms."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.errors import WeightError
from tcnzoo.inference.hsmm.chances import Chances, chances_of
from tcnzoo.inference.hsmm.laws import duration_scores, log_softmax, log_sum_exp, log_tail, possible
from tcnzoo.specs.hsmm import HsmmSpec


@dataclass(frozen=True)
class Tables:
    """What the recursions run on; K states, durations 1 .. D in columns 0 .. D - 1.

    Attributes:
        initial: log pi, (K,).
        transitions: log A, (K, K), from the row's state to the column's; -inf on the diagonal. A
            row may sum to less than 1, as in variational inference, and to 0: a state without a way
            out, whose segment must reach the end of the signal.
        durations: log p, (K, D).
        survival: log S, (K, D).
        stationary: the signal begins in the midst of a segment.
        censored: the last segment may go on after the signal.
    """

    initial: Array
    transitions: Array
    durations: Array
    survival: Array
    stationary: bool = False
    censored: bool = True

    @property
    def absorbing(self) -> Array:
        """Whether a state has no way out, (K,)."""
        return np.asarray((self.transitions == -np.inf).all(axis=1))

    @property
    def log_mean(self) -> Array:
        """Log of the mean duration, (K,): the sum of the survival."""
        return log_sum_exp(self.survival, axis=1)

    @property
    def first(self) -> Array:
        """Log weight of a state at the start, for each age that it may have there, (K,)."""
        return np.asarray(self.initial - self.log_mean) if self.stationary else self.initial

    @property
    def first_durations(self) -> Array:
        """Log law of what the first segment has left to last, (K, D)."""
        if not self.stationary:
            return self.durations
        return np.asarray(self.survival - self.log_mean[:, None])

    @property
    def first_survival(self) -> Array:
        """Log of the sums of that law's tail, (K, D)."""
        return log_tail(self.first_durations) if self.stationary else self.survival

    @cached_property
    def chances(self) -> Chances:
        """The same as probabilities."""
        return chances_of(self.first, self.transitions, self.durations, self.survival)

    @property
    def last(self) -> Array:
        """Log weight of the last segment by its length within the signal, (K, D)."""
        return self.survival if self.censored else self.durations


def tables_of(spec: HsmmSpec, weights: Mapping[str, Array]) -> Tables:
    """Normalise the weights of a model.

    Args:
        spec: the model.
        weights: neutral weights by name.
    Raises:
        WeightError: a row that cannot be normalised: a NaN or +inf in it, or nothing above NEVER
            (but of the transitions, where that is a state without a way out).
    """
    parameters = {name: possible(to_numpy(array)) for name, array in weights.items()}
    transitions = parameters["transition_logits"]
    np.fill_diagonal(transitions, -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = duration_scores(spec, parameters)
    _check("initial_logits", parameters["initial_logits"][None])
    _check("transition_logits", transitions, may_be_nothing=True)
    _check("the durations", scores)
    durations = log_softmax(scores)
    survival = log_tail(durations)
    survival[:, 0] = 0.0
    return Tables(
        log_softmax(parameters["initial_logits"]),
        log_softmax(transitions),
        durations,
        survival,
        spec.start == "stationary",
        spec.end == "censored",
    )


def _check(name: str, logits: Array, may_be_nothing: bool = False) -> None:
    """Raise WeightError for the first row that has no sum to be divided by."""
    for index, row in enumerate(logits):
        highest = row.max()  # NaN where one is in it
        if np.isfinite(highest) or (may_be_nothing and highest == -np.inf):
            continue
        raise WeightError(
            f"row {index} of {name} cannot be normalised: "
            f"its scores must be numbers with at least one above -inf, but are {row[:4]}"
            f"{' ...' if len(row) > 4 else ''}"
        )
