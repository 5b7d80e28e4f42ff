"""Training steps of the loop beside loops by hand: batch 16, 1024 steps, AdamW, clipping."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from benchmarks import nets
from benchmarks.nets import INPUTS, KERNEL, NETS, Net
from benchmarks.timing import Result, interleaved
from tcnzoo.models.backend import get_backend
from tcnzoo.training import load_config
from tcnzoo.training.batches import Batches
from tcnzoo.training.data import load
from tcnzoo.training.logs import open_logs
from tcnzoo.training.loop import Loop
from tcnzoo.training.progress import Progress
from tcnzoo.training.run_directory import RunDirectory
from tcnzoo.training.stepper import Plan, SingleProcess

BATCH, LENGTH = 16, 1024
CLIP, RATE = 1.0, 1e-3
# Steps of one measurement: `model.fit` makes its pipeline anew each time.
STEPS = 16
NET = NETS["narrow [64]*8"]

Run1 = Callable[[], object]


def arrays(net: Net) -> dict[str, Any]:
    """A few batches of noise and of targets like the output."""
    generator = np.random.default_rng(0)
    shape = (BATCH * STEPS, net.channels[-1], LENGTH)
    x = generator.standard_normal((BATCH * STEPS, INPUTS, LENGTH)).astype(np.float32)
    return {"x": x, "y": generator.standard_normal(shape).astype(np.float32)}


class Paced:
    """A stepper whose steps are let through one at a time, so that a loop can take turns."""

    def __init__(self, stepper: Any) -> None:
        """Wrap a stepper."""
        self.stepper, self.world = stepper, SingleProcess()
        self.arrived, self.passes = threading.Semaphore(0), threading.Semaphore(0)

    def step(self, batches: Sequence[Any], rate: float, seed: int) -> Mapping[str, Any]:
        """Wait for a turn, and take it."""
        self.arrived.release()
        self.passes.acquire()
        found: Mapping[str, Any] = self.stepper.step(batches, rate, seed)
        return found

    def turn(self) -> None:
        """Let one step through, and wait until the loop comes with the next."""
        self.passes.release()
        self.arrived.acquire()


def steps_in_the_loop(net: Net, backend: str, norm: str | None, folder: Path) -> tuple[Run1, Run1]:
    """STEPS steps of our loop, and as many of its stepper alone on a batch that is there."""
    held = arrays(net)
    np.savez(folder / "data.npz", **held)
    config = load_config(
        {
            "model": net.spec(norm),
            "backend": backend,
            "data": {"kind": "arrays", "path": str(folder / "data.npz"), "batch_size": BATCH},
            "losses": ["mse"],
            "training": {"steps": 10**9, "clip_norm": CLIP, "checkpoint": {"every": 10**9}},
            "output": str(folder / backend),
        },
        **{"data.split": {"by": "example", "val": 0.0, "test": 0.0}},
        **{"training.evaluate_every": 10**9},
    )
    model = tcnzoo.create(config.spec, backend)
    plan = Plan(config.optimizer, config.losses, CLIP)
    stepper = get_backend(backend).stepper(model, plan)  # type: ignore[attr-defined]
    paced = Paced(stepper)
    batches = Batches(load(config.data, 0)["train"], config.data, 0, 1, paced.world)
    directory = RunDirectory(config)
    directory.begin(config, {})
    logs = open_logs(("jsonl",), directory.folder, 0)
    loop = Loop(config, directory, model, paced, batches, None, Progress(), None, logs)  # type: ignore[arg-type]
    threading.Thread(target=loop.run, daemon=True).start()
    paced.arrived.acquire()
    batch = {name: array[:BATCH] for name, array in held.items()}

    def turns() -> None:
        for _ in range(STEPS):
            paced.turn()

    def alone() -> None:
        for seed in range(STEPS):
            float(stepper.step([batch], RATE, seed)["loss"])

    return turns, alone


def torch_by_hand(net: Net) -> Run1:
    """A loop over pytorch-tcn as one would write it."""
    import torch

    model = nets.pytorch_tcn(net, None).train()
    held = arrays(net)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)

    def run() -> None:
        for start in range(0, BATCH * STEPS, BATCH):
            x, y = (torch.from_numpy(one[start : start + BATCH]) for one in held.values())
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            loss.item()

    return run


def keras_stack(net: Net) -> Any:
    """The network of `net.spec(None)` by Keras alone."""
    import keras

    signal = y = keras.Input((LENGTH, INPUTS))
    width = INPUTS
    for channels, dilation in zip(net.channels, net.dilations, strict=True):
        inner = y
        for _ in range(2):
            conv = keras.layers.Conv1D(
                channels, KERNEL, dilation_rate=dilation, padding="causal", activation="relu"
            )
            inner = conv(inner)
        same = y if width == channels else keras.layers.Conv1D(channels, 1)(y)
        y, width = keras.layers.ReLU()(keras.layers.Add()([same, inner])), channels
    return keras.Model(signal, y)


def keras_fit(net: Net) -> Run1:
    """`model.fit` on a plain Keras stack."""
    import keras

    held = {name: np.ascontiguousarray(one.swapaxes(1, 2)) for name, one in arrays(net).items()}
    model = keras_stack(net)
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=0.01, global_clipnorm=CLIP)
    model.compile(optimizer=optimizer, loss="mse")
    return lambda: model.fit(held["x"], held["y"], batch_size=BATCH, epochs=1, verbose=0)


def training_group(device: str | None, budget: float) -> Iterator[Result]:
    """The loop beside loops by hand, on the CPU, and beside its own steps without it."""
    import torch

    threads = torch.get_num_threads()
    note = f"batch {BATCH}, {LENGTH} steps, AdamW"
    for backend, norm, peer, make in (
        ("torch", "weight_norm", "pytorch-tcn, loop by hand", torch_by_hand),
        ("keras", None, "plain Keras, model.fit", keras_fit),
    ):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            turns, alone = steps_in_the_loop(NET, backend, norm, Path(folder))
            contenders = {
                peer: make(NET),
                f"tcnzoo {backend}, its loop": turns,
                f"tcnzoo {backend}, steps alone": alone,
            }
            seconds, ratio, rounds = interleaved(contenders, budget=budget)
            seconds = {name: one / STEPS for name, one in seconds.items()}
            yield Result(
                NET.name, "training step", device or "cpu", seconds, ratio, rounds, threads, note
            )
