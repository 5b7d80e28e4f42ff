"""The normalised tables of a hidden semi-Markov model, in logarithms, with gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.specs.hsmm import NEVER

Read = Callable[[str], Tensor]


class Laws(NamedTuple):
    """What the recursions run on, in logarithms; K states, durations 1 .. D in columns 0 .. D - 1.

    Attributes:
        first: weight of a state at the start for each age that it may have there, (K,).
        transitions: from the row's state to the column's, (K, K), -inf on the diagonal.
        durations: law of durations, (K, D).
        survival: sums of its tail, (K, D).
    """

    first: Tensor
    transitions: Tensor
    durations: Tensor
    survival: Tensor


def laws_of(spec: Any, read: Read) -> Laws:
    """Normalise parameters.

    Args:
        spec: an HsmmSpec.
        read: the parameter of a name, in the float type that the laws shall have.
    """
    logits = read("transition_logits")
    itself = torch.eye(spec.states, dtype=torch.bool, device=logits.device)
    transitions = normalised(logits.masked_fill(itself, -torch.inf))
    durations = normalised(_scores(spec, read))
    survival = solid(durations).flip(1).logcumsumexp(1).flip(1)
    survival = torch.cat([torch.zeros_like(survival[:, :1]), survival[:, 1:]], dim=1)
    first = normalised(read("initial_logits"))
    if spec.start == "stationary":
        first = first - survival.logsumexp(1)
    return Laws(first, transitions, durations, survival.masked_fill(gone(survival), -torch.inf))


def solid(logs: Tensor) -> Tensor:
    """Logarithms of probabilities with NEVER for -inf, which has no gradient of its own."""
    return logs.clamp(min=NEVER)


def gone(logs: Tensor) -> Tensor:
    """Where sums of what `solid` made are those of a probability of 0."""
    return logs < 0.5 * NEVER


def normalised(logits: Tensor) -> Tensor:
    """Log probabilities over the last axis; all -inf where all logits are."""
    return F.log_softmax(solid(logits), dim=-1).masked_fill(logits <= NEVER, -torch.inf)


def _scores(spec: Any, read: Read) -> Tensor:
    """Scores of the durations, (K, D), not normalised."""
    if spec.duration == "categorical":
        return read("duration_logits")
    if spec.duration == "gaussian":
        mean = read("duration_log_mean").exp()[:, None]
        steps = torch.arange(1, spec.max_duration + 1, dtype=mean.dtype, device=mean.device)
        return -0.5 * (steps - mean) ** 2 * torch.exp(-read("duration_log_variance"))[:, None]
    if spec.duration == "poisson":
        rate = read("duration_log_rate")[:, None]
        n = torch.arange(spec.max_duration, dtype=rate.dtype, device=rate.device)
        return n * rate - torch.lgamma(n + 1.0)
    size = read("duration_log_size").exp()[:, None]
    n = torch.arange(spec.max_duration, dtype=size.dtype, device=size.device)
    terms = torch.log((size + n[:-1]) / n[1:])
    rising = F.pad(terms.cumsum(1), (1, 0))
    return rising + n * F.logsigmoid(read("duration_logit"))[:, None]
