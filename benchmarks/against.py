"""Another checkout of tcnzoo beside this one: the same calls in turn, in one process of each.

    python -m benchmarks.against ../tcnzoo-before --groups torch,keras,mlx

Both run the public calls only. A round times one call after the other, in changing order, so that
other work on the machine meets both; a ratio is the median over rounds. Above 1 is slower.

`--lines` measures what this version promises against the one before instead: many streams at once,
gated steps, Viterbi paths, and the commands `stream` and `describe` from start to end. Its ratios
are times as fast. Every process runs on one thread.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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
# What `--lines` measures in a process of each checkout: (backend, name, call).
LINES = (
    ("torch", "64 streams", "step of 1"),
    ("torch", "64 streams", "step of 16"),
    ("torch", "tcn-se-gated", "step of 1"),
    ("numpy", "hsmm 50", "viterbi"),
    ("numpy", "hsmm 200", "viterbi"),
)
WIDE = {**NARROW, "in_channels": 19, "kernel_size": 7, "dropout": 0.0}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Bytecode is kept, as for every user, or compiling the sources would be most of a start.
BYTECODE = "PYTHONDONTWRITEBYTECODE"
HOUR = 3600  # seconds


def calls_of(backend: str, name: str) -> dict[str, Callable[[], Any]]:
    """What is timed of a model: each call once."""
    import numpy as np

    import tcnzoo

    if (backend, name) in {line[:2] for line in LINES}:
        return line_calls(backend, name)
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


def line_calls(backend: str, name: str) -> dict[str, Callable[[], Any]]:
    """The calls of one model of LINES."""
    import numpy as np

    import tcnzoo

    noise = np.random.default_rng(0)
    if name.startswith("hsmm"):
        import tcnzoo.hsmm

        reach = int(name.split()[1])
        model = tcnzoo.create(
            {"kind": "hsmm", "states": 10, "max_duration": reach, "emission": "none"},
            backend,
            dtype="float64",
        )
        scores = noise.standard_normal((16, 10, 1000))
        return {"viterbi": lambda: tcnzoo.hsmm.viterbi(model, scores)}
    streams = 64 if name == "64 streams" else 1
    model = tcnzoo.create(WIDE if streams > 1 else name, backend=backend)
    calls = {}
    for steps in (1, 16):
        shape = (streams, model.tcnzoo.spec.input_channels, steps)
        x = noise.standard_normal(shape).astype(np.float32)
        states = [tcnzoo.init_state(model, streams)]

        def step(x: Any = x, states: list[Any] = states) -> None:
            states[0] = tcnzoo.step(model, x, states[0])[1]

        calls[f"step of {steps}"] = step
    return calls


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

    def __init__(
        self, root: Path, backend: str, name: str, more: dict[str, str] | None = None
    ) -> None:
        """Start it, with more in its environment; wait until it has compiled what is timed."""
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", backend, name],
            env={**os.environ, **QUIET, **(more or {}), "PYTHONPATH": str(root)},
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


def in_turns(pair: list[Checkout], call: str, budget: float) -> list[tuple[float, float]]:
    """Seconds of one call in each round: (before, now)."""
    # Each so often that a round takes 50 ms, as one may be 100 times as fast as the other.
    times = [max(1, int(0.05 / process.seconds(call, 2))) for process in pair]
    rounds: list[tuple[float, float]] = []
    end = time.perf_counter() + budget
    while len(rounds) < 7 or time.perf_counter() < end:
        order = (0, 1) if len(rounds) % 2 else (1, 0)
        timed = {index: pair[index].seconds(call, times[index]) for index in order}
        rounds.append((timed[0], timed[1]))
    return rounds


def lines(before: Path, budget: float) -> Iterator[tuple[str, ...]]:
    """Rows of `--lines`: line, before, now, times as fast."""
    for backend, name in dict.fromkeys(line[:2] for line in LINES):
        pair = [Checkout(root, backend, name, ONE_THREAD) for root in (before, HERE)]
        for call in [line[2] for line in LINES if line[:2] == (backend, name)]:
            yield row(f"{name}, {call}, {backend}", in_turns(pair, call, budget))
        for process in pair:
            process.close()
    with tempfile.TemporaryDirectory() as folder:
        yield row(
            "tcnzoo describe tcn-base, CPU time",
            commands(before, ["describe", "tcn-base"], Path(folder), rounds=10, cpu=True),
        )
        recording, net = Path(folder) / "hour.edf", Path(folder) / "net"
        write_hour(recording, net)
        words = ["stream", str(net), "--input", str(recording), "--chunk", "256", "--json"]
        rounds = commands(before, words, Path(folder), rounds=3, cpu=False)
        yield row("tcnzoo stream --chunk 256, 1 h of 19 channels, seizure-stream", rounds)


def row(line: str, rounds: list[tuple[float, float]]) -> tuple[str, ...]:
    """Medians of the rounds as text."""
    old, new = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(earlier / after for earlier, after in rounds)
    return line, in_words(old), in_words(new), f"{ratio:.2f}x"


def in_words(seconds: float) -> str:
    """A time with its unit."""
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"


def commands(
    before: Path, words: list[str], folder: Path, *, rounds: int, cpu: bool
) -> list[tuple[float, float]]:
    """Seconds that a command takes in both checkouts, in each round after one that is not counted.

    Args:
        before: the other checkout.
        words: of the command line.
        folder: where bytecode is kept.
        rounds: to count.
        cpu: whether to count the processor's time instead of the clock's.
    """
    environment = {name: text for name, text in os.environ.items() if name != BYTECODE}
    environment |= {**QUIET, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    seconds = []
    for count in range(rounds + 1):
        timed = {}
        for root in (before, HERE) if count % 2 else (HERE, before):
            start, used = time.perf_counter(), children_seconds()
            subprocess.run(
                [sys.executable, "-m", "tcnzoo", *words],
                cwd=root, env=environment, stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            clock = time.perf_counter() - start
            timed[root] = children_seconds() - used if cpu else clock
        seconds.append((timed[before], timed[HERE]))
    return seconds[1:]


def children_seconds() -> float:
    """Processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_hour(recording: Path, net: Path) -> None:
    """Write an hour of noise at 256 Hz in the 19 electrodes, and a net with initial weights."""
    import edfio
    import numpy as np

    import tcnzoo
    from tcnzoo.eeg import TEN_TWENTY

    noise = np.random.default_rng(0).normal(0.0, 30.0, (len(TEN_TWENTY), HOUR * 256))
    signals = [
        edfio.EdfSignal(row, 256, label=name, physical_dimension="uV", physical_range=(-400, 400))
        for name, row in zip(TEN_TWENTY, np.clip(noise, -399, 399), strict=True)
    ]
    edfio.Edf(signals).write(recording)
    tcnzoo.save(tcnzoo.create("seizure-stream", "numpy"), net)


def compared(before: Path, backend: str, name: str, budget: float) -> list[tuple[str, ...]]:
    """Rows of one model in one backend: call, seconds before, seconds now, ratio."""
    pair = [Checkout(before, backend, name), Checkout(HERE, backend, name)]
    rows = []
    for call in pair[0].calls:
        rounds = in_turns(pair, call, budget)
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
    parser.add_argument("--lines", action="store_true", help="what is promised, not all calls")
    arguments = parser.parse_args()
    if arguments.lines:
        from tcnzoo.engines import processor  # a process that serves a checkout has its own tcnzoo

        print(f"{processor()}\n\n| line | before | now | times as fast |\n|---|---|---|---|")
        for line in lines(arguments.before.resolve(), arguments.budget):
            print("| " + " | ".join(line) + " |", flush=True)
        return None
    print("| backend | model | call | before | now | ratio |\n|---|---|---|---|---|---|")
    for backend in arguments.groups.split(","):
        for name in MODELS:
            for row in compared(arguments.before.resolve(), backend, name, arguments.budget):
                print("| " + " | ".join(row) + " |", flush=True)
    return None


if __name__ == "__main__":
    main()
