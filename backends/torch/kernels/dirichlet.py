"""Rows of probabilities around shared weights; see `inference.dirichlet`; smooth in beta."""

import math

import torch
from torch import Tensor


def concentrations(log_beta: Tensor, rows: int, alpha: float, sticky: float | None) -> Tensor:
    """The prior's parameters a, (rows, L); 0 for a cluster that a row does not have.

    Args:
        log_beta: logarithms of the global weights, (L,).
        rows: how many; L rows have a cluster of their own each, others none.
        alpha: concentration of the rows around the weights.
        sticky: added for a row's own cluster; None where a row has no diagonal.
    """
    shared = (log_beta + math.log(alpha)).exp().expand(rows, -1)
    if rows != len(log_beta):
        return shared
    own = torch.eye(rows, dtype=shared.dtype, device=shared.device)
    return shared * (1.0 - own) if sticky is None else shared + sticky * own


def posterior_rows(prior: Tensor, counts: Tensor) -> Tensor:
    """omega = a + n of each row, in closed form; changes a row cannot make do not count."""
    return torch.where(prior > 0.0, prior + counts, torch.zeros_like(prior))


def expected_log_rows(omega: Tensor) -> Tensor:
    """E[log pi_jk] under Dir(omega_j), (rows, L); -inf where omega is 0."""
    positive = omega > 0.0
    safe = torch.where(positive, omega, torch.ones_like(omega))
    expected = torch.digamma(safe) - torch.digamma(omega.sum(dim=1, keepdim=True))
    return expected.masked_fill(~positive, -math.inf)


def rows_bound(omega: Tensor, prior: Tensor) -> Tensor:
    """Sum over rows of E[log Dir(pi_j | a_j)] - E[log Dir(pi_j | omega_j)], never above 0."""
    positive, ones = prior > 0.0, torch.ones_like(prior)
    safe_omega, safe_prior = torch.where(positive, omega, ones), torch.where(positive, prior, ones)
    log_rows = expected_log_rows(omega).masked_fill(~positive, 0.0)
    inner = (prior - omega) * log_rows + torch.lgamma(safe_omega) - torch.lgamma(safe_prior)
    outer = torch.lgamma(prior.sum(dim=1)) - torch.lgamma(omega.sum(dim=1))
    return outer.sum() + (inner * positive).sum()
