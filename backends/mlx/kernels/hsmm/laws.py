"""The tables of a hidden semi-Markov model and what its states say of a signal, in logarithms."""

from collections.abc import Callable
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from tcnzoo.specs import HsmmSpec
from tcnzoo.specs.hsmm import NEVER


class Laws(NamedTuple):
    """Log probabilities of a model with K states and durations 1..D.

    Attributes:
        initial: (K,), the state of the first segment.
        first_durations: (K, D), the steps that it has left when the signal begins.
        transitions: (K, K), from row to column; the diagonal is -inf.
        durations: (K, D), of the other segments.
    """

    initial: mx.array
    first_durations: mx.array
    transitions: mx.array
    durations: mx.array

    def solid(self) -> "Laws":
        """The same as the recursions take them; see `solid`."""
        return Laws(*(solid(table) for table in self))


def log_softmax(scores: mx.array) -> mx.array:
    """Normalise over the last axis; -inf for what has probability 0, also where all of it has."""
    finite = solid(scores)
    logs = finite - mx.logsumexp(finite, axis=-1, keepdims=True)
    return mx.where(scores > NEVER, logs, -mx.inf)


def solid(logs: mx.array) -> mx.array:
    """Logs with NEVER for -inf: sums of them, and gradients of these, are not NaN."""
    return mx.maximum(logs, NEVER)


def gone(logs: mx.array) -> mx.array:
    """Whether sums of what `solid` made are those of a probability of 0."""
    return logs < 0.5 * NEVER


def laws_of(spec: HsmmSpec, arrays: Any) -> Laws:
    """The tables, in float32, from a block's parameters by name."""
    own = {name: arrays[name].astype(mx.float32) for name in spec.own_params()}
    apart = mx.eye(spec.states) == 0
    duration = log_softmax(_DURATIONS[spec.duration](own, spec.max_duration))
    first = duration
    if spec.start == "stationary":
        first = log_softmax(survival(duration))
    return Laws(
        log_softmax(own["initial_logits"]),
        first,
        log_softmax(mx.where(apart, own["transition_logits"], -mx.inf)),
        duration,
    )


def survival(duration: mx.array) -> mx.array:
    """S(k, d) = log of the probability of d steps or more, (K, D) as `duration`."""
    return mx.logcumsumexp(solid(duration), axis=1, reverse=True)


def _poisson(own: dict[str, mx.array], longest: int) -> mx.array:
    n = np.arange(longest)
    factorials = np.cumsum(np.log(np.maximum(n, 1)))
    rate = own["duration_log_rate"][:, None]
    return mx.array(n.astype(np.float32)) * rate - mx.array(factorials.astype(np.float32))


def _negative_binomial(own: dict[str, mx.array], longest: int) -> mx.array:
    size = mx.exp(own["duration_log_size"])[:, None]
    i = mx.arange(longest - 1).astype(mx.float32)
    ways = mx.cumsum(mx.log((size + i) / (i + 1)), axis=1)
    ways = mx.concatenate([mx.zeros(size.shape), ways], axis=1)
    logit = own["duration_logit"][:, None]
    return ways - mx.arange(longest) * mx.logaddexp(-logit, 0.0)


def _gaussian(own: dict[str, mx.array], longest: int) -> mx.array:
    steps = mx.arange(1, longest + 1).astype(mx.float32)
    distance = steps - mx.exp(own["duration_log_mean"])[:, None]
    return -mx.square(distance) / (2 * mx.exp(own["duration_log_variance"])[:, None])


def _categorical(own: dict[str, mx.array], longest: int) -> mx.array:
    return own["duration_logits"]


_DURATIONS = {
    "poisson": _poisson,
    "negative_binomial": _negative_binomial,
    "gaussian": _gaussian,
    "categorical": _categorical,
}


def _normal(spec: HsmmSpec, arrays: Any, x: mx.array) -> mx.array:
    """Log densities, of independent channels."""
    means = arrays["means"].astype(mx.float32)
    variances = spec.variance_floor + mx.exp(arrays["log_variances"].astype(mx.float32))
    terms = mx.square(x[:, :, None] - means) / variances + mx.log(2 * np.pi * variances)
    return -0.5 * mx.sum(terms, axis=-1)


def _codes(spec: HsmmSpec, arrays: Any, x: mx.array) -> mx.array:
    """Log probabilities of codes, NaN for a number that is no code, or of weights of codes."""
    table = log_softmax(arrays["code_logits"].astype(mx.float32)).T
    if spec.encoding == "one_hot":
        return x @ solid(table)
    codes = mx.round(x).astype(mx.int32)
    scores = table[mx.clip(codes[:, :, 0], 0, len(table) - 1)]
    return mx.where(codes < 0, 0.0, mx.where(codes < len(table), scores, mx.nan))


# Each takes a signal (batch, time, channels), or what the network makes of it, in float32, and
# gives the log likelihood of each step in each state, (batch, time, K).
SCORES: dict[str, Callable[[HsmmSpec, Any, mx.array], mx.array]] = {
    "gaussian": _normal,
    "categorical": _codes,
    "neural": lambda spec, arrays, x: log_softmax(x),
    "none": lambda spec, arrays, x: x,
}
