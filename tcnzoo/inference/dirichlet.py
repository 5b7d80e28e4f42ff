"""Stick-breaking weights, and rows of probabilities around them with their posteriors, in numpy.

The prior of row j is Dir(a_j), a_j = alpha beta over the clusters that the row has, see
`concentrations`. Given how often each change is expected to have happened, n_jk, the best factor
q(pi_j) is Dir(omega_j) with omega = a + n, and what the forward-backward recursion runs on is
exp E[log pi_jk] = exp(digamma(omega_jk) - digamma(sum over k of omega_jk)), rows that sum to less
than 1. The log-likelihood of these rows, plus `rows_bound`, is a lower bound of the evidence that
no such update lowers.

Source: Johnson & Willsky 2013, arXiv:1203.1365; Beal 2003, Variational algorithms, chapter 3.
"""

import math
from typing import Any

import numpy as np

from tcnzoo.arrays import Array

_LOG_GAMMA: Any = np.frompyfunc(math.lgamma, 1, 1)
# Bernoulli's numbers over twice the order, from the seventh down: the series of digamma.
_SERIES = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)


def log_gamma(x: Array) -> Array:
    """Logarithm of the gamma function, of values above 0."""
    return np.asarray(_LOG_GAMMA(np.asarray(x, dtype=np.float64)), dtype=np.float64)


def digamma(x: Array) -> Array:
    """Derivative of `log_gamma`, of values above 0: ten steps up, then the asymptotic series."""
    x = np.asarray(x, dtype=np.float64)
    below = sum((1.0 / (x + offset) for offset in range(10)), np.zeros_like(x))
    large = x + 10.0
    inverse, series = 1.0 / large**2, np.zeros_like(x)
    for factor in _SERIES:
        series = inverse * (factor + series)
    value: Array = np.log(large) - 0.5 / large - series - below
    return value


def log_sigmoid(x: Array) -> Array:
    """-log(1 + exp(-x))."""
    logs: Array = -np.logaddexp(0.0, -x)
    return logs


def log_weights(stick_logits: Array) -> Array:
    """Logarithms of the L stick-breaking weights of L - 1 logits."""
    zero = np.zeros(1, dtype=stick_logits.dtype)
    left = np.concatenate([zero, np.cumsum(log_sigmoid(-stick_logits))])
    logs: Array = np.concatenate([log_sigmoid(stick_logits), zero]) + left
    return logs


def concentrations(log_beta: Array, rows: int, alpha: float, sticky: float | None) -> Array:
    """The prior's parameters a, (rows, L); 0 for a cluster that a row does not have.

    Args:
        log_beta: logarithms of the global weights, (L,).
        rows: how many; L rows have a cluster of their own each, others none.
        alpha: concentration of the rows around the weights.
        sticky: added for a row's own cluster; None where a row has no diagonal.
    """
    prior = np.tile(alpha * np.exp(log_beta.astype(np.float64)), (rows, 1))
    if rows == len(log_beta):
        prior[np.diag_indices(rows)] = 0.0 if sticky is None else prior.diagonal() + sticky
    return prior


def posterior_rows(prior: Array, counts: Array) -> Array:
    """omega = a + n of each row, in closed form.

    Args:
        prior: a, from `concentrations`, (rows, L).
        counts: expected numbers of changes, (rows, L); those a row cannot make do not count.
    """
    return np.where(prior > 0.0, prior + counts, 0.0)


def expected_log_rows(omega: Array) -> Array:
    """E[log pi_jk] under Dir(omega_j), (rows, L); -inf where omega is 0."""
    possible = omega > 0.0
    safe = np.where(possible, omega, 1.0)
    expected = digamma(safe) - digamma(omega.sum(axis=1))[:, None]
    return np.where(possible, expected, -np.inf)


def rows_bound(omega: Array, prior: Array) -> float:
    """Sum over rows of E[log Dir(pi_j | a_j)] - E[log Dir(pi_j | omega_j)], never above 0."""
    possible = prior > 0.0
    safe_omega, safe_prior = np.where(possible, omega, 1.0), np.where(possible, prior, 1.0)
    expected = np.where(possible, expected_log_rows(safe_omega * possible), 0.0)
    inner = (prior - omega) * expected + log_gamma(safe_omega) - log_gamma(safe_prior)
    outer = log_gamma(prior.sum(axis=1)) - log_gamma(omega.sum(axis=1))
    return float(outer.sum() + inner.sum())
