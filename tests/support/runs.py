"""Small training runs: data, a model with all that has state, and a stepper of no framework."""

import json

import numpy as np

import tcnzoo
from tcnzoo.models.backend import handle_of
from tcnzoo.training import load_config
from tcnzoo.training.logs import METRICS, read_lines
from tcnzoo.training.stepper import Stepper

CHANNELS, STEPS, EXAMPLES = 3, 20, 52
SPEC = {
    "kind": "sequential",
    "layers": {
        "tcn": {
            "kind": "tcn",
            "in_channels": CHANNELS,
            "channels": [5, 4],
            "kernel_size": 3,
            "norm": "batch_norm",
            "dropout": 0.2,
        },
        "pool": {"kind": "pool"},
        "head": {"kind": "dense", "in_features": 4, "out_features": 2},
    },
}


def write_data(folder, examples=EXAMPLES):
    """A file of two classes that a model can tell apart; returns its path."""
    generator = np.random.default_rng(7)
    y = generator.integers(0, 2, examples)
    x = generator.standard_normal((examples, CHANNELS, STEPS)).astype(np.float32)
    x[y == 1, 0] += np.sin(np.arange(STEPS)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=y)
    return folder / "data.npz"


def document_of(folder, **changes):
    """A configuration over `write_data`: 40 examples to train on, in 6 steps an epoch."""
    path = folder / "data.npz"
    if not path.exists():
        write_data(folder)
    return {
        "model": SPEC,
        "backend": "numpy",
        "seed": 3,
        "data": {
            "kind": "arrays",
            "path": str(path),
            "batch_size": 7,
            "split": {"by": "example", "val": 0.23, "test": 0.0},
        },
        "losses": ["cross_entropy"],
        "optimizer": {"kind": "adamw", "lr": 0.01},
        "training": {"epochs": 3, "log_every": 1},
        "output": str(folder / "run"),
        "loggers": "jsonl",
        **changes,
    }


def config_of(folder, *, training=(), **changes):
    """The same as a TrainConfig, with fields of `training` changed."""
    document = document_of(folder, **changes)
    document["training"] |= dict(training)
    return load_config(document)


def losses_of(folder):
    """The training loss of each step that a run has logged, by its number."""
    lines = read_lines(folder / METRICS)
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}


def plain_lines(folder):
    """What a run has logged."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


class PlainStepper(Stepper):
    """Training without derivatives: weights and moments follow from batches, rate and seed.

    Every number that a real step depends on changes what comes after it, so that a run that was not
    resumed exactly ends elsewhere.
    """

    def __init__(self, model, plan):
        self.model, self.plan = model, plan
        self.frozen = plan.frozen
        table = handle_of(model).params
        self.moments = {name: np.zeros(param.shape, np.float32) for name, param in table.items()}
        self.count = 0
        self.calls = []

    def step(self, batches, rate, seed):
        pull = sum(float(batch["x"].sum() + batch["y"].sum()) for batch in batches)
        pull += (seed % 1000) / 1000
        weights = tcnzoo.get_weights(self.model)
        for name, moment in self.moments.items():
            if name not in self.frozen:
                moment *= np.float32(0.9)
                moment += np.float32(np.sin(pull))
                weights[name] = weights[name] * np.float32(0.99) + np.float32(rate) * moment
        tcnzoo.set_weights(self.model, weights)
        self.count += 1
        self.calls.append({"rate": rate, "seed": seed, "frozen": self.frozen, "batches": batches})
        return {"loss": self.loss(), "cross_entropy": 1.0, "gradient_norm": 1.0}

    def loss(self):
        return float(np.cos(tcnzoo.get_weights(self.model)["head.bias"]).sum()) + 2.0

    def evaluate(self, batch):
        return {"loss": self.loss(), "cross_entropy": 1.0}, np.zeros((len(batch["x"]), 2))

    def freeze(self, names):
        self.frozen = names

    def state(self):
        return {"step": np.array(self.count), **{f"m.{k}": v for k, v in self.moments.items()}}

    def load_state(self, state):
        self.count = int(state["step"])
        self.moments = {name: np.array(state[f"m.{name}"]) for name in self.moments}
