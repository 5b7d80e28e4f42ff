"""Stick-breaking weights, mixtures of them, and the densities of sticks and rows."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HdpSpec

from .block import Block
from .types import wide


def log_weights(stick_logits: Tensor) -> Tensor:
    """Logarithms of the L stick-breaking weights of L - 1 logits."""
    left = F.pad(F.logsigmoid(-stick_logits).cumsum(0), (1, 0))
    return F.pad(F.logsigmoid(stick_logits), (0, 1)) + left


def stick_penalty(stick_logits: Tensor, gamma: float) -> Tensor:
    """Minus the log density of v ~ Beta(1, gamma) in the basis of its logits."""
    density = F.logsigmoid(stick_logits) + gamma * F.logsigmoid(-stick_logits)
    return -density.sum() - len(stick_logits) * math.log(gamma)


def row_penalty(log_rows: Tensor, log_beta: Tensor, alpha: float, sticky: float | None) -> Tensor:
    """Minus the log density of rows ~ Dir(a) in the basis of their logits.

    Args:
        log_rows: (rows, L), logarithms of rows that sum to 1.
        log_beta: (L,).
        alpha: concentration.
        sticky: kappa of L rows with a diagonal; None for L rows without one. Rows of another number
            have no clusters of their own.
    """
    log_a = (log_beta + math.log(alpha)).expand_as(log_rows)
    counted = torch.ones_like(log_rows, dtype=torch.bool)
    if len(log_rows) == len(log_beta):
        own = torch.eye(len(log_beta), dtype=torch.bool, device=log_beta.device)
        if sticky is None:
            counted = ~own
        elif sticky > 0.0:
            extra = torch.full_like(log_a, math.log(sticky))
            log_a = torch.where(own, torch.logaddexp(log_a, extra), log_a)
    a = log_a.exp()
    inner = a * log_rows.where(counted, log_rows.new_zeros(())) - torch.lgamma(1.0 + a) + log_a
    log_sum = log_a.masked_fill(~counted, -math.inf).logsumexp(dim=1)
    outer = torch.lgamma(1.0 + log_sum.exp()) - log_sum
    return -(inner * counted).sum() - outer.sum()


class Hdp(Block[HdpSpec], kind="hdp"):
    """softmax over clusters of (log beta + evidence) / temperature, in float32 at least."""

    stick_logits: Tensor
    log_temperature: Tensor
    means: Tensor
    log_variances: Tensor
    code_logits: Tensor

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, clusters, time)."""
        return self.posterior(self.evidence(x)).to(x.dtype)

    def log_weights(self) -> Tensor:
        """Logarithms of the global weights beta, (clusters,)."""
        return log_weights(wide(self.stick_logits))

    def evidence(self, x: Tensor) -> Tensor:
        """Log-likelihood of each step under each cluster, (batch, clusters, time)."""
        if self.spec.components == "codes":
            return torch.einsum("kc,nct->nkt", wide(self.code_logits).log_softmax(dim=1), wide(x))
        variance = self.spec.variance_floor + wide(self.log_variances).exp()
        gap = wide(x).unsqueeze(1) - wide(self.means).unsqueeze(2)
        scale = (2.0 * math.pi * variance).log().sum(dim=1).unsqueeze(1)
        return -0.5 * ((gap.square() / variance.unsqueeze(2)).sum(dim=2) + scale)

    def posterior(self, evidence: Tensor) -> Tensor:
        """Probability of each cluster, of its evidence."""
        score = evidence + self.log_weights().unsqueeze(1)
        return F.softmax(score * torch.exp(-wide(self.log_temperature)), dim=1)

    def loss(self, evidence: Tensor) -> Tensor:
        """Mean over signals and steps of minus the log-likelihood under the mixture, nats."""
        return -(evidence + self.log_weights().unsqueeze(1)).logsumexp(dim=1).mean()

    def penalty(self, log_rows: Tensor, log_initial: Tensor) -> Tensor:
        """MAP penalty of the sticks, of L rows without a diagonal, and of initial probabilities."""
        spec, log_beta = self.spec, self.log_weights()
        rows = row_penalty(log_rows, log_beta, spec.alpha, None)
        initial = row_penalty(log_initial.unsqueeze(0), log_beta, spec.alpha, None)
        return stick_penalty(wide(self.stick_logits), spec.gamma) + rows + initial


def entropy(posterior: Tensor) -> Tensor:
    """Mean entropy of (batch, clusters, time) probabilities over the steps, in nats."""
    # torch.special.entr has the gradient inf at 0, which a softmax turns into NaN.
    safe = torch.where(posterior > 0.0, posterior, torch.ones_like(posterior))
    return -(posterior * safe.log()).sum(dim=1).mean()
