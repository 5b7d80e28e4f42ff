"""A hidden semi-Markov model: what its states say of a signal, and what the signal says of them."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.inference.hsmm.counts import Passed, check_possible, posteriors
from tcnzoo.inference.hsmm.tables import tables_of
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HsmmSpec

from . import weights
from .block import Block, Tensor, maybe
from .kernels.hsmm.filter import STATE, Ages, follow, nothing_yet
from .kernels.hsmm.laws import SCORES, Laws, laws_of, replaced
from .kernels.hsmm.path import likeliest
from .kernels.hsmm.scan import (
    Expected,
    Forward,
    beside,
    by_step,
    expectations,
    forward,
    live,
    log_likelihood,
)
from .model import SpecModel
from .run import compiled, tensor_of
from .sequential import Sequential
from .types import wide

# What the methods take beside a signal: the steps of each that count, and which were observed.
Rows = Tensor | None


class Hsmm(Block[HsmmSpec], kind="hsmm"):
    """States that last; computed in float32 at least, whatever the type of the model.

    Signals are (batch, time, channels); `lengths` are the steps of each that count, (batch,), and
    `mask` (batch, time) is false for steps that are missing. Behind its length a sequence has
    probabilities of 0 and the state -1.
    """

    network: Sequential | None

    def call(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, time, channels) -> (batch, time, states) of probabilities."""
        if self.spec.output == "posterior":
            return ops.cast(self.posterior(x), x.dtype)
        scores = self.scores(x)
        ages = nothing_yet(scores, self.spec.max_duration)
        if stream is not None:
            ages = Ages(*(stream.read(self.path, name) for name in STATE))
            # A state of three axes comes and goes as signals do, with the last two swapped.
            ages = ages._replace(ages=ops.swapaxes(ages.ages, 1, 2))
        log_posterior, _, after = follow(scores, ages, self.laws(), self._stationary)
        if stream is not None:
            stream.write(self.path, "ages", ops.swapaxes(after.ages, 1, 2))
            stream.write(self.path, "scale", after.scale)
            stream.write(self.path, "count", after.steps)
        return ops.cast(ops.exp(log_posterior), x.dtype)

    def laws(self) -> Laws:
        """The tables of the model."""
        return laws_of(self.spec, self.arrays)

    def scores(self, x: Tensor, mask: Rows = None) -> Tensor:
        """Log likelihood of each step in each state, (batch, time, states); 0 where missing."""
        if mask is not None:
            x = ops.where(beside(mask, 1), x, ops.zeros_like(x))
        features = wide(maybe(self.network, x))
        scores = SCORES[self.spec.emission](self.spec, self.arrays, features)
        if mask is None:
            return scores
        return ops.where(beside(mask, 1), scores, ops.zeros_like(scores))

    def log_likelihood(self, x: Tensor, lengths: Rows = None, mask: Rows = None) -> Tensor:
        """Log probability of each signal, (batch,); its gradient is one backward pass."""
        steps = _steps(x, lengths)
        return log_likelihood(self.scores(x, mask), steps, self.laws(), self._censored)

    def posterior(self, x: Tensor, lengths: Rows = None, mask: Rows = None) -> Tensor:
        """P(state at t | the whole signal), (batch, time, states); NaN where none is possible."""
        passed, expected = self.passes(x, lengths, mask)
        odd = beside(ops.logical_not(ops.isfinite(passed.total)), 2)
        return replaced(expected.states, odd, math.nan)

    def passes(
        self, x: Tensor, lengths: Rows = None, mask: Rows = None
    ) -> tuple[Forward, Expected]:
        """Both passes: all that the whole signal says."""
        arguments = (self.scores(x, mask), _steps(x, lengths), self.laws(), self._censored)
        passed = forward(*arguments)
        return passed, expectations(*arguments, passed)

    def filtered(self, x: Tensor, lengths: Rows = None, mask: Rows = None) -> tuple[Tensor, Tensor]:
        """P(state at t | x up to t), (batch, time, states), and log P(x up to t), (batch, time)."""
        scores = self.scores(x, mask)
        ages = nothing_yet(scores, self.spec.max_duration)
        log_posterior, log_likelihoods, _ = follow(scores, ages, self.laws(), self._stationary)
        inside = ops.transpose(live(_steps(x, lengths), ops.swapaxes(scores, 0, 1)))
        probabilities = ops.where(
            beside(inside, 1), ops.exp(log_posterior), ops.zeros_like(log_posterior)
        )
        return probabilities, ops.where(inside, log_likelihoods, ops.zeros_like(log_likelihoods))

    def viterbi(self, x: Tensor, lengths: Rows = None, mask: Rows = None) -> tuple[Tensor, Tensor]:
        """The likeliest states, (batch, time) int32, and the log probability of each, (batch,)."""
        return likeliest(self.scores(x, mask), _steps(x, lengths), self.laws(), self._censored)

    @property
    def _censored(self) -> bool:
        """Whether the last segment may go on after the signal."""
        return bool(self.spec.end == "censored")

    @property
    def _stationary(self) -> bool:
        """Whether the signal begins in the midst of a segment."""
        return bool(self.spec.start == "stationary")


def _steps(x: Tensor, lengths: Rows) -> Tensor:
    """Steps of each signal, (batch,) int32."""
    if lengths is not None:
        return ops.cast(lengths, "int32")
    batch, steps, _ = ops.shape(x)
    return ops.zeros((batch,), dtype="int32") + ops.cast(steps, "int32")


def call(model: SpecModel, task: str, x: Array, lengths: Array, mask: Array) -> dict[str, Array]:
    """Run a task of `inference.hsmm.batch` on neutral arrays, compiled and kept on the model.

    Raises:
        InputError: a sequence without a possible segmentation.
    """
    body, finish = _TASKS[task]
    if task not in model.tasks:
        model.tasks[task] = compiled(model, functools.partial(body, model.root))
    with model.on_device():
        outputs = model.tasks[task](
            tensor_of(np.moveaxis(x, 1, -1), _wide(model)),
            tensor_of(lengths, "int32"),
            ops.convert_to_tensor(mask, dtype="bool"),
        )
    return finish(model, [to_numpy(y) for y in outputs], lengths)


def _wide(model: SpecModel) -> str:
    """The float type in which inference runs."""
    return "float64" if model.tcnzoo.dtype == "float64" else "float32"


def _log_likelihood(root: Hsmm, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (root.log_likelihood(*inputs),)


def _likelihoods(model: SpecModel, outputs: list[Array], lengths: Array) -> dict[str, Array]:
    check_possible(outputs[0], int(lengths.max()))
    return {"log_likelihood": outputs[0]}


def _passes(root: Hsmm, x: Tensor, lengths: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    passed, expected = root.passes(x, lengths, mask)
    rows, _ = by_step(root.scores(x, mask))
    left = ops.where(beside(live(lengths, rows), 1), rows - beside(passed.norms, 1), 0 * rows)
    # Nothing that starts at the first step is asked for.
    starts = ops.pad(passed.starts, ((1, 0), (0, 0), (0, 0)))
    parts = (
        passed.total,
        expected.states,
        expected.first,
        expected.transitions,
        expected.durations,
    )
    return (*parts, ops.swapaxes(starts, 0, 1), ops.swapaxes(left, 0, 1))


def _posteriors(model: SpecModel, outputs: list[Array], lengths: Array) -> dict[str, Array]:
    own = weights.read(model.root.named_variables(), model.tcnzoo.params)
    return posteriors(tables_of(model.root.spec, own), Passed(*outputs), lengths)


def _viterbi(root: Hsmm, *inputs: Tensor) -> tuple[Tensor, ...]:
    return root.viterbi(*inputs)


def _path(model: SpecModel, outputs: list[Array], lengths: Array) -> dict[str, Array]:
    check_possible(outputs[1], int(lengths.max()))
    return {"path": outputs[0].astype(np.int64), "score": outputs[1]}


def _filter(root: Hsmm, *inputs: Tensor) -> tuple[Tensor, ...]:
    return root.filtered(*inputs)


def _filtered(model: SpecModel, outputs: list[Array], lengths: Array) -> dict[str, Array]:
    return {"filtered": np.moveaxis(outputs[0], 1, -1), "log_likelihood": outputs[1]}


# What each task computes, and what becomes of it in numpy.
_TASKS: dict[str, tuple[Callable[..., Any], Callable[..., dict[str, Array]]]] = {
    "log_likelihood": (_log_likelihood, _likelihoods),
    "posteriors": (_passes, _posteriors),
    "viterbi": (_viterbi, _path),
    "filter": (_filter, _filtered),
}
