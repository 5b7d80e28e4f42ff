"""Hidden semi-Markov model: emissions, posteriors or filtered states, and one step of a stream."""

import numpy as np

from tcnzoo.errors import InputError
from tcnzoo.inference.hsmm import batch
from tcnzoo.inference.hsmm.inference import Engine
from tcnzoo.inference.hsmm.laws import log_softmax, log_sum_exp, possible
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HsmmSpec
from tcnzoo.specs.hsmm import NEVER, impossible

from .block import Array, Block
from .sequential import Sequential


class Hsmm(Block[HsmmSpec], kind="hsmm"):
    """The reference; its recursions run in float64."""

    network: Sequential | None
    engine: Engine = "auto"

    @property
    def tables(self) -> Tables:
        """The normalised tables."""
        return tables_of(self.spec, self.arrays)

    def scores(self, x: Array) -> Array:
        """Log-likelihood of each step by state, (batch, channels, time) -> (batch, K, time)."""
        if self.spec.emission == "gaussian":
            return self._gaussian(x)
        if self.spec.emission == "categorical":
            return self._categorical(x)
        return x if self.network is None else log_softmax(self.network(x), axis=1)

    def _gaussian(self, x: Array) -> Array:
        """Log density, the variance diagonal."""
        variance = self.spec.variance_floor + np.exp(self.arrays["log_variances"])
        apart = x[:, None] - self.arrays["means"][:, :, None]
        density = apart**2 / variance[:, :, None] + np.log(2.0 * np.pi * variance)[:, :, None]
        return np.asarray(-0.5 * density.sum(axis=2))

    def _categorical(self, x: Array) -> Array:
        """Log-probability of each code."""
        chances = log_softmax(possible(self.arrays["code_logits"])).astype(x.dtype)
        if self.spec.encoding == "one_hot":
            scores = np.einsum("kc,bct->bkt", np.maximum(chances, NEVER), x)
            return np.where(scores < 0.5 * NEVER, -np.inf, scores)
        codes = np.rint(x[:, 0]).astype(np.int64)
        if codes.max(initial=0) >= self.spec.codes:
            raise InputError(
                f"a code must be below {self.spec.codes}, the number of codes, "
                f"but {codes.max()} came"
            )
        scores = np.moveaxis(chances[:, np.maximum(codes, 0)], 0, 1)
        return np.where(codes[:, None] < 0, 0.0, scores)

    def run(self, task: str, x: Array, lengths: Array, mask: Array) -> dict[str, Array]:
        """Run a task of `tcnzoo.inference.hsmm.batch` on (batch, channels, time)."""
        scores = self.scores(x)
        if not mask.all():
            scores = np.where(mask[:, None], scores, 0.0)
        return batch.run(self.tables, task, scores, lengths, self.engine)

    def forward(self, x: Array, stream: Stream | None = None) -> Array:
        """(batch, channels, time) -> (batch, states, time), probabilities."""
        scores = self.scores(x)
        if stream is not None:
            return self._streamed(scores, stream)
        task, name = "posteriors", "posterior"
        if self.spec.output == "filtered":
            task, name = "filter", "filtered"
        lengths = np.full(len(x), x.shape[2])
        states = batch.run(self.tables, task, scores, lengths, self.engine)[name]
        return np.asarray(states.astype(x.dtype))

    def _streamed(self, scores: Array, stream: Stream) -> Array:
        """Filtered states of the next steps."""
        tables, dtype = self.tables, scores.dtype
        ages, scale = (stream.read(self.path, name).copy() for name in ("ages", "scale"))
        count = int(stream.read(self.path, "count"))
        survival, durations = tables.survival.astype(dtype), tables.durations.astype(dtype)
        transitions = tables.transitions.astype(dtype)
        filtered = np.empty_like(scores)
        for t in range(scores.shape[2]):
            if count == 0:
                ages[:] = -np.inf
                ages[:, :, : None if tables.stationary else 1] = tables.first[:, None]
            else:
                ended = log_sum_exp(ages + durations, axis=2)
                started = log_sum_exp(ended[:, :, None] + transitions, axis=1)
                ages = np.concatenate([started[:, :, None], ages[:, :, :-1]], axis=2)
            ages = ages + scores[:, :, t, None]
            best = ages.max(axis=(1, 2))
            if not (best > -np.inf).all():
                raise impossible(None)
            ages = ages - best[:, None, None]
            added = best - scale[:, 1]
            total = scale[:, 0] + added
            scale = np.stack([total, (total - scale[:, 0]) - added], axis=1)
            filtered[:, :, t] = np.exp(log_softmax(log_sum_exp(ages + survival, axis=2), axis=1))
            count = 1
        stream.write(self.path, "ages", ages)
        stream.write(self.path, "scale", scale)
        stream.write(self.path, "count", np.asarray(count, dtype=np.int32))
        return filtered


def call(model: Hsmm, task: str, x: Array, lengths: Array, mask: Array) -> dict[str, Array]:
    """Run a task of `tcnzoo.inference.hsmm.batch` on neutral arrays; see `Hsmm.run`."""
    return model.run(task, np.asarray(x, dtype=model.tcnzoo.dtype), lengths, mask)
