"""Inference for one sequence of scores, by compiled loops where numba is installed."""

import dataclasses
import functools
import importlib
import importlib.util
from types import ModuleType
from typing import Any, Literal

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import BackendMissing
from tcnzoo.inference.hsmm import recursion
from tcnzoo.inference.hsmm.laws import log_softmax, log_sum_exp
from tcnzoo.inference.hsmm.recursion import Expected, Forward
from tcnzoo.inference.hsmm.tables import Tables
from tcnzoo.specs.hsmm import impossible

# `reference` is written to be read, `compiled` are loops over logarithms, `scaled` such over
# probabilities, which take logarithms where these do not reach; `auto` is the fastest here.
Engine = Literal["auto", "reference", "compiled", "scaled"]


@functools.cache
def engine(name: Engine = "auto") -> ModuleType:
    """The module that computes with logarithms: `recursion` or `compiled`.

    Args:
        name: compiled loops where numba is installed, unless it is `reference`.
    Raises:
        BackendMissing: compiled loops are asked for, and numba is not installed.
    """
    here = importlib.util.find_spec("numba") is not None
    if name == "reference" or (name == "auto" and not here):
        return recursion
    if not here:
        raise BackendMissing("compiled loops need numba: pip install 'tcnzoo[hsmm]'")
    return _module("compiled")


def is_compiled() -> bool:
    """Whether numba's loops do the work."""
    return engine() is not recursion


def forward(tables: Tables, scores: Array, name: Engine = "auto") -> Forward:
    """Weigh every start and end of a segment of one sequence by what came before.

    Args:
        tables: of the model.
        scores: emission log-likelihoods, (K, T); -inf where a state cannot have made a step.
        name: of the engine.
    Raises:
        InputError: no segmentation of the sequence is possible.
        WeightError: tables or scores that are NaN.
    """
    scored, least = finite(tables, np.ascontiguousarray(scores, dtype=np.float64))
    passed: Forward = engine(name).forward(tables, scored)
    if not passed.log_likelihood > least:
        raise impossible(scores.shape[1], np.isnan(passed.log_likelihood))
    return passed


def finite(tables: Tables, scores: Array) -> tuple[Array, float]:
    """Scores without -inf, whose differences the recursions take.

    In its place comes a score so low that any segmentation without such a step outweighs all with
    one by e^100 at least.

    Returns:
        (scores, the log-likelihood, less that of the best state of each step, up to which there is
        no segmentation without such a step; infinity where all states are impossible at a step).
    """
    never = scores == -np.inf
    if not never.any():
        return scores, -np.inf
    best = scores.max(axis=0)
    best = np.where(best > -np.inf, best, 0.0)
    worst = np.where(never, best, scores).min(axis=0)
    logs = (tables.first, tables.transitions, tables.durations, tables.survival)
    span = sum(-float(np.where(array > -np.inf, array, 0.0).min()) for array in logs)
    least = -float((best - worst).sum()) - span * (scores.shape[1] + 1) - 1.0
    scores = np.where(never, best + least - 100.0, scores)
    return scores, np.inf if never.all(axis=0).any() else least


class Likelihood:
    """Log-likelihood of one sequence, and the numbers that are its gradient.

    Attributes:
        value: natural logarithm.
    """

    def __init__(self, tables: Tables, scores: Array, name: Engine = "auto") -> None:
        """Run forward over scores (K, T).

        Raises:
            InputError: no segmentation of the sequence is possible.
            WeightError: tables or scores that are NaN.
        """
        self._given = tables, np.asarray(scores, dtype=np.float64), name
        self._counts: Expected | None = None
        self._scaled: tuple[Any, float] | None = None
        if _scales(*self._given):
            passed, weight, sure = _scaled().forward(*self._given[:2])
            if sure:
                self._scaled = passed, weight
                self.value: float = passed.log_of(weight)
                return
            self._counts = _scaled().expected(passed, weight)
        if self._counts is not None:
            self.value = self._counts.log_likelihood
            return
        self._passed = forward(*self._given)
        self.value = self._passed.log_likelihood + self._passed.taken

    def expected(self) -> Expected:
        """Posterior of the sequence, and the expected numbers of what happened in it."""
        if self._counts is None and self._scaled is not None:
            self._counts = _scaled().expected(*self._scaled)
            if self._counts is None:
                self._passed = forward(*self._given)
        if self._counts is None:
            tables, _, name = self._given
            self._counts = engine(name).expected(tables, self._passed)
        self._scaled = None
        return self._counts


def log_likelihood(tables: Tables, scores: Array, name: Engine = "auto") -> float:
    """Log-likelihood of one sequence."""
    return Likelihood(tables, scores, name).value


def expected(
    tables: Tables, scores: Array, name: Engine = "auto", out: Array | None = None
) -> Expected:
    """Posterior of one sequence, and the expected numbers of what happened in it.

    Args:
        tables, scores, name: as in `forward`.
        out: (K, T), where the posterior shall be; an array of its own by default.
    """
    scores = np.asarray(scores, dtype=np.float64)
    expectations: Expected | None = None
    if _scales(tables, scores, name):
        passed, weight, _ = _scaled().forward(tables, scores)
        expectations = _scaled().expected(passed, weight, out)
    if expectations is None:
        expectations = engine(name).expected(tables, forward(tables, scores, name))
        if out is not None:
            out[:] = expectations.posterior
    return expectations


def filtered(tables: Tables, scores: Array, name: Engine = "auto") -> tuple[Array, Array]:
    """States given the signal so far, (K, T), and its log-likelihood so far, (T,)."""
    if not tables.censored:
        tables = dataclasses.replace(tables, censored=True)  # the signal goes on
    if _scales(tables, scores, name):
        states: tuple[Array, Array] | None = _scaled().filtered(tables, np.asarray(scores, float))
        if states is not None:
            return states
    alive = engine(name).alive(tables, forward(tables, scores, name))
    so_far = log_sum_exp(alive, axis=0) + np.cumsum(scores.max(axis=0))
    return np.exp(log_softmax(alive, axis=0)), so_far


def viterbi(tables: Tables, scores: Array, name: Engine = "auto") -> tuple[Array, float]:
    """The likeliest segmentation, as a state for each step, (T,), and its log-probability.

    How long the first segment of a stationary start had lasted, and how long a censored last one
    goes on, is summed over. Ties go to the shortest duration, then to the lowest state.
    """
    scored, least = finite(tables, np.asarray(scores, dtype=np.float64))
    if engine(name) is recursion or np.isnan(scored).any():
        total, taken = recursion.centred(scored)
        path, score = recursion.traced(tables, total, *recursion.best(tables, total))
    else:
        path, score, taken = _module("paths").viterbi(tables, scored)
    if not score > least:
        raise impossible(scores.shape[1], np.isnan(score))
    return path, score + taken


def _scales(tables: Tables, scores: Array, name: Engine) -> bool:
    """Whether probabilities are tried before logarithms."""
    if name == "scaled":
        return engine(name) is not recursion
    if name != "auto" or engine(name) is recursion:
        return False
    states, steps = scores.shape
    chosen: str = _module("choice").engine_for(states, tables.durations.shape[1], steps)
    return chosen == "scaled"


def _scaled() -> ModuleType:
    """The recursions on probabilities."""
    return _module("scaled")


def _module(name: str) -> ModuleType:
    """A module beside this one that needs numba or imports this one."""
    return importlib.import_module(f"tcnzoo.inference.hsmm.{name}")


def sample(tables: Tables, scores: Array, generator: np.random.Generator) -> Array:
    """Draw a state for each step, (T,), from the posterior of segmentations."""
    return recursion.sample(tables, forward(tables, scores), generator)
