"""How many functions and files of the project one call enters: what a reader has to follow.

python -m benchmarks.hops
python -m benchmarks.hops --list create mamba2 torch
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tcnzoo
from tcnzoo.models.backend import installed_backends

ROOT = Path(tcnzoo.__file__).parents[1]
ROOMS = ("tcnzoo", "backends")
MAMBA2 = {"kind": "mamba2", "channels": 64}
MODELS: dict[str, Any] = {"mamba2": MAMBA2, "tcn-base": "tcn-base"}


class Entered:
    """Functions of the project that were entered while it was the profiler, with their calls."""

    def __init__(self) -> None:
        """Begin with none."""
        self.calls: dict[tuple[str, str], int] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note the beginning of a Python function that lies in the project."""
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<"):  # neither modules nor comprehensions
            return
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
            key = str(path.relative_to(ROOT)), code.co_qualname
            self.calls[key] = self.calls.get(key, 0) + 1

    @property
    def files(self) -> set[str]:
        """Files of the functions."""
        return {file for file, _ in self.calls}


def entered_by(run: Callable[[], Any]) -> Entered:
    """Run a call that has run before, so that nothing is imported, and note what it enters."""
    run()
    entered = Entered()
    sys.setprofile(entered)
    try:
        run()
    finally:
        sys.setprofile(None)
    return entered


def measured(call: str, model: str, backend: str) -> Entered:
    """What `create` or `predict` of a model enters in a backend."""
    spec = MODELS[model]
    if call == "create":
        return entered_by(lambda: tcnzoo.create(spec, backend=backend))
    net = tcnzoo.create(spec, backend=backend)
    shape = (2, *net.tcnzoo.spec.signal_shape(64))
    signal = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return entered_by(lambda: tcnzoo.predict(net, signal))


def main() -> None:
    """Print the table, or the functions of one row of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", nargs=3, metavar=("CALL", "MODEL", "BACKEND"))
    arguments = parser.parse_args()
    console = Console(width=100)
    if arguments.list:
        for (file, name), calls in sorted(measured(*arguments.list).calls.items()):
            console.print(f"{calls:5d}  {file}: {name}", markup=False, highlight=False)
        return
    table = Table("model", "backend", "call", "functions", "files", "calls")
    for model in MODELS:
        for backend in installed_backends():
            for call in ("create", "predict"):
                entered = measured(call, model, backend)
                counts = len(entered.calls), len(entered.files), sum(entered.calls.values())
                table.add_row(model, backend, call, *map(str, counts))
    console.print(table)


if __name__ == "__main__":
    main()
