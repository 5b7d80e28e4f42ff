"""The tables of a hidden semi-Markov model and what its states say of a signal, in logarithms."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tcnzoo.specs import HsmmSpec
from tcnzoo.specs.hsmm import NEVER

from ...block import Tensor
from ...types import wide


class Laws(NamedTuple):
    """Log probabilities of a model with K states and durations 1..D.

    Attributes:
        initial: (K,), the state of the first segment.
        first_durations: (K, D), the steps that it has left when the signal begins.
        transitions: (K, K), from row to column; the diagonal is -inf.
        durations: (K, D), of the other segments.
    """

    initial: Tensor
    first_durations: Tensor
    transitions: Tensor
    durations: Tensor

    def solid(self) -> "Laws":
        """The same as the recursions take them; see `solid`."""
        return Laws(*(solid(table) for table in self))


def never(shape: Any, dtype: Any) -> Tensor:
    """Log probabilities of what cannot be, as `solid` makes them."""
    return ops.full(shape, NEVER, dtype=dtype)


def solid(logs: Tensor) -> Tensor:
    """Logs with NEVER for -inf: sums of them, and gradients of these, are not NaN."""
    return ops.maximum(logs, ops.cast(NEVER, logs.dtype))


def gone(logs: Tensor) -> Tensor:
    """Whether sums of what `solid` made are those of a probability of 0."""
    return logs < 0.5 * NEVER


def replaced(logs: Tensor, where: Tensor, value: float) -> Tensor:
    """The same with another value in some places."""
    return ops.where(where, ops.full_like(logs, value), logs)


def log_softmax(scores: Tensor) -> Tensor:
    """Normalise over the last axis; -inf for what has probability 0, be it all of a row."""
    return replaced(ops.log_softmax(solid(scores), axis=-1), scores <= NEVER, -math.inf)


def laws_of(spec: HsmmSpec, arrays: dict[str, Any]) -> Laws:
    """The tables from a block's variables by name, which hold matrices transposed."""
    own = {name: wide(arrays[name]) for name in spec.own_params()}
    own = {name: ops.transpose(x) if len(x.shape) == 2 else x for name, x in own.items()}
    duration = log_softmax(_DURATIONS[spec.duration](own, spec.max_duration))
    first = duration
    if spec.start == "stationary":
        first = log_softmax(survival(duration))
    itself = np.eye(spec.states, dtype=bool)
    moves = own["transition_logits"]
    moves = ops.where(itself, ops.cast(-math.inf, moves.dtype), moves)
    return Laws(
        log_softmax(own["initial_logits"]),
        first,
        log_softmax(moves),
        duration,
    )


def survival(duration: Tensor) -> Tensor:
    """S(k, d) = log of the probability of d steps or more, (K, D) as `duration`.

    Sums of twice as many terms at each turn, for no backend of Keras sums along in logarithms.
    """
    (states, longest), duration = duration.shape, solid(duration)
    width = 1
    while width < longest:
        beyond = never((states, width), duration.dtype)
        later = ops.concatenate([duration[:, width:], beyond], axis=1)
        duration = ops.logaddexp(duration, later)
        width *= 2
    return duration


def _poisson(own: dict[str, Tensor], longest: int) -> Tensor:
    rate = own["duration_log_rate"]
    n = np.arange(longest)
    factorials = ops.cast(np.cumsum(np.log(np.maximum(n, 1))), rate.dtype)
    return ops.cast(n, rate.dtype) * rate[:, None] - factorials


def _negative_binomial(own: dict[str, Tensor], longest: int) -> Tensor:
    size = ops.exp(own["duration_log_size"])[:, None]
    i = ops.cast(np.arange(longest - 1), size.dtype)
    ways = ops.cumsum(ops.log((size + i) / (i + 1)), axis=1)
    ways = ops.concatenate([ops.zeros_like(size), ways], axis=1)
    n = ops.cast(np.arange(longest), size.dtype)
    return ways + n * ops.log_sigmoid(own["duration_logit"])[:, None]


def _gaussian(own: dict[str, Tensor], longest: int) -> Tensor:
    mean = ops.exp(own["duration_log_mean"])[:, None]
    distance = ops.cast(np.arange(1, longest + 1), mean.dtype) - mean
    return -ops.square(distance) / (2 * ops.exp(own["duration_log_variance"])[:, None])


def _categorical(own: dict[str, Tensor], longest: int) -> Tensor:
    return own["duration_logits"]


_DURATIONS = {
    "poisson": _poisson,
    "negative_binomial": _negative_binomial,
    "gaussian": _gaussian,
    "categorical": _categorical,
}


def _normal(spec: HsmmSpec, arrays: dict[str, Any], x: Tensor) -> Tensor:
    """Log densities, of independent channels."""
    means = ops.transpose(wide(arrays["means"]))
    variances = spec.variance_floor + ops.exp(ops.transpose(wide(arrays["log_variances"])))
    terms = ops.square(ops.expand_dims(x, 2) - means) / variances
    return -0.5 * ops.sum(terms + ops.log(2 * math.pi * variances), axis=-1)


def _codes(spec: HsmmSpec, arrays: dict[str, Any], x: Tensor) -> Tensor:
    """Log probabilities of codes, NaN for a number that is none, or of weights of codes."""
    table = ops.transpose(log_softmax(ops.transpose(wide(arrays["code_logits"]))))
    if spec.encoding == "one_hot":
        return ops.matmul(x, solid(table))
    codes, count = ops.cast(ops.round(x), "int32"), table.shape[0]
    scores = ops.take(table, ops.clip(codes[:, :, 0], 0, count - 1), axis=0)
    scores = ops.where(codes < count, scores, ops.full_like(scores, math.nan))
    return ops.where(codes < 0, ops.zeros_like(scores), scores)


# Each takes a signal (batch, time, channels), or what the network makes of it, and gives the log
# likelihood of each step in each state, (batch, time, K).
SCORES: dict[str, Callable[[HsmmSpec, dict[str, Any], Tensor], Tensor]] = {
    "gaussian": _normal,
    "categorical": _codes,
    "neural": lambda spec, arrays, x: ops.log_softmax(x, axis=-1),
    "none": lambda spec, arrays, x: x,
}
