"""A hidden semi-Markov model: what its states say of a signal, and what the signal says of them."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.inference.hsmm.counts import Passed, check_possible, posteriors
from tcnzoo.inference.hsmm.tables import tables_of
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HsmmSpec

from .block import Block, maybe
from .kernels.hsmm.filter import STATE, Ages, follow, nothing_yet
from .kernels.hsmm.laws import SCORES, Laws, laws_of
from .kernels.hsmm.path import likeliest
from .kernels.hsmm.scan import (
    Expected,
    Forward,
    centred,
    expectations,
    forward,
    live,
    log_likelihood,
)
from .twin import evaluating
from .weights import get_weights, to_mlx

# What the methods take beside a signal: the steps of each that count, and which were observed.
OptionalArray = mx.array | None


class Hsmm(Block[HsmmSpec], kind="hsmm"):
    """States that last; computed in float32 whatever the type of the model.

    Signals are (batch, time, channels); `lengths` are the steps of each that count, (batch,), and
    `mask` (batch, time) is false for steps that are missing. Behind its length a sequence has
    probabilities of 0 and the state -1.
    """

    network: Block[Any] | None

    def forward(self, x: mx.array, stream: Stream | None = None) -> mx.array:
        """(batch, time, channels) -> (batch, time, states) of probabilities."""
        if self.spec.output == "posterior":
            return self.posterior(x).astype(x.dtype)
        before = self._first_ages(len(x))
        if stream is not None:
            before = Ages(*(stream.read(self.path, name) for name in STATE))
        filtered, _, after = follow(self.scores(x), before, self.laws(), self._stationary)
        if stream is not None:
            for name, new, old in zip(STATE, after, before, strict=True):
                stream.write(self.path, name, new.astype(old.dtype))
        return mx.exp(filtered).astype(x.dtype)

    def laws(self) -> Laws:
        """The tables of the model."""
        return laws_of(self.spec, self)

    def scores(self, x: mx.array, mask: OptionalArray = None) -> mx.array:
        """Log likelihood of each step in each state, (batch, time, states); 0 where missing."""
        if mask is not None:
            x = mx.where(mask[..., None], x, 0.0)
        x = maybe(self.network, x)
        scores = SCORES[self.spec.emission](self.spec, self, x.astype(mx.float32))
        return scores if mask is None else mx.where(mask[..., None], scores, 0.0)

    def log_likelihood(
        self, x: mx.array, lengths: OptionalArray = None, mask: OptionalArray = None
    ) -> mx.array:
        """Log probability of each signal, (batch,); its gradient is one backward pass."""
        steps = _steps(x, lengths)
        return log_likelihood(self.scores(x, mask), steps, self.laws(), self._censored)

    def posterior(
        self, x: mx.array, lengths: OptionalArray = None, mask: OptionalArray = None
    ) -> mx.array:
        """P(state at t | the whole signal), (batch, time, states); NaN where none is possible."""
        passed, expected = self.passes(x, lengths, mask)
        possible = mx.isfinite(passed.total)[:, None, None]
        return mx.where(possible, expected.states, mx.nan)

    def passes(
        self, x: mx.array, lengths: OptionalArray = None, mask: OptionalArray = None
    ) -> tuple[Forward, Expected]:
        """Both passes: all that the whole signal says."""
        arguments = (self.scores(x, mask), _steps(x, lengths), self.laws(), self._censored)
        passed = forward(*arguments)
        return passed, expectations(*arguments, passed)

    def filtered(
        self, x: mx.array, lengths: OptionalArray = None, mask: OptionalArray = None
    ) -> tuple[mx.array, mx.array]:
        """P(state at t | x up to t), (batch, time, states), and log P(x up to t), (batch, time)."""
        ages, scores = self._first_ages(len(x)), self.scores(x, mask)
        states, known, _ = follow(scores, ages, self.laws(), self._stationary)
        inside = live(_steps(x, lengths), x.shape[1])
        return mx.where(inside[..., None], mx.exp(states), 0.0), mx.where(inside, known, 0.0)

    def viterbi(
        self, x: mx.array, lengths: OptionalArray = None, mask: OptionalArray = None
    ) -> tuple[mx.array, mx.array]:
        """The likeliest states, (batch, time) int32, and the log probability of each, (batch,)."""
        return likeliest(self.scores(x, mask), _steps(x, lengths), self.laws(), self._censored)

    def _first_ages(self, batch: int) -> Ages:
        """Before the first step of a signal."""
        return nothing_yet(batch, self.spec.states, self.spec.max_duration)

    @property
    def _censored(self) -> bool:
        """Whether the last segment may go on after the signal."""
        return bool(self.spec.end == "censored")

    @property
    def _stationary(self) -> bool:
        """Whether the signal begins in the midst of a segment."""
        return bool(self.spec.start == "stationary")


def _steps(x: mx.array, lengths: OptionalArray) -> mx.array:
    return mx.full((len(x),), x.shape[1], dtype=mx.int32) if lengths is None else lengths


def call(model: Hsmm, task: str, x: Array, lengths: Array, mask: Array) -> dict[str, Array]:
    """Run a task of `tcnzoo.inference.hsmm.batch` on neutral arrays.

    Raises:
        InputError: a sequence without a possible segmentation.
    """
    device = mx.default_device() if model._device is None else getattr(mx, model._device)
    with mx.stream(device), evaluating(model) as ready:
        signal = to_mlx(np.moveaxis(x, 1, -1), "float32")
        return _TASKS[task](ready, signal, mx.array(lengths.astype(np.int32)), mx.array(mask))


def _log_likelihood(
    model: Hsmm, x: mx.array, lengths: mx.array, mask: mx.array
) -> dict[str, Array]:
    total = to_numpy(model.log_likelihood(x, lengths, mask))
    check_possible(total, x.shape[1])
    return {"log_likelihood": total}


def _posteriors(model: Hsmm, x: mx.array, lengths: mx.array, mask: mx.array) -> dict[str, Array]:
    passed, expected = model.passes(x, lengths, mask)
    inside = live(lengths, x.shape[1])
    left = mx.where(inside, passed.norms, 0.0)[..., None]
    scores = mx.where(inside[..., None], centred(model.scores(x, mask))[0] - left, 0.0)
    segments = [expected.first, expected.transitions, expected.durations, passed.starts]
    arrays = map(to_numpy, (passed.total, expected.states, *segments, scores))
    tables = tables_of(model.spec, get_weights(model))
    return posteriors(tables, Passed(*arrays), np.asarray(lengths))


def _viterbi(model: Hsmm, x: mx.array, lengths: mx.array, mask: mx.array) -> dict[str, Array]:
    path, score = map(to_numpy, model.viterbi(x, lengths, mask))
    check_possible(score, x.shape[1])
    return {"path": path.astype(np.int64), "score": score}


def _filter(model: Hsmm, x: mx.array, lengths: mx.array, mask: mx.array) -> dict[str, Array]:
    states, known = map(to_numpy, model.filtered(x, lengths, mask))
    return {"filtered": np.moveaxis(states, 1, -1), "log_likelihood": known}


_TASKS: dict[str, Callable[[Hsmm, mx.array, mx.array, mx.array], dict[str, Array]]] = {
    "log_likelihood": _log_likelihood,
    "posteriors": _posteriors,
    "viterbi": _viterbi,
    "filter": _filter,
}
