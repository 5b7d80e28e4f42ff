"""The commands by name; the file of one is imported when it runs, and none for `tcnzoo --help`."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tcnzoo.cli.console import sentences

# By name: the function below `tcnzoo.cli`, and the first paragraph of its docstring.
COMMANDS = {
    "list": (
        "models.list_models",
        "List the presets: what they are, how large, and for which signal.",
    ),
    "describe": (
        "models.describe",
        "Tabulate a model: shapes, parameters, multiply-accumulates, receptive field, latency.",
    ),
    "init": (
        "models.init",
        "Write a checkpoint directory with initial weights; no framework is needed.",
    ),
    "convert": (
        "checkpoints.convert",
        "Convert a checkpoint between frameworks and libraries; every tensor keeps its bits.",
    ),
    "inspect": (
        "checkpoints.inspect",
        "Tell what a checkpoint is: format, model, and what becomes of each tensor.",
    ),
    "export": (
        "exports.export",
        "Write a model for another runtime, run it there, and compare; exit with 1 if it differs.",
    ),
    "train": ("train.train", "Train a model as a configuration says, or go on with a run."),
    "cross-validate": (
        "cross_validate.cross_validate",
        "Train a model for each fold of the groups, and bring their test scores together.",
    ),
    "curves": (
        "curves.curves",
        "Tell how far the curves of runs part from those of the first, and draw them.",
    ),
    "simulate": (
        "simulate.simulate",
        "Make wrist events (seizure, walking, tooth-brushing, rest) in the OSD formats.",
    ),
    "segment": (
        "behaviour.segment",
        "Cut a recording into segments of lasting states, and draw them.",
    ),
    "demo-behaviour": (
        "behaviour.demo_behaviour",
        "Train codes, clusters and states on simulated bouts, and cut an unseen recording.",
    ),
    "parity": (
        "checks.parity",
        "Compare backends with the float64 reference; exit with 1 if one differs beyond tolerance.",
    ),
    "predict": ("run.predict", "Run a checkpoint on a recording, all of it at once."),
    "stream": (
        "run.stream",
        "Run a checkpoint on a recording chunk by chunk, as it would come in.",
    ),
    "detect": (
        "eeg.detect",
        "Find the seizures in an EEG recording, and score them where the truth is known.",
    ),
    "bench": ("checks.bench", "Time a forward pass and streaming steps in each backend, in turns."),
    "compare": (
        "checks.compare",
        "Measure models beside each other: size, cost, memory, time; with and without Mamba "
        "layers.",
    ),
    "doctor": (
        "checks.doctor",
        "Tell what is installed, whether it computes and what is slow; clean up killed writes.",
    ),
    "demo": (
        "demonstration.demo",
        "Take a pytorch-tcn checkpoint through every backend, check every number, draw one figure.",
    ),
}

# What the libraries of every backend read when they are imported. Steps of a stream are too small
# for two threads: on a busy machine the second one makes a chunk 30 times slower.
ONE_THREAD = (
    "OMP_NUM_THREADS",  # torch, and the matrix products of numpy and MLX
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class Later(TyperCommand):
    """A command whose options are not known before its file is imported."""

    def __init__(self, name: str, function: str, summary: str) -> None:
        """Name it; arguments as in COMMANDS."""
        super().__init__(name=name, help=summary)
        self._function = function

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the command line by the options of the function: its context has the command."""
        if self.name == "stream" and "numpy" not in sys.modules:
            for variable in ONE_THREAD:
                os.environ.setdefault(variable, "1")
        return self.imported().make_context(*args, **options)

    def imported(self) -> Any:
        """The command with its options."""
        module, _, name = self._function.partition(".")
        alone = typer.Typer(add_completion=False)
        with _no_collection():
            alone.command(self.name)(getattr(import_module(f"tcnzoo.cli.{module}"), name))
        return typer.main.get_command(alone)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage in the block: imports make many objects that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Commands(TyperGroup):
    """The group of commands: expected errors end in one sentence and an exit code."""

    def __init__(self, **options: Any) -> None:
        """Hold every command of COMMANDS."""
        super().__init__(**options)
        for name, (function, summary) in COMMANDS.items():
            self.add_command(Later(name, function, summary))

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with sentences():
            return super().invoke(ctx)
