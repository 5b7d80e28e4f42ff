"""Stick-breaking weights, mixtures of them, and the densities of sticks and rows."""

import math

import numpy as np

from tcnzoo.inference.dirichlet import concentrations, log_gamma, log_sigmoid, log_weights
from tcnzoo.inference.hsmm.laws import log_sum_exp
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HdpSpec

from .activation import log_softmax
from .block import Array, Block


def stick_penalty(stick_logits: Array, gamma: float) -> float:
    """Minus the log density of v ~ Beta(1, gamma) in the basis of its logits."""
    density = log_sigmoid(stick_logits) + gamma * log_sigmoid(-stick_logits)
    return -float(density.sum() + len(stick_logits) * math.log(gamma))


def row_penalty(log_rows: Array, log_beta: Array, alpha: float, sticky: float | None) -> float:
    """Minus the log density of rows ~ Dir(a) in the basis of their logits.

    Args:
        log_rows: (rows, L), logarithms of rows that sum to 1.
        log_beta: (L,).
        alpha: concentration.
        sticky: kappa of L rows with a diagonal; None for L rows without one. Rows of another number
            have no clusters of their own.
    """
    total = 0.0
    a = concentrations(log_beta, len(log_rows), alpha, sticky)
    for row, weight in zip(log_rows, a, strict=True):
        positive = weight > 0.0
        inner = weight[positive] * row[positive] - log_gamma(weight[positive])
        total += float(log_gamma(weight.sum()) + inner.sum())
    return -total


class Hdp(Block[HdpSpec], kind="hdp"):
    """softmax over clusters of (log beta + evidence) / temperature."""

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, clusters, time)."""
        return self.posterior(self.evidence(x))

    def log_weights(self) -> Array:
        """Logarithms of the global weights beta, (clusters,)."""
        return log_weights(self.arrays["stick_logits"])

    def evidence(self, x: Array) -> Array:
        """Log-likelihood of each step under each cluster, (batch, clusters, time)."""
        if self.spec.components == "codes":
            table = log_softmax(self.arrays["code_logits"])
            return np.asarray(np.einsum("kc,nct->nkt", table, x), dtype=x.dtype)
        variance = self.spec.variance_floor + np.exp(self.arrays["log_variances"])
        gap = x[:, None] - self.arrays["means"][:, :, None]
        scale = np.log(2.0 * math.pi * variance).sum(axis=1)[:, None]
        return np.asarray(-0.5 * ((gap**2 / variance[:, :, None]).sum(axis=2) + scale), x.dtype)

    def posterior(self, evidence: Array) -> Array:
        """Probability of each cluster, of its evidence."""
        score = (evidence + self.log_weights()[:, None]) / np.exp(self.arrays["log_temperature"])
        return np.exp(log_softmax(score))

    def loss(self, evidence: Array) -> float:
        """Mean over signals and steps of minus the log-likelihood under the mixture, nats."""
        score = evidence + self.log_weights()[:, None]
        return float(-log_sum_exp(score, axis=1).mean())

    def penalty(self, log_rows: Array, log_initial: Array) -> float:
        """MAP penalty of the sticks, of L rows without a diagonal, and of initial probabilities."""
        spec, log_beta = self.spec, self.log_weights()
        return (
            stick_penalty(self.arrays["stick_logits"], spec.gamma)
            + row_penalty(log_rows, log_beta, spec.alpha, None)
            + row_penalty(log_initial[None], log_beta, spec.alpha, None)
        )


def entropy(posterior: Array) -> float:
    """Mean entropy of (batch, clusters, time) probabilities over the steps, in nats."""
    safe = np.where(posterior > 0.0, posterior, 1.0)
    return float(-(posterior * np.log(safe)).sum(axis=1).mean())
