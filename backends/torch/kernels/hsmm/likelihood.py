"""Log-likelihoods whose gradient is one backward pass of the model's own instead of a tape."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tcnzoo.inference.hsmm import batch, inference
from tcnzoo.inference.hsmm.tables import Tables
from tcnzoo.specs.hsmm import NEVER, impossible

from . import scan
from .laws import Laws
from .scan import Counts, Ends


def runs_compiled(scores: Tensor) -> bool:
    """Whether numba's loops do the work: on the CPU, where numba is installed."""
    return scores.device.type == "cpu" and inference.is_compiled()


def tables_of(laws: Laws, ends: Ends) -> Tables:
    """The same tables as numpy arrays."""
    initial = laws.first + laws.survival.logsumexp(1) if ends.stationary else laws.first
    return Tables(
        initial.numpy(),
        np.ascontiguousarray(laws.transitions.numpy()),
        np.ascontiguousarray(laws.durations.numpy()),
        np.ascontiguousarray(laws.survival.numpy()),
        ends.stationary,
        ends.censored,
    )


class Pass:
    """A forward pass over a batch, and what follows from it; nothing here is differentiated."""

    def __init__(self, scores: Tensor, laws: Laws, ends: Ends) -> None:
        """Run forward over scores (batch, K, time), float64.

        Raises:
            InputError: a sequence without a possible segmentation.
        """
        scores, laws = scores.detach(), Laws(*(one.detach() for one in laws))
        self.laws, self.ends, self.steps = laws, ends, scores.shape[2]
        if runs_compiled(scores):
            self.tables = tables_of(laws, ends)
            self.rows = [
                inference.Likelihood(self.tables, one[:, :length])
                for one, length in zip(scores.numpy(), ends.lengths.tolist(), strict=True)
            ]
            self.log_likelihood = scores.new_tensor([row.value for row in self.rows])
            return
        self.rows = []
        self.passed = scan.forward(scores, laws, ends)
        self.log_likelihood = self.passed.log_likelihood + self.passed.taken
        if not bool(torch.isfinite(self.log_likelihood).all()):
            raise impossible(self.steps, bool(self.log_likelihood.isnan().any()))

    def expected(self) -> Counts:
        """Posterior and expected numbers, by one backward pass."""
        if not self.rows:
            return scan.expected(self.laws, self.passed, self.ends)
        expected = [row.expected() for row in self.rows]
        posterior = np.zeros((len(expected), self.laws.durations.shape[0], self.steps))
        for row, one in zip(posterior, expected, strict=True):
            row[:, : one.posterior.shape[1]] = one.posterior
        counts = (np.stack([getattr(row, name) for row in expected]) for name in Counts._fields[1:])
        return Counts(*(torch.from_numpy(array) for array in (posterior, *counts)))


class LogLikelihood(torch.autograd.Function):
    """Log-likelihood of each sequence, differentiable once by scores and laws."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, ends: Ends, *laws: Tensor) -> Tensor:
        """Scores (batch, K, time) -> (batch,)."""
        passed = ctx.passed = Pass(scores, Laws(*laws), ends)
        return passed.log_likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients are expected numbers: of steps, starts, changes, segments."""
        counts: Counts = ctx.passed.expected()
        share = grad[:, None, None]
        return (
            counts.posterior * share,
            None,
            (counts.posterior[:, :, 0] * grad[:, None]).sum(0),
            (counts.transitions * share).sum(0),
            (counts.durations * share).sum(0),
            (counts.censored * share).sum(0),
        )


def log_likelihood(scores: Tensor, laws: Laws, ends: Ends) -> Tensor:
    """Log-likelihood of each sequence, (batch,), from scores (batch, K, time) in float64."""
    value: Tensor = LogLikelihood.apply(scores, ends, *laws)  # type: ignore[no-untyped-call]
    return value


def _wants_gradient(scores: Tensor, laws: Laws) -> bool:
    """Whether somebody may differentiate what follows from these."""
    wanted = scores.requires_grad or any(one.requires_grad for one in laws)
    return torch.is_grad_enabled() and wanted


def posterior(scores: Tensor, laws: Laws, ends: Ends) -> Tensor:
    """Probability of each state at each step, (batch, K, time).

    Where a gradient is wanted it is the gradient of the log-likelihood by the scores, taken so that
    it can be differentiated again: that needs a tape, and takes many times as long.
    """
    if not _wants_gradient(scores, laws):
        return Pass(scores, laws, ends).expected().posterior
    scores = scores if scores.requires_grad else scores.detach().requires_grad_()
    value = scan.plain(scores, laws, ends)
    _check_possible(value, scores.shape[2])
    return torch.autograd.grad(value.sum(), scores, create_graph=True)[0]


def _check_possible(value: Tensor, steps: int) -> None:
    """Raise InputError unless every sequence has a possible segmentation."""
    if not bool((value > 0.5 * NEVER).all()):
        raise impossible(steps, bool(value.isnan().any()))


def filtered(scores: Tensor, laws: Laws, ends: Ends) -> tuple[Tensor, Tensor]:
    """States by the signal so far, (batch, K, time), and its log-likelihood, (batch, time)."""
    if _wants_gradient(scores, laws):
        alive = scan.plain_passes(scores, laws, ends)[0]
        _check_possible(scan.at(alive, ends.lengths - 1).logsumexp(1), scores.shape[2])
        return alive.softmax(1), alive.logsumexp(1)
    scores, laws = scores.detach(), Laws(*(one.detach() for one in laws))
    if runs_compiled(scores):
        arrays = batch.run(tables_of(laws, ends), "filter", scores.numpy(), ends.lengths.numpy())
        states, so_far = (torch.from_numpy(arrays[name]) for name in ("filtered", "log_likelihood"))
        return states, so_far
    alive = scan.alive(laws, Pass(scores, laws, ends._replace(censored=True)).passed)
    # Less each step's best score.
    return alive.softmax(1), alive.logsumexp(1) + scores.amax(1).cumsum(1)
