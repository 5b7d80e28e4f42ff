"""Hidden semi-Markov model: emissions, likelihoods, posteriors, paths, and steps of a stream."""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.inference.hsmm import batch
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import HsmmSpec

from .block import Block, maybe
from .kernels.hsmm import likelihood
from .kernels.hsmm.laws import Laws, gone, laws_of, normalised, solid
from .kernels.hsmm.likelihood import Pass, tables_of
from .kernels.hsmm.scan import Counts, Ends
from .run import full_precision
from .sequential import Sequential
from .types import wide
from .weights import to_torch


class Hsmm(Block[HsmmSpec], kind="hsmm"):
    """Recursions over whole signals run in float64, whatever the type of the parameters.

    Where a device has no float64 (MPS) they run on the CPU. Scores and steps of a stream are of the
    model's own type, but float32 at least. Optional arguments everywhere: `lengths` (batch,) of
    integers, and `mask` of booleans, (batch, time), true where a step is observed.
    """

    initial_logits: Tensor
    means: Tensor
    log_variances: Tensor
    code_logits: Tensor
    network: Sequential | None

    def laws(self) -> Laws:
        """The normalised tables in float64, with gradients."""
        return laws_of(self.spec, lambda name: _exact(getattr(self, name)))

    def scores(self, x: Tensor) -> Tensor:
        """Log-likelihood of each step by state, (batch, channels, time) -> (batch, K, time)."""
        spec = self.spec
        if spec.emission == "neural":
            return F.log_softmax(wide(maybe(self.network, x)), dim=1)
        x = wide(x)
        if spec.emission == "gaussian":  # the log density, the variance diagonal
            variance = spec.variance_floor + wide(self.log_variances).exp()
            apart = x[:, None] - wide(self.means)[:, :, None]
            constant = torch.log(variance).sum(1) + self.means.shape[1] * math.log(2.0 * math.pi)
            return -0.5 * ((apart**2 / variance[:, :, None]).sum(2) + constant[:, None])
        if spec.emission == "none":
            return x
        log_chances = normalised(wide(self.code_logits))
        if spec.encoding == "one_hot":
            scores = torch.einsum("kc,bct->bkt", solid(log_chances), x)
            return scores.masked_fill(gone(scores), -torch.inf)
        codes = x[:, 0].detach().round().long()
        scores = log_chances[:, codes.clamp(min=0)].movedim(0, 1)
        return torch.where(codes[:, None] < 0, 0.0, scores)

    def _given(
        self, x: Tensor, lengths: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Laws, Ends]:
        """Scores of what is observed, the laws, and how the sequences end."""
        if mask is not None:
            x = torch.where(mask[:, None], x, 0.0)  # so that a NaN there has no gradient either
        scores = _exact(self.scores(x))
        if mask is not None:
            scores = torch.where(mask.to(scores.device)[:, None], scores, 0.0)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[2])
        spec = self.spec
        ends = Ends(lengths.to(scores.device), spec.start == "stationary", spec.end == "censored")
        return scores, self.laws(), ends

    def log_likelihood(
        self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Log-likelihood of each sequence, (batch,), float64; its gradient takes one more pass.

        Raises:
            InputError: no segmentation of a sequence is possible.
        """
        return likelihood.log_likelihood(*self._given(x, lengths, mask)).to(x.device)

    def posterior(
        self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Probability of each state at each step, (batch, states, time), in x's type."""
        return likelihood.posterior(*self._given(x, lengths, mask)).to(x)

    def expected(
        self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Counts]:
        """Log-likelihoods, posteriors and expected numbers, float64, without gradients."""
        with torch.no_grad():
            passed = Pass(*self._given(x, lengths, mask))
            return passed.log_likelihood, passed.expected()

    def filtered(
        self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """States by the signal so far, (batch, K, time), and its log-likelihood (batch, time)."""
        states, so_far = likelihood.filtered(*self._given(x, lengths, mask))
        return states.to(x), so_far.to(x.device)

    def viterbi(
        self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The likeliest segmentation: a state for each step, (batch, time), and scores (batch,).

        States are -1 behind a length. All is computed on the CPU, in float64, so that paths are the
        same whatever the device.
        """
        with torch.no_grad():
            scores, laws, ends = self._given(x, lengths, mask)
            laws, ends = (
                Laws(*(table.cpu() for table in laws)),
                ends._replace(lengths=ends.lengths.cpu()),
            )
            arrays = batch.run(
                tables_of(laws, ends), "viterbi", scores.cpu().numpy(), ends.lengths.numpy()
            )
        path, score = (torch.from_numpy(arrays[name]) for name in ("path", "score"))
        return path.to(x.device), score.to(x.device)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, channels, time) -> (batch, states, time), probabilities."""
        if stream is not None:
            return self._streamed(self.scores(x), stream).to(x.dtype)
        return self.posterior(x) if self.spec.output == "posterior" else self.filtered(x)[0]

    def _streamed(self, scores: Tensor, stream: Stream) -> Tensor:
        """Filtered states of the next steps."""
        laws = Laws(*(table.to(scores) for table in self.laws()))
        ages, scale, count = (stream.read(self.path, name) for name in ("ages", "scale", "count"))
        started, filtered = bool(count), []
        for step in scores.unbind(2):
            if started:
                ended = torch.logsumexp(ages + laws.durations, 2)
                begun = torch.logsumexp(ended[:, :, None] + laws.transitions, 1)
                ages = torch.cat([begun[:, :, None], ages[:, :, :-1]], dim=2)
            else:
                ages = laws.first[:, None].expand_as(ages)
                if self.spec.start == "fresh":
                    ages = F.pad(ages[:, :, :1], (0, ages.shape[2] - 1), value=-torch.inf)
            ages = ages + step[:, :, None]
            best = ages.amax((1, 2))
            ages = ages - best[:, None, None]
            added = best - scale[:, 1]
            total = scale[:, 0] + added
            scale = torch.stack([total, (total - scale[:, 0]) - added], dim=1)
            filtered.append(torch.logsumexp(ages + laws.survival, 2).softmax(1))
            started = True
        stream.write(self.path, "ages", ages)
        stream.write(self.path, "scale", scale)
        stream.write(self.path, "count", torch.tensor(int(started), dtype=torch.int32))
        return torch.stack(filtered, 2) if filtered else torch.empty_like(scores)


def _exact(x: Tensor) -> Tensor:
    """The same in float64, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def call(model: Hsmm, task: str, x: Array, lengths: Array, mask: Array) -> dict[str, Array]:
    """Run a task of `tcnzoo.inference.hsmm.batch` on neutral arrays."""
    like = model.initial_logits
    inputs = (
        to_torch(x).to(like),
        torch.from_numpy(np.asarray(lengths)).to(like.device),
        torch.from_numpy(np.asarray(mask)).to(like.device),
    )
    with torch.no_grad(), full_precision():
        tensors = _tasks(model, task, *inputs)
    behind = np.arange(x.shape[2]) >= np.asarray(lengths)[:, None]
    arrays = {name: to_numpy(tensor) for name, tensor in tensors.items()}
    if task == "filter":
        arrays["filtered"] = np.where(behind[:, None], 0.0, arrays["filtered"])
        arrays["log_likelihood"] = np.where(behind, 0.0, arrays["log_likelihood"])
    return arrays


def _tasks(model: Hsmm, task: str, x: Tensor, lengths: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The arrays of one task."""
    if task == "viterbi":
        path, score = model.viterbi(x, lengths, mask)
        return {"path": path, "score": score}
    if task == "filter":
        filtered, so_far = model.filtered(x, lengths, mask)
        return {"filtered": filtered, "log_likelihood": so_far}
    if task == "log_likelihood":
        return {"log_likelihood": model.log_likelihood(x, lengths, mask)}
    value, counts = model.expected(x, lengths, mask)
    segments = (counts.durations + counts.censored).sum(2)
    return {"log_likelihood": value, **counts._asdict(), "segments": segments}
