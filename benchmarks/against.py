"""Another checkout of tcnzoo beside this one: the same calls in turn, in one process of each.

    python -m benchmarks.against ../tcnzoo-before --groups torch,keras,mlx

Both run the public calls only. A round times one call after the other, in changing order, so that
other work on the machine meets both; a ratio is the median over rounds. Above 1 is slower.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
QUIET = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "passive", "TF_CPP_MIN_LOG_LEVEL": "3"}
NARROW = {"kind": "tcn", "in_channels": 8, "channels": [64] * 8, "kernel_size": 3}
# Model, time steps of a whole signal and of a training step; MLX has slow convolutions on a CPU.
MODELS: dict[str, tuple[Any, int, int]] = {
    "narrow [64]*8": (NARROW, 1024, 512),
    "tcn-base": ("tcn-base", 1024, 512),
    "mamba2": ({"kind": "mamba2", "channels": 64}, 1024, 512),
}
SHORTER = {"mlx": 4}


def calls_of(backend: str, name: str) -> dict[str, Callable[[], Any]]:
    """What is timed of a model: each call once."""
    import numpy as np

    import tcnzoo

    spec, length, steps = MODELS[name]
    model = tcnzoo.create(spec, backend=backend)
    shorter = SHORTER.get(backend, 1)
    channels = model.tcnzoo.spec.input_channels or 2
    noise = np.random.default_rng(0).normal(size=(4, channels, length // shorter))
    x = noise.astype(np.float32)
    short = x[..., : steps // shorter]
    target = np.zeros_like(tcnzoo.predict(model, short))
    state = tcnzoo.init_state(model, batch_size=1)
    return {
        "predict": lambda: tcnzoo.predict(model, x),
        "step of 1": lambda: tcnzoo.step(model, x[:1, :, :1], state),
        "step of 64": lambda: tcnzoo.step(model, x[:1, :, :64], state),
        "gradients": lambda: tcnzoo.gradients(model, short, target, training=True),
        "create": lambda: tcnzoo.create(spec, backend=backend),
    }


def serve(backend: str, name: str) -> None:
    """Time what the lines of stdin ask for: `CALL TIMES`; answer with seconds for one call."""
    calls = calls_of(backend, name)
    for call in calls.values():  # what is compiled, is compiled now
        for _ in range(3):
            call()
    print(json.dumps(list(calls)), flush=True)
    for line in sys.stdin:
        call, times = json.loads(line)
        start = time.perf_counter()
        for _ in range(times):
            calls[call]()
        print(json.dumps((time.perf_counter() - start) / times), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


class Checkout:
    """A process that runs the code of one checkout."""

    def __init__(self, root: Path, backend: str, name: str) -> None:
        """Start it, and wait until it has compiled what is to be timed."""
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", backend, name],
            env={**os.environ, **QUIET, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.calls: list[str] = self._answer()

    def _answer(self) -> Any:
        """The next line that it prints."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit("a process that was to be timed has ended; its error is above")
        return json.loads(line)

    def seconds(self, call: str, times: int) -> float:
        """Seconds for one call, over so many of them."""
        if self.process.stdin is not None:
            print(json.dumps((call, times)), file=self.process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> float:
        """End it; its peak memory in MiB."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return float(self._answer()) / 1024


def compared(before: Path, backend: str, name: str, budget: float) -> list[tuple[str, ...]]:
    """Rows of one model in one backend: call, seconds before, seconds now, ratio."""
    pair = [Checkout(before, backend, name), Checkout(HERE, backend, name)]
    rows = []
    for call in pair[0].calls:
        once = max(process.seconds(call, 2) for process in pair)
        times = max(1, int(0.05 / once))
        rounds: list[tuple[float, float]] = []
        end = time.perf_counter() + budget
        while len(rounds) < 7 or time.perf_counter() < end:
            order = (0, 1) if len(rounds) % 2 else (1, 0)
            timed = {index: pair[index].seconds(call, times) for index in order}
            rounds.append((timed[0], timed[1]))
        old, new = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(after / earlier for earlier, after in rounds)
        rows.append((f"{old * 1e3:.3g} ms", f"{new * 1e3:.3g} ms", f"{ratio:.3f}", call))
    old, new = (process.close() for process in pair)
    rows.append((f"{old:.0f} MiB", f"{new:.0f} MiB", f"{new / old:.3f}", "peak memory"))
    return [(backend, name, row[3], *row[:3]) for row in rows]


def main() -> None:
    """Compare, and print a Markdown table."""
    if sys.argv[1:2] == ["--serve"]:
        return serve(*sys.argv[2:4])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--groups", default="torch,keras,mlx", help="backends, comma-separated")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds for each call")
    arguments = parser.parse_args()
    print("| backend | model | call | before | now | ratio |\n|---|---|---|---|---|---|")
    for backend in arguments.groups.split(","):
        for name in MODELS:
            for row in compared(arguments.before.resolve(), backend, name, arguments.budget):
                print("| " + " | ".join(row) + " |", flush=True)
    return None


if __name__ == "__main__":
    main()
