"""Stick-breaking weights, mixtures of them, and the densities of sticks and rows."""

import math

import mlx.core as mx

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HdpSpec

from .block import Block
from .kernels.functions import exp, logsumexp, softmax, softplus
from .types import wide

# Terms of Stirling's series of log Gamma, the powers 1, 3, 5 of 1 / x.
STIRLING = (1 / 12, -1 / 360, 1 / 1260)
# Steps up before the series is used: its error is then below 1e-9.
STEPS = 7


def log_gamma_1p(a: mx.array) -> mx.array:
    """Logarithm of Gamma(1 + a), a >= 0, differentiable: MLX has no gamma function."""
    below = sum((mx.log(a + (1.0 + step)) for step in range(STEPS)), mx.zeros_like(a))
    x = a + (1.0 + STEPS)
    series = sum((term / x ** (2 * power + 1) for power, term in enumerate(STIRLING)), 0.0 * x)
    return (x - 0.5) * mx.log(x) - x + 0.5 * math.log(2.0 * math.pi) + series - below


def log_sigmoid(x: mx.array) -> mx.array:
    """-log(1 + exp(-x))."""
    return -softplus(-x)


def log_weights(stick_logits: mx.array) -> mx.array:
    """Logarithms of the L stick-breaking weights of L - 1 logits."""
    zero = mx.zeros((1,), dtype=stick_logits.dtype)
    left = mx.concatenate([zero, mx.cumsum(log_sigmoid(-stick_logits))])
    return mx.concatenate([log_sigmoid(stick_logits), zero]) + left


def stick_penalty(stick_logits: mx.array, gamma: float) -> mx.array:
    """Minus the log density of v ~ Beta(1, gamma) in the basis of its logits."""
    density = log_sigmoid(stick_logits) + gamma * log_sigmoid(-stick_logits)
    return -density.sum() - stick_logits.size * math.log(gamma)


def row_penalty(
    log_rows: mx.array, log_beta: mx.array, alpha: float, sticky: float | None
) -> mx.array:
    """Minus the log density of rows ~ Dir(a) in the basis of their logits.

    Args:
        log_rows: (rows, L), logarithms of rows that sum to 1.
        log_beta: (L,).
        alpha: concentration.
        sticky: kappa of L rows with a diagonal; None for L rows without one. Rows of another number
            have no clusters of their own.
    """
    log_a = mx.broadcast_to(log_beta + math.log(alpha), log_rows.shape)
    allowed = mx.ones(log_rows.shape, dtype=mx.bool_)
    if log_rows.shape[0] == log_beta.size:
        own = mx.eye(log_beta.size) > 0.5
        if sticky is None:
            allowed = mx.logical_not(own)
        elif sticky > 0.0:
            log_a = mx.where(own, math.log(sticky) + softplus(log_a - math.log(sticky)), log_a)
    a = exp(log_a)
    inner = a * mx.where(allowed, log_rows, 0.0) - log_gamma_1p(a) + log_a
    log_sum = logsumexp(mx.where(allowed, log_a, -math.inf)).squeeze(-1)
    outer = log_gamma_1p(exp(log_sum)) - log_sum
    return -mx.where(allowed, inner, 0.0).sum() - outer.sum()


class Hdp(Block[HdpSpec], kind="hdp"):
    """softmax over clusters of (log beta + evidence) / temperature, in float32 at least."""

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time, clusters)."""
        return self.posterior(self.evidence(x)).astype(x.dtype)

    def _log_weights(self) -> mx.array:
        """Logarithms of the global weights beta, (clusters,)."""
        return log_weights(wide(self["stick_logits"]))

    def evidence(self, x: mx.array) -> mx.array:
        """Log-likelihood of each step under each cluster, (batch, time, clusters)."""
        if self.spec.components == "codes":
            table = wide(self["code_logits"])
            return wide(x) @ (table - logsumexp(table)).T
        variance = self.spec.variance_floor + exp(wide(self["log_variances"]))
        gap = wide(x)[:, :, None] - wide(self["means"])
        scale = mx.log(2.0 * math.pi * variance).sum(axis=1)
        return -0.5 * ((mx.square(gap) / variance).sum(axis=-1) + scale)

    def posterior(self, evidence: mx.array) -> mx.array:
        """Probability of each cluster, of its evidence."""
        score = (evidence + self._log_weights()) * exp(-wide(self["log_temperature"]))
        return softmax(score)

    def loss(self, evidence: mx.array) -> mx.array:
        """Mean over signals and steps of minus the log-likelihood under the mixture, nats."""
        return -logsumexp(evidence + self._log_weights()).mean()

    def penalty(self, log_rows: mx.array, log_initial: mx.array) -> mx.array:
        """MAP penalty of the sticks, of L rows without a diagonal, and of initial probabilities."""
        spec, log_beta = self.spec, self._log_weights()
        transitions = row_penalty(log_rows, log_beta, spec.alpha, None)
        initial = row_penalty(log_initial[None], log_beta, spec.alpha, None)
        return stick_penalty(wide(self["stick_logits"]), spec.gamma) + transitions + initial


def entropy(posterior: mx.array) -> mx.array:
    """Mean entropy of (batch, time, clusters) probabilities over the steps, in nats."""
    safe = mx.where(posterior > 0.0, posterior, 1.0)
    return -(posterior * mx.log(safe)).sum(axis=-1).mean()
