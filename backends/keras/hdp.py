"""Stick-breaking weights, mixtures of them, and the densities of sticks and rows."""

import math

from keras import ops

from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HdpSpec

from .block import Block, Tensor
from .types import wide

# Terms of Stirling's series of log Gamma, the powers 1, 3, 5 of 1 / x.
STIRLING = (1 / 12, -1 / 360, 1 / 1260)
# Steps up before the series is used: its error is then below 1e-9.
STEPS = 7


def log_gamma_1p(a: Tensor) -> Tensor:
    """Logarithm of Gamma(1 + a), a >= 0, differentiable: Keras has no gamma function."""
    below = sum((ops.log(a + (1.0 + step)) for step in range(STEPS)), ops.zeros_like(a))
    x = a + (1.0 + STEPS)
    series = sum((term / x ** (2 * power + 1) for power, term in enumerate(STIRLING)), 0.0 * x)
    return (x - 0.5) * ops.log(x) - x + 0.5 * math.log(2.0 * math.pi) + series - below


def log_weights(stick_logits: Tensor) -> Tensor:
    """Logarithms of the L stick-breaking weights of L - 1 logits."""
    left = ops.pad(ops.cumsum(ops.log_sigmoid(-stick_logits)), ((1, 0),))
    return ops.pad(ops.log_sigmoid(stick_logits), ((0, 1),)) + left


def stick_penalty(stick_logits: Tensor, gamma: float) -> Tensor:
    """Minus the log density of v ~ Beta(1, gamma) in the basis of its logits."""
    density = ops.log_sigmoid(stick_logits) + gamma * ops.log_sigmoid(-stick_logits)
    return -ops.sum(density) - stick_logits.shape[0] * math.log(gamma)


def row_penalty(log_rows: Tensor, log_beta: Tensor, alpha: float, sticky: float | None) -> Tensor:
    """Minus the log density of rows ~ Dir(a) in the basis of their logits.

    Args:
        log_rows: (rows, L), logarithms of rows that sum to 1.
        log_beta: (L,).
        alpha: concentration.
        sticky: kappa of L rows with a diagonal; None for L rows without one. Rows of another number
            have no clusters of their own.
    """
    log_a = ops.broadcast_to(log_beta + math.log(alpha), log_rows.shape)
    counted = ops.ones(log_rows.shape, dtype="bool")
    if log_rows.shape[0] == log_beta.shape[0]:
        own = ops.cast(ops.eye(log_beta.shape[0]), "bool")
        if sticky is None:
            counted = ops.logical_not(own)
        elif sticky > 0.0:
            extra = ops.full_like(log_a, math.log(sticky))
            log_a = ops.where(own, ops.logaddexp(log_a, extra), log_a)
    a, zeros = ops.exp(log_a), ops.zeros_like(log_a)
    inner = a * ops.where(counted, log_rows, zeros) - log_gamma_1p(a) + log_a
    # -1e30 and not -inf, whose gradient through logsumexp is NaN under TensorFlow.
    log_sum = ops.logsumexp(ops.where(counted, log_a, zeros - 1e30), axis=1)
    outer = log_gamma_1p(ops.exp(log_sum)) - log_sum
    return -ops.sum(ops.where(counted, inner, zeros)) - ops.sum(outer)


class Hdp(Block[HdpSpec], kind="hdp"):
    """softmax over clusters of (log beta + evidence) / temperature, in float32 at least."""

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time, clusters)."""
        return ops.cast(self.posterior(self.evidence(x)), x.dtype)

    def log_weights(self) -> Tensor:
        """Logarithms of the global weights beta, (clusters,)."""
        return log_weights(wide(self.arrays["stick_logits"]))

    def evidence(self, x: Tensor) -> Tensor:
        """Log-likelihood of each step under each cluster, (batch, time, clusters)."""
        if self.spec.components == "codes":
            return ops.matmul(wide(x), ops.log_softmax(wide(self.arrays["code_logits"]), axis=0))
        means = ops.transpose(wide(self.arrays["means"]))
        logs = ops.transpose(wide(self.arrays["log_variances"]))
        variance = self.spec.variance_floor + ops.exp(logs)
        gap = ops.expand_dims(wide(x), 2) - means
        scale = ops.sum(ops.log(2.0 * math.pi * variance), axis=1)
        return -0.5 * (ops.sum(ops.square(gap) / variance, axis=-1) + scale)

    def posterior(self, evidence: Tensor) -> Tensor:
        """Probability of each cluster, of its evidence."""
        score = (evidence + self.log_weights()) * ops.exp(-wide(self.arrays["log_temperature"]))
        return ops.softmax(score, axis=-1)

    def loss(self, evidence: Tensor) -> Tensor:
        """Mean over signals and steps of minus the log-likelihood under the mixture, nats."""
        return -ops.mean(ops.logsumexp(evidence + self.log_weights(), axis=-1))

    def penalty(self, log_rows: Tensor, log_initial: Tensor) -> Tensor:
        """MAP penalty of the sticks, of L rows without a diagonal, and of initial probabilities."""
        spec, log_beta = self.spec, self.log_weights()
        rows = row_penalty(log_rows, log_beta, spec.alpha, None)
        initial = row_penalty(ops.expand_dims(log_initial, 0), log_beta, spec.alpha, None)
        sticks = wide(self.arrays["stick_logits"])
        return stick_penalty(sticks, spec.gamma) + rows + initial


def entropy(posterior: Tensor) -> Tensor:
    """Mean entropy of (batch, time, clusters) probabilities over the steps, in nats."""
    safe = ops.where(posterior > 0.0, posterior, ops.ones_like(posterior))
    return -ops.mean(ops.sum(posterior * ops.log(safe), axis=-1))
