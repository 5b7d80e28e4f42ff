"""Models beside each other: size, cost, memory and time, with and without their Mamba layers."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.models.backend import activation_bytes, canonical, device_peak
from tcnzoo.models.calls import create, gradients, predict
from tcnzoo.specs import ActivationSpec, Spec
from tcnzoo.specs.analysis import default_length
from tcnzoo.specs.params import count
from tcnzoo.zoo.catalog import input_facts, load_spec
from tcnzoo.zoo.parse import parse_spec

MAMBA = ("mamba2", "bi_mamba2", "bi_mamba2_layer")
IDENTITY = ActivationSpec(name="linear")
WHOLE, WITHOUT = "whole", "without Mamba"
# Where Linux tells the peak of a process, and takes the order to forget it.
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One form of one model in one backend.

    Attributes:
        model: its name.
        form: `whole`, or `without Mamba`, whose Mamba layers hand on what they are given.
        backend: where it was run.
        parameters: trained values.
        macs: multiply-accumulates of one forward pass.
        activations: bytes that the backend keeps for the backward pass, parameters left out; None
            where it does not tell.
        forward_memory, training_memory: MiB by which a forward pass, or loss and gradients, raise
            the peak of a fresh process, or of the device.
        forward_seconds, training_seconds: medians over the rounds.
        forward_ratio, training_ratio: medians over the rounds of the time relative to that of the
            first model in the same form and backend.
    """

    model: str
    form: str
    backend: str
    parameters: int
    macs: int
    activations: int | None
    forward_memory: float
    training_memory: float
    forward_seconds: float
    training_seconds: float
    forward_ratio: float
    training_ratio: float


@dataclass(frozen=True)
class ComparisonTable:
    """What `compare` measured.

    Attributes:
        input_shape: (batch, channels, time).
        device: as in `create`.
        rounds: of the times.
        rows: one for each model, form and backend.
    """

    input_shape: tuple[int, int, int]
    device: str | None
    rounds: int
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def without_mamba(spec: Spec) -> Spec:
    """The same model with its Mamba layers handing on what they are given."""
    return spec.map(lambda layer: IDENTITY if layer.kind in MAMBA else layer)


def compare(
    sources: Sequence[str],
    backends: Sequence[str] = ("torch",),
    *,
    input_length: int | None = None,
    batch_size: int = 1,
    rounds: int = 5,
    device: str | None = None,
    progress: Progress | None = None,
) -> ComparisonTable:
    """Measure some models beside each other.

    The models take turns in every round, so that other load on the machine meets all of them alike.
    A training step is the loss (mean square) and the gradients of all parameters in training mode.
    Memory is measured in a process of its own for each.

    Args:
        sources: presets, spec files or checkpoint directories that take the same signal.
        backends: where they are run; all but numpy.
        input_length: time steps; default: those of the first preset, else what the first needs.
        batch_size: signals of a call.
        rounds: how often each is timed.
        device: as in `create`.
        progress: called with a line on what comes next.
    Raises:
        InputError: fewer than one round, the numpy backend, or models of different channels.
    """
    say = progress or (lambda line: None)
    names = [canonical(name) for name in backends]
    if "numpy" in names:
        raise InputError("compare takes training steps, which backend 'numpy' has not")
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, but is {rounds}")
    specs = {source: load_spec(source) for source in sources}
    shape = (batch_size, _channels(specs), input_length or _length(sources[0], specs))
    rows: list[Row] = []
    for form in (WHOLE, WITHOUT):
        forms = {
            name: spec if form == WHOLE else without_mamba(spec) for name, spec in specs.items()
        }
        if form == WITHOUT and forms == specs:
            continue
        for backend in names:
            rows += _measured(forms, form, backend, shape, rounds, device, say)
    return ComparisonTable(shape, device, rounds, tuple(rows))


def _channels(specs: dict[str, Spec]) -> int:
    """Channels of the signal that all models take."""
    odd = [name for name, spec in specs.items() if spec.signal_rank == 4 or spec.output_names]
    if odd:
        raise InputError(
            f"compare takes models of one output for signals (channels, time), but {odd[0]} is none"
        )
    widths = {name: spec.input_channels or 2 for name, spec in specs.items()}
    if len(set(widths.values())) > 1:
        text = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise InputError(f"the models must take signals of the same channels, but take {text}")
    return next(iter(widths.values()))


def _length(source: str, specs: dict[str, Spec]) -> int:
    """Time steps that the first model is meant for."""
    facts = input_facts(source)
    return facts.length if facts else default_length(specs[source])


def _signal(shape: tuple[int, int, int]) -> Array:
    """Standard normal values."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _tasks(
    spec: Spec, backend: str, shape: tuple[int, int, int], device: str | None
) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """A model with its forward pass and its training step."""
    model, x = create(spec, backend, device=device), _signal(shape)
    target = np.zeros((shape[0], *spec.output_shape(shape[1:])), dtype=np.float32)
    return model, {
        "forward": lambda: predict(model, x),
        "training": lambda: gradients(model, x, target, training=True),
    }


def _measured(
    specs: dict[str, Spec],
    form: str,
    backend: str,
    shape: tuple[int, int, int],
    rounds: int,
    device: str | None,
    say: Progress,
) -> list[Row]:
    """All models in one form and backend."""
    memory = {}
    for name, spec in specs.items():
        say(f"{backend}, {form}: memory of {name}")
        memory[name] = {
            task: _in_child(spec, backend, shape, device, task) for task in ("forward", "training")
        }
    say(f"{backend}, {form}: times")
    built = {name: _tasks(spec, backend, shape, device) for name, spec in specs.items()}
    times = {
        task: _times({name: tasks[task] for name, (_, tasks) in built.items()}, rounds)
        for task in ("forward", "training")
    }
    first = next(iter(specs))
    return [
        Row(
            model=name,
            form=form,
            backend=backend,
            parameters=count(spec.params()).trainable,
            macs=spec.macs(shape[2]) * shape[0],
            activations=activation_bytes(built[name][0], _signal(shape)),
            forward_memory=memory[name]["forward"],
            training_memory=memory[name]["training"],
            forward_seconds=statistics.median(times["forward"][name]),
            training_seconds=statistics.median(times["training"][name]),
            forward_ratio=_ratio(times["forward"], name, first),
            training_ratio=_ratio(times["training"], name, first),
        )
        for name, spec in specs.items()
    ]


def _times(tasks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each task in each round, in turns."""
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds):
        for name in list(tasks)[:: -1 if turn % 2 else 1]:
            begin = time.perf_counter()
            tasks[name]()
            times[name].append(time.perf_counter() - begin)
    return times


def _ratio(times: dict[str, list[float]], name: str, first: str) -> float:
    """Median over the rounds of the time relative to the first model's."""
    return statistics.median(a / b for a, b in zip(times[name], times[first], strict=True))


def _in_child(
    spec: Spec, backend: str, shape: tuple[int, int, int], device: str | None, task: str
) -> float:
    """MiB that a task adds to the peak of a process of its own."""
    asked = {"spec": spec.model_dump(mode="json"), "backend": backend, "shape": shape}
    done = subprocess.run(
        [sys.executable, "-m", "tcnzoo.verification.compare"],
        input=json.dumps({**asked, "device": device, "task": task}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"measuring memory failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def _growth(asked: dict[str, Any]) -> float:
    """MiB by which a task raises the peak of this process, or of the device."""
    spec, shape = parse_spec(asked["spec"]), tuple(asked["shape"])
    model, tasks = _tasks(spec, asked["backend"], shape, asked["device"])
    before = _resident(reset=True)
    tasks[asked["task"]]()
    on_device = device_peak(model)
    return (_resident() - before if on_device is None else on_device) / 2**20


def _resident(reset: bool = False) -> int:
    """Largest resident size of this process in bytes: so far, or from now on where Linux can."""
    import resource

    if reset and CLEAR.exists():
        CLEAR.write_text("5")
    if STATUS.exists():
        line = next(one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(_growth(json.load(sys.stdin)))
