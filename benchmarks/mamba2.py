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
# Of the memory: fresh processes.
REPEATS = 3


def block(contender: str, d_state: int) -> Any:
    """Our block, or `transformers CHUNK`, in the sizes that both have by default."""
    if contender == OURS:
        return tcnzoo.create({"kind": "mamba2", "channels": CHANNELS, "d_state": d_state})
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    sizes = {"hidden_size": CHANNELS, "expand": 2, "num_heads": 2 * CHANNELS // 64, "head_dim": 64}
    chunk = int(contender.split()[1])
    config = Mamba2Config(
        **sizes, state_size=d_state, n_groups=1, chunk_size=chunk, pad_token_id=None
    )
    return Mamba2Mixer(config, 0).eval()


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
            calls = {name: call(name, model, task) for name, model in models.items()}
            times = in_turns(calls, budget)
            seconds = {name: statistics.median(one) for name, one in times.items()}
            best = min(names[:-1], key=seconds.__getitem__)
            theirs, ours = (_memory(name, d_state, task) for name in (best, OURS))
            chunk = best.split()[1]
            note = f"{chunk} steps a chunk there; peak {theirs:.0f} and {ours:.0f} MiB"
            yield Result(
                net=f"block of {CHANNELS}, state {d_state}, {BATCH} x {STEPS} steps",
                task=task,
                device="cpu",
                seconds={"transformers": seconds[best], OURS: seconds[OURS]},
                ratio={"transformers": 1.0, OURS: ratio(times[best], times[OURS])},
                rounds=len(times[best]),
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
