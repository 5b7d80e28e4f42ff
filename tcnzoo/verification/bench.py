"""How long a forward pass and a streaming step take in each backend, measured side by side."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.engines import recorded
from tcnzoo.errors import InputError
from tcnzoo.models.backend import canonical, installed_backends
from tcnzoo.models.calls import create, init_state, predict, step
from tcnzoo.specs import Spec
from tcnzoo.specs.analysis import default_length
from tcnzoo.verification.measured_engines import engines_text

# Calls that are not counted: a backend may compile a step only once its kind has come again.
WARM_UP = 4

Progress = Callable[[str], None]
Task = Callable[[], Any]


@dataclass(frozen=True)
class BenchRow:
    """One task in one backend.

    Attributes:
        task: `forward`, or `step n`, a streaming step of n samples.
        milliseconds: median over the rounds.
        fastest, slowest: of the rounds, in milliseconds.
        samples_per_second: input samples that the median time stands for.
        engines: that the model took for the task, as text; empty where there was no choice.
    """

    task: str
    backend: str
    milliseconds: float
    fastest: float
    slowest: float
    samples_per_second: float
    engines: str = ""


def bench(
    spec: Spec,
    backends: Sequence[str] | None = None,
    *,
    input_length: int | None = None,
    chunks: Sequence[int] = (1, 16, 256),
    rounds: int = 7,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[BenchRow]:
    """Time backends in turns, so that other load on the machine meets all of them alike.

    Times are those of `tcnzoo.predict` and `tcnzoo.step` with numpy arrays, batch size 1, initial
    weights of seed 0, after a few calls that are not counted.

    Args:
        spec: a model without embeddings.
        backends: default: all that are installed.
        input_length: time steps of the forward pass; default: what the model needs and sees.
        chunks: time steps of the streaming steps; left out where the model cannot stream.
        rounds: calls of each backend; every second one goes through the backends backwards.
        device: as in `create`.
        progress: called with a line on what comes next.
    Raises:
        InputError: a model with embeddings, or fewer than one round.
    """
    if spec.embedding_specs:
        raise InputError("bench takes models without embeddings")
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, but is {rounds}")
    say = progress or (lambda line: None)
    length = input_length or default_length(spec)
    names = list(map(canonical, installed_backends() if backends is None else backends))
    models = {}
    for name in names:
        say(f"building {name}")
        models[name] = create(spec, name, device=device)
    signal = np.random.Generator(np.random.PCG64(0)).standard_normal(
        (1, *spec.signal_shape(length)), dtype=np.float32
    )
    tasks = {name: _forward(model, signal) for name, model in models.items()}
    measured = _rounds("forward", length, tasks, rounds, say)
    if spec.streaming_blocker() is None:
        for size in chunks:
            chunk = np.resize(signal, (*signal.shape[:-1], size))
            tasks = {name: _step(model, chunk) for name, model in models.items()}
            measured += _rounds(f"step {size}", size, tasks, rounds, say)
    return measured


def _forward(model: Any, x: Array) -> Task:
    """A forward pass."""
    return lambda: predict(model, x)


def _step(model: Any, chunk: Array) -> Task:
    """A streaming step that goes on from the one before."""
    states = [init_state(model, chunk.shape[0])]

    def task() -> None:
        states[0] = step(model, chunk, states[0])[1]

    return task


def _rounds(
    label: str, samples: int, tasks: dict[str, Task], rounds: int, say: Progress
) -> list[BenchRow]:
    """Time tasks in turns."""
    say(label)
    engines = {}
    for name, task in tasks.items():
        with recorded() as choices:
            for _ in range(WARM_UP):
                task()
        engines[name] = engines_text(choices.values())
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds):
        for name in list(tasks)[:: -1 if turn % 2 else 1]:
            begin = time.perf_counter()
            tasks[name]()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return [
        replace(_row(label, name, seconds, samples), engines=engines[name])
        for name, seconds in times.items()
    ]


def _row(label: str, name: str, times: list[float], samples: int) -> BenchRow:
    """Summarise the rounds of one backend."""
    median = statistics.median(times)
    return BenchRow(label, name, median, min(times), max(times), 1e3 * samples / median)
