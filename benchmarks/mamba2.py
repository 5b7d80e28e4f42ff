"""One Mamba-2 block on a CPU beside that of transformers, at the chunk size that suits it best.

`python -m benchmarks.mamba2 CONTENDER D_STATE TASK` runs one task once and prints by how much that
raises the peak of its process, in MiB.
"""

import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tcnzoo
from benchmarks.big_files import peak_mib
from benchmarks.tasks import Call
from benchmarks.timing import Result, in_turns, ratio

CHANNELS, BATCH, STEPS = 512, 2, 960
STATES = (16, 64)
# Of transformers, whose default of 256 is its slowest here.
CHUNKS = (32, 64, 128, 256)
OURS = "tcnzoo torch"
TASKS = ("forward", "forward and backward")
# A step of a stream, on one thread; transformers' with its cache, whose chunk size does not matter.
STEP = "one sample, one thread"
# Steps of it in one round.
CALLS = 20
# Of the memory: fresh processes.
REPEATS = 3


def block(contender: str, d_state: int) -> Any:
    """Our block, or `transformers CHUNK`, in the sizes that both have by default."""
    if contender == OURS:
        return tcnzoo.create({"kind": "mamba2", "channels": CHANNELS, "d_state": d_state})
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    return Mamba2Mixer(_config(d_state, int(contender.split()[1])), 0).eval()


def _config(d_state: int, chunk: int) -> Any:
    """Sizes of transformers' block."""
    from transformers import Mamba2Config

    sizes = {"hidden_size": CHANNELS, "expand": 2, "num_heads": 2 * CHANNELS // 64, "head_dim": 64}
    steps = {"state_size": d_state, "n_groups": 1, "chunk_size": chunk}
    return Mamba2Config(**sizes, **steps, num_hidden_layers=1, pad_token_id=None)


def call(contender: str, model: Any, task: str) -> Call:
    """The function that is run, on a signal laid out as the contender takes it."""
    import torch

    shape = (BATCH, CHANNELS, STEPS) if contender == OURS else (BATCH, STEPS, CHANNELS)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def forward() -> None:
        with torch.inference_mode():
            model(x)

    def both() -> None:
        signal = x.clone().requires_grad_()
        model.zero_grad()
        y = model(signal)
        y.sum().backward()

    if task == "forward":
        return forward
    model.train()
    return both


def step(contender: str, model: Any, d_state: int) -> Call:
    """The function of the task STEP: it goes on by one sample."""
    import torch

    x = torch.randn(1, CHANNELS, 1, generator=torch.Generator().manual_seed(0))
    if contender == OURS:
        signal, state = x.numpy(), tcnzoo.init_state(model)

        def ours() -> None:
            nonlocal state
            _, state = tcnzoo.step(model, signal, state)

        return ours
    from transformers import DynamicCache

    rows, cache = x.transpose(1, 2), DynamicCache(config=_config(d_state, CHUNKS[0]))

    def theirs() -> None:
        with torch.inference_mode():
            model(rows, cache_params=cache)

    return theirs


def mamba2_group(device: str | None, budget: float) -> Iterator[Result]:
    """Our block beside transformers' by torch operations; memory stands in the note."""
    if importlib.util.find_spec("mamba_ssm") is not None:
        print("mamba2: left out, transformers would call mamba_ssm on a CPU", file=sys.stderr)
        return
    import torch

    names = [*(f"transformers {chunk}" for chunk in CHUNKS), OURS]
    for d_state in STATES:
        models = {name: block(name, d_state) for name in names}
        for task in TASKS:
            times = in_turns(
                {name: call(name, model, task) for name, model in models.items()}, budget
            )
            seconds = {name: statistics.median(one) for name, one in times.items()}
            best = min(names[:-1], key=seconds.__getitem__)
            peaks = [_memory(name, d_state, task) for name in (best, OURS)]
            chunk = best.split()[1]
            note = f"{chunk} steps a chunk there; peak {peaks[0]:.0f} and {peaks[1]:.0f} MiB"
            sizes = f"{BATCH} x {STEPS} steps"
            yield _result(d_state, sizes, task, times[best], times[OURS], note)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            pair = {name: step(name, models[name].eval(), d_state) for name in (names[0], OURS)}
            theirs, ours = in_turns(pair, budget, CALLS).values()
            yield _result(d_state, "a stream", STEP, theirs, ours, "its cache there")
        finally:
            torch.set_num_threads(threads)


def _result(
    d_state: int, sizes: str, task: str, theirs: list[float], ours: list[float], note: str
) -> Result:
    """One line, of the seconds in every round."""
    import torch

    return Result(
        net=f"block of {CHANNELS}, state {d_state}, {sizes}",
        task=task,
        device="cpu",
        seconds={"transformers": statistics.median(theirs), OURS: statistics.median(ours)},
        ratio={"transformers": 1.0, OURS: ratio(theirs, ours)},
        rounds=len(theirs),
        threads=torch.get_num_threads(),
        note=note,
    )


def _memory(contender: str, d_state: int, task: str) -> float:
    """MiB that a task adds to the peak of a process, median over several."""
    command = [sys.executable, "-m", "benchmarks.mamba2", contender, str(d_state), task]
    grown = []
    for _ in range(REPEATS):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(grown)


def growth(contender: str, d_state: int, task: str) -> float:
    """MiB by which a task raises the peak of this process."""
    run = call(contender, block(contender, d_state), task)
    forget = Path("/proc/self/clear_refs")
    if forget.exists():  # the peak of the imports, where Linux can
        forget.write_text("5")
    before = peak_mib()
    run()
    return peak_mib() - before


if __name__ == "__main__":
    print(growth(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
