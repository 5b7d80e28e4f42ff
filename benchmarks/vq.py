"""A training step of a vector quantiser beside vector-quantize-pytorch: time, and extra memory."""

from collections.abc import Callable, Iterator
from typing import Any

import tcnzoo
from benchmarks.timing import Result, interleaved

BATCH, STEPS, WIDTH, CODES = 16, 1024, 64, 512
PEER, OURS = "vector-quantize-pytorch", "tcnzoo torch"
# As in that library's defaults, and with the gradient that costs less.
FIELDS: dict[str, dict[str, Any]] = {
    OURS: {"gradient": "rotation"},
    f"{OURS}, straight-through": {"gradient": "straight_through"},
}


def contender(name: str, device: str | None = None, steps: int = STEPS) -> Callable[[], object]:
    """Forward and backward of one quantiser in training on noise, as a function."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(BATCH, STEPS, WIDTH, device=device)
    if name == PEER:
        x.requires_grad_()
        from vector_quantize_pytorch import VectorQuantize

        theirs = VectorQuantize(dim=WIDTH, codebook_size=CODES).to(device).train()

        def run() -> None:
            output, _, loss = theirs(x)
            _finish(x, output, loss)

        return run
    spec = {"kind": "vector_quantizer", "channels": WIDTH, "codes": CODES, **FIELDS[name]}
    model = tcnzoo.create(spec, "torch", device=device).train()
    signal = x.mT.contiguous().requires_grad_()  # as the layers before leave it

    def step() -> None:
        found = model.quantize(signal)
        _finish(signal, found.output, found.vq_loss)

    return step


def _finish(x: Any, output: Any, loss: Any) -> None:
    """The backward pass; nothing is kept of its gradient."""
    import torch

    (output.mean() + loss).backward()
    x.grad = None
    if x.is_cuda:
        torch.cuda.synchronize()


def extra_memory(run: Callable[[], object]) -> float:
    """Most MiB of CPU tensors that one call holds at a time beside what was there before.

    Counted by torch's own records of its allocations, which do not depend on what the C library
    keeps back.
    """
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    kineto = seen.profiler.kineto_results if seen.profiler else None
    events = [one for one in kineto.events() if one.name() == "[memory]"] if kineto else []
    held = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20


def vq_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our quantiser beside vector-quantize-pytorch's with its default settings."""
    import torch

    names = [PEER, *FIELDS]
    calls = {name: contender(name, device) for name in names}
    seconds, ratio, rounds = interleaved(calls, budget=budget)
    note = f"({BATCH}, {STEPS}, {WIDTH})"
    if device is None:
        taken = ", ".join(f"{name} {extra_memory(run):.0f}" for name, run in calls.items())
        note += f"; extra memory in MiB: {taken}"
    threads = torch.get_num_threads()
    net, task = f"vector quantiser, {CODES} codes", "forward and backward"
    yield Result(net, task, device or "cpu", seconds, ratio, rounds, threads, note)
