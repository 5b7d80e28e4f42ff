"""Hidden semi-Markov models beside the plain hidden Markov model of hmmlearn."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import tcnzoo
from benchmarks.tasks import Call
from benchmarks.timing import Result, interleaved

BATCH, STATES, STEPS = 16, 10, 1000
REACHES = (50, 100, 200)


def hsmm_group(device: str | None, budget: float) -> Iterator[Result]:
    """Log-likelihood, posteriors and paths of 16 sequences, for longer and longer durations."""
    scores = np.random.default_rng(0).standard_normal((BATCH, STATES, STEPS))
    for reach in REACHES:
        spec = tcnzoo.load_spec(
            {"kind": "hsmm", "states": STATES, "max_duration": reach, "emission": "none"}
        )
        contenders = {"hmmlearn, plain HMM": hmmlearn_posteriors(scores)}
        if device is None:
            contenders["tcnzoo numpy"] = numpy_run(spec, scores, "posteriors")
        contenders["tcnzoo torch"] = torch_posteriors(spec, scores, device)
        contenders["tcnzoo torch, with gradient"] = torch_gradient(spec, scores, device)
        seconds, ratio, rounds = interleaved(contenders, budget=budget)
        yield Result(
            f"hsmm, {STATES} states, D = {reach}", "posteriors", device or "cpu", seconds, ratio,
            rounds, 1, f"{BATCH} sequences of {STEPS} steps",
        )  # fmt: skip
        if device is None:
            contenders = {"hmmlearn, plain HMM": hmmlearn_paths(scores)}
            contenders["tcnzoo numpy"] = numpy_run(spec, scores, "viterbi")
            seconds, ratio, rounds = interleaved(contenders, budget=budget)
            yield Result(
                f"hsmm, {STATES} states, D = {reach}", "viterbi", "cpu", seconds, ratio, rounds, 1,
                f"{BATCH} sequences of {STEPS} steps",
            )  # fmt: skip


def hmmlearn_posteriors(scores: Any) -> Call:
    """Forward and backward of a Markov chain over the same number of states."""
    chain, rows = _chain(scores)
    return lambda: chain.score_samples(rows, [STEPS] * BATCH)


def hmmlearn_paths(scores: Any) -> Call:
    """The likeliest states of that chain."""
    chain, rows = _chain(scores)
    return lambda: chain.decode(rows, [STEPS] * BATCH)


def _chain(scores: Any) -> tuple[Any, Any]:
    """A Markov chain, and the scores of its states one after the other, (steps, K)."""
    from hmmlearn.base import BaseHMM

    class Chain(BaseHMM):  # type: ignore[misc]
        def _compute_log_likelihood(self, x: Any) -> Any:
            return x

    chain = Chain(STATES, init_params="")
    generator = np.random.default_rng(0)
    chain.startprob_ = generator.dirichlet(np.ones(STATES))
    chain.transmat_ = generator.dirichlet(np.ones(STATES), STATES)
    return chain, np.concatenate(np.moveaxis(scores, 1, 2))


def numpy_run(spec: Any, scores: Any, task: str) -> Call:
    """A task of `tcnzoo.inference.hsmm.batch` in the numpy backend."""
    model = tcnzoo.create(spec, "numpy", dtype="float64")
    lengths, mask = np.full(BATCH, STEPS), np.ones((BATCH, STEPS), dtype=bool)
    return lambda: model.run(task, scores, lengths, mask)


def torch_posteriors(spec: Any, scores: Any, device: str | None) -> Call:
    """The same in torch."""
    import torch

    model = tcnzoo.create(spec, "torch", device=device, dtype="float64")
    x = torch.from_numpy(scores).to(device or "cpu")

    def run() -> None:
        model.expected(x)
        _wait(x)

    return run


def torch_gradient(spec: Any, scores: Any, device: str | None) -> Call:
    """Log-likelihood and its gradient by parameters and scores in torch."""
    import torch

    torch.set_num_threads(1)
    model = tcnzoo.create(spec, "torch", device=device, dtype="float64")
    x = torch.from_numpy(scores).to(device or "cpu").requires_grad_()

    def run() -> None:
        model.log_likelihood(x).sum().backward()
        _wait(x)

    return run


def _wait(x: Any) -> None:
    """Wait for the device."""
    if x.is_cuda:
        import torch

        torch.cuda.synchronize()
