"""Channel adapters that are learned, forward and backward: the perceiver beside the mixture."""

from collections.abc import Callable, Iterator

import tcnzoo
from benchmarks.timing import Result, interleaved

BATCH, STEPS = 8, 2000
SOURCE, TARGET = "tuh-21", "hydrocel-129"


def adapters_group(device: str | None, budget: float) -> Iterator[Result]:
    """On one thread, from 21 electrodes to 129."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    calls = {method: _step(method, device) for method in ("perceiver", "attend")}
    seconds, ratio, rounds = interleaved(calls, budget=budget)
    net = f"channel_adapter, {BATCH} x 21 x {STEPS} to 129 electrodes"
    yield Result(net, "forward and backward", device or "cpu", seconds, ratio, rounds, 1)


def _step(method: str, device: str | None) -> Callable[[], object]:
    """Forward and backward of one method on noise."""
    import torch

    spec = {"kind": "channel_adapter", "method": method, "source": SOURCE, "target": TARGET}
    model = tcnzoo.create(spec, "torch", device=device).train()
    x = torch.randn(BATCH, 21, STEPS, device=device, requires_grad=True)

    def step() -> None:
        model.zero_grad()
        x.grad = None
        model(x).square().mean().backward()

    return step
