"""Streams that last: `python -m benchmarks.soak [--backends numpy,torch,mlx] [--results NAME]`.

For each backend, of a model with a cumulative mean:

- 10^7 steps in ragged chunks: error of the mean against float64, memory and time a chunk;
- one-sample steps from a state that is set forward to 2^24, 2^26, 2^27 and 2^31 steps;
- eight threads that go on from one state, 10,000 steps in all, also with training beside them.
"""

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from benchmarks.run import machine
from tcnzoo.arrays import to_numpy
from tcnzoo.models.backend import get_backend

RESULTS = Path(__file__).parent / "results"
CHANNELS, LEVEL = 4, 3.0
SPEC = {"kind": "squeeze_excitation", "channels": CHANNELS, "pool": "cumulative", "reduction": 2}
TCN = {
    "kind": "tcn",
    "in_channels": CHANNELS,
    "channels": [16, 16],
    "kernel_size": 5,
    "norm": None,
    "dropout": 0.3,
}
STEPS = 10**7
FORWARD = (2**24, 2**26, 2**27, 2**31)
LONGEST = 20_000
THREADS = 8


def mean_of(state: Any) -> np.ndarray[Any, Any]:
    """The mean that a state stands for, (batch, channels), in float64."""
    parts = [to_numpy(state[name]).astype(np.float64) for name in ("mean", "mean_low")]
    return parts[0] + parts[1]


def ragged(steps: int, seed: int = 0) -> Iterator[int]:
    """Chunk lengths from 1 to LONGEST that add up to `steps`; half of them are short."""
    generator = np.random.default_rng(seed)
    while steps:
        longest = LONGEST if generator.random() < 0.5 else 64
        length = min(int(generator.integers(1, longest + 1)), steps)
        yield length
        steps -= length


def peak_mib() -> float:
    """Largest resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def soak(backend: str, steps: int = STEPS) -> dict[str, Any]:
    """Feed noise around LEVEL in ragged chunks.

    Returns:
        Largest error of the mean against float64; of the first and last tenth of the stream the
        time a step in long chunks, in ns; and the growth of memory after the first tenth, in MiB.
    """
    model = tcnzoo.create(SPEC, backend, seed=1)
    state, generator = tcnzoo.init_state(model), np.random.default_rng(1)
    total, came, worst, memory = np.zeros((1, CHANNELS)), 0, 0.0, 0.0
    taken: dict[bool, list[float]] = {True: [], False: []}
    for length in ragged(steps):
        x = generator.standard_normal((1, CHANNELS, length)).astype(np.float32) + np.float32(LEVEL)
        begin = time.perf_counter()
        _, state = tcnzoo.step(model, x, state)
        seconds = time.perf_counter() - begin
        came += length
        total += x.sum(axis=2, dtype=np.float64)
        worst = max(worst, float(np.abs(mean_of(state) - total / came).max()))
        first, last = came < steps / 10, came > steps * 0.9
        if length > LONGEST / 2 and (first or last):
            taken[first].append(seconds / length * 1e9)
        if first:
            memory = peak_mib()
    return {
        "steps": steps,
        "error": worst,
        "ns_first": float(np.median(taken[True])),
        "ns_last": float(np.median(taken[False])),
        "growth_mib": peak_mib() - memory,
    }


def set_forward(backend: str, count: int, steps: int = 500) -> float:
    """Error of the mean after one-sample steps of 2.3 from a mean of 1 over `count` steps."""
    model = tcnzoo.create(SPEC, backend, seed=1)
    _, state = tcnzoo.step(model, np.ones((1, CHANNELS, 1)), tcnzoo.init_state(model))
    state = {**state, "count": np.asarray(count, dtype=np.int64)}
    x = np.full((1, CHANNELS, 1), 2.3, dtype=np.float32)
    worst = 0.0
    for step in range(1, steps + 1):
        _, state = tcnzoo.step(model, x, state)
        exact = (count + step * float(x[0, 0, 0])) / (count + step)
        worst = max(worst, float(np.abs(mean_of(state) - exact).max()))
    return worst


def threads(backend: str, steps: int = 10_000, training: bool = False) -> dict[str, int]:
    """Eight threads continue one state, each with a signal of its own, one sample at a time.

    Args:
        backend: any; `torch` with `training`.
        steps: of all threads together.
        training: whether a ninth thread trains the model meanwhile, with a rate of 0, so that what
            is right does not change.
    Returns:
        Steps with a right output, with a wrong one, and refused with an error of tcnzoo.
    """
    model = tcnzoo.create(TCN, backend, seed=0)
    length = steps // THREADS
    x = np.random.default_rng(0).standard_normal((THREADS, CHANNELS, 3 + length))
    _, state = tcnzoo.step(model, x[:1, :, :3], tcnzoo.init_state(model))
    right = np.concatenate(
        [tcnzoo.step(model, row[None, :, 3:], state)[0] for row in x.astype(np.float32)]
    )
    counts = {"right": 0, "wrong": 0, "refused": 0}
    lock, stop, gate = threading.Lock(), threading.Event(), threading.Barrier(THREADS)

    def go(row: int) -> None:
        own, outcomes = state, []
        gate.wait()
        for place in range(length):
            chunk = x[row : row + 1, :, 3 + place : 4 + place]
            while True:
                try:
                    y, own = tcnzoo.step(model, chunk, own)
                    break
                except tcnzoo.InputError:
                    outcomes.append("refused")
            near = np.abs(y[0, :, 0] - right[row, :, place]).max() < 1e-4
            outcomes.append("right" if near else "wrong")
        with lock:
            for outcome in outcomes:
                counts[outcome] += 1

    crew = [threading.Thread(target=go, args=(row,)) for row in range(THREADS)]
    trained = threading.Event()
    trainer = threading.Thread(target=_train, args=(model, trained, stop)) if training else None
    if trainer:
        trainer.start()
        trained.wait()
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    stop.set()
    if trainer:
        trainer.join()
    return counts


def _train(model: Any, trained: threading.Event, stop: threading.Event) -> None:
    """Train a torch model with a rate of 0, and now and then rest in evaluation mode."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(2, CHANNELS, 50)
    while not stop.is_set():
        model.train()
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            trained.set()
            time.sleep(0.002)
        model.eval()
        time.sleep(0.005)


def measured(backend: str) -> dict[str, Any]:
    """All of the soak for one backend."""
    found: dict[str, Any] = {"stream": soak(backend)}
    found["set_forward"] = {str(count): set_forward(backend, count) for count in FORWARD}
    found["threads"] = threads(backend)
    if backend == "torch":
        found["threads_training"] = threads(backend, training=True)
    return found


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Soak",
        "",
        f"{found['machine']}; {found['versions']}; `python -m benchmarks.soak`.",
        "",
        f"A cumulative mean of noise around {LEVEL}, {STEPS:,} steps in ragged chunks of 1 to "
        f"{LONGEST:,}: largest error against float64, time a step (first and last tenth), memory "
        "that came after the first tenth. Set forward: the same error after 500 one-sample steps.",
        "",
        "| backend | error | ns a step, first and last | MiB more | set forward | threads | "
        "with training |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found["backends"].items():
        one = row["stream"]
        ahead = ", ".join(f"{int(k):,}: {v:.1e}" for k, v in row["set_forward"].items())
        lines.append(
            f"| {name} | {one['error']:.1e} | {one['ns_first']:.0f}, {one['ns_last']:.0f} | "
            f"{one['growth_mib']:.0f} | {ahead} | {_told(row['threads'])} | "
            f"{_told(row.get('threads_training'))} |"
        )
    return "\n".join([*lines, ""])


def _told(counts: dict[str, int] | None) -> str:
    """Outcomes of steps in words."""
    return "" if counts is None else ", ".join(f"{n:,} {name}" for name, n in counts.items())


def main() -> None:
    """Measure and write results/NAME.json and NAME.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="numpy,torch,mlx")
    parser.add_argument("--results", default="soak")
    parser.add_argument("--machine", default=machine(None)["name"])
    chosen = parser.parse_args()
    rows = {name: measured(name) for name in chosen.backends.split(",")}
    versions = {k: v for name in rows for k, v in get_backend(name).info().versions.items()}
    told = ", ".join(f"{package} {version}" for package, version in versions.items())
    found = {"machine": chosen.machine, "versions": told, "backends": rows}
    (RESULTS / f"{chosen.results}.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / f"{chosen.results}.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
