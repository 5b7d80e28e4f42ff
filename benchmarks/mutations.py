"""Break one term of one kind of block in one backend, and see a test of that kind fail.

python -m benchmarks.mutations
python -m benchmarks.mutations --kind conv1d --backend torch

A mutant lives in the memory of one pytest process: this file is also the plugin that breaks a kind
while a test of its cases runs. What the table calls `survived` is a hole in the tests of kinds; the
exit status is then 1.
"""

import argparse
import contextlib
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

import tcnzoo
from tcnzoo.models.backend import get_backend, installed_backends
from tests.support.kinds import (
    CASES,
    gradient_obstacle,
    parts_of_kind,
    proved_kind,
    registered_kinds,
    twice,
)

TESTS = "tests/parity/test_kinds.py"
# What the pytest process is to do, as JSON: mutation, backends, kinds, report.
SETTING = "TCNZOO_MUTANT"
# All backends at once: only an answer that is none of theirs can show it.
TOGETHER = "all together"

# --- Mutations: with one of them, a kind is broken in a backend -----------------------------------


@contextlib.contextmanager
def _replaced(owner: Any, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Put what `change` makes of an attribute in its place, for a while."""
    own, true = name in vars(owner), getattr(owner, name)
    setattr(owner, name, change(true))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, true)
        else:
            delattr(owner, name)


def _broken_forward(
    backend: str, kind: str, broken: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    """Have `broken(block, forward, *args, **inputs)` run for every block of a kind."""

    def change(true: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(true)  # Keras reads the signature
        def forward(block: Any, *args: Any, **inputs: Any) -> Any:
            run = functools.partial(true, block)
            if block.spec.kind == kind:  # several kinds may have one class
                return broken(block, run, *args, **inputs)
            return run(*args, **inputs)

        return forward

    blocks = vars(get_backend(backend))["BLOCKS"]
    return _replaced(blocks[kind], "call" if backend == "keras" else "forward", change)


def doubled(backend: str, kind: str) -> contextlib.AbstractContextManager[None]:
    """The output is twice as large."""
    return _broken_forward(
        backend, kind, lambda block, run, *args, **inputs: twice(run(*args, **inputs))
    )


def dropped(backend: str, kind: str) -> contextlib.AbstractContextManager[None]:
    """The last of the block's own arrays, such as its bias, is zero."""
    return _broken_array(backend, kind, _last_array, lambda array: array * 0)


def halved(backend: str, kind: str) -> contextlib.AbstractContextManager[None]:
    """The block's first weight gets half of its gradient; the input, of a kind without weights."""
    halve = functools.partial(_half_detached, backend)
    if any(_first_weight(part) for _, part in parts_of_kind(kind)):
        return _broken_array(backend, kind, _first_weight, halve)
    return _broken_forward(
        backend, kind, lambda block, run, *args, **inputs: halve(run(*args, **inputs))
    )


def forgotten(backend: str, kind: str) -> contextlib.AbstractContextManager[None]:
    """Every streaming step finds the block's own state as it was at the start."""

    def change(true: Callable[..., Any]) -> Callable[..., Any]:
        def step(model: Any, chunk: Any, state: Mapping[str, Any], *args: Any) -> Any:
            start = tcnzoo.init_state(model, len(chunk))
            own = _own_state(model.tcnzoo.spec, kind)
            return true(model, chunk, {n: (start if n in own else state)[n] for n in start}, *args)

        return step

    return _replaced(get_backend(backend), "step", change)


MUTATIONS = {each.__name__: each for each in (doubled, dropped, halved, forgotten)}


def _broken_array(
    backend: str,
    kind: str,
    choose: Callable[[Any], str | None],
    change: Callable[[Any], Any],
) -> contextlib.AbstractContextManager[None]:
    """Let the blocks of a kind compute with another array where `choose` names one."""

    def broken(block: Any, run: Callable[..., Any], *args: Any, **inputs: Any) -> Any:
        name = choose(block.spec)
        if name is None:
            return run(*args, **inputs)
        arrays = block if backend == "mlx" else getattr(block, "arrays", None)
        if backend == "torch":
            arrays = block._parameters if name in block._parameters else block._buffers
        true = arrays[name]
        dict.__setitem__(arrays, name, change(true))  # past what frameworks do at an assignment
        try:
            return run(*args, **inputs)
        finally:
            dict.__setitem__(arrays, name, true)

    return _broken_forward(backend, kind, broken)


def _last_array(spec: Any) -> str | None:
    return next(reversed(spec.own_params()), None)


def _first_weight(spec: Any) -> str | None:
    return next((name for name, param in spec.own_params().items() if param.trainable), None)


def _own_state(spec: Any, kind: str) -> set[str]:
    """Entries of a model's state that blocks of a kind keep themselves."""
    return {
        f"{path}.{name}" if path else name
        for path, part in spec.walk()
        if part.kind == kind
        for name in part.own_state()
    }


def _half_detached(backend: str, y: Any) -> Any:
    """The same values, through which half of the gradient passes."""
    if isinstance(y, dict):
        return {name: _half_detached(backend, value) for name, value in y.items()}
    if isinstance(y, tuple):
        return tuple(_half_detached(backend, value) for value in y)
    if backend == "torch":
        return (y + y.detach()) / 2
    if backend == "mlx":
        return (y + importlib.import_module("mlx.core").stop_gradient(y)) / 2
    ops = importlib.import_module("keras").ops
    y = ops.convert_to_tensor(y)
    return (y + ops.stop_gradient(y)) / 2


# --- What need not be broken ----------------------------------------------------------------------

# (mutation, kind) -> why it changes nothing that is computed.
NO_CHANGE = {
    ("dropped", "vector_quantizer"): "its running averages are read in training only",
}


def without_effect(mutation: str, backend: str, kind: str) -> str | None:
    """Why a mutation of a kind changes nothing, or None where a test must fail."""
    if (mutation, kind) in NO_CHANGE:
        return NO_CHANGE[mutation, kind]
    cases = parts_of_kind(kind)
    if mutation == "dropped" and not any(part.own_params() for _, part in cases):
        return "no arrays of its own"
    if mutation == "halved":
        if backend == "numpy":
            return "no gradients in numpy"
        if all(gradient_obstacle(model) for model, _ in cases):
            return "gradients of something else"
    if mutation == "forgotten" and not any(
        part.own_state() and model.streaming_blocker() is None for model, part in cases
    ):
        return "no state of its own"
    return None


# --- The plugin -----------------------------------------------------------------------------------


class Plugin:
    """Breaks the kind that each test is about while the test runs.

    Attributes:
        tested: kind -> tests that ran.
        failed: kind -> the first test that failed, after which the kind's others are skipped.
    """

    def __init__(self, mutation: str, backends: list[str], kinds: list[str], report: str) -> None:
        """Take the setting."""
        self.mutation, self.backends, self.kinds, self.report = mutation, backends, kinds, report
        self.tested: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def kind_of(self, item: pytest.Item) -> str | None:
        """The kind that a test is about, or None for a test of the tests."""
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        return proved_kind(name) if name in CASES else None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of the chosen kinds."""
        items[:] = [item for item in items if self.kind_of(item) in self.kinds]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Break the kind, and note whether the test has seen it."""
        kind = self.kind_of(item) or ""
        if kind in self.failed:
            pytest.skip("its mutant is dead")
        self.tested[kind] = self.tested.get(kind, 0) + 1
        with contextlib.ExitStack() as broken:
            for backend in self.backends:
                broken.enter_context(MUTATIONS[self.mutation](backend, kind))
            try:
                yield
            except AssertionError:  # another error would be a mutation that does not run
                self.failed[kind] = item.name
                raise

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        Path(self.report).write_text(json.dumps({"tested": self.tested, "failed": self.failed}))


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin in a process that is to run mutants."""
    if SETTING in os.environ:
        config.pluginmanager.register(Plugin(**json.loads(os.environ[SETTING])))


# --- The command ----------------------------------------------------------------------------------


def killed(mutation: str, backends: list[str], kinds: list[str]) -> dict[str, str]:
    """Run the tests of mutants in a process of their own; kind -> the test that failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        setting = {
            "mutation": mutation, "backends": backends, "kinds": kinds, "report": str(report)
        }  # fmt: skip
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--tb=line",
                "-p",
                "benchmarks.mutations",
                TESTS,
            ],
            env={
                **os.environ,
                SETTING: json.dumps(setting),
                "TCNZOO_TEST_BACKENDS": ",".join(backends),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            raise SystemExit(f"pytest has not run:\n{done.stdout}{done.stderr}")
        results: dict[str, dict[str, Any]] = json.loads(report.read_text())
    if missing := set(kinds) - results["tested"].keys():
        raise SystemExit(f"no test ran for {', '.join(sorted(missing))}:\n{done.stdout}")
    return results["failed"]


def main() -> None:
    """Print what became of each mutant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=sorted(registered_kinds()))
    parser.add_argument("--backend", choices=[*installed_backends(), TOGETHER])
    parser.add_argument("--mutation", choices=MUTATIONS)
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else sorted(registered_kinds())
    columns = [
        (backend, mutation)
        for backend in ([options.backend] if options.backend else [*installed_backends(), TOGETHER])
        for mutation in ([options.mutation] if options.mutation else MUTATIONS)
        if backend != TOGETHER or mutation == "doubled"
    ]
    console, survivors = Console(width=100), []
    mutations = list(dict.fromkeys(mutation for _, mutation in columns))
    table = Table("kind", "backend", *mutations)
    cells: dict[tuple[str, str, str], str] = {}
    for backend, mutation in columns:
        effects = {kind: without_effect(mutation, backend, kind) for kind in kinds}
        broken = [kind for kind, reason in effects.items() if reason is None]
        backends = installed_backends() if backend == TOGETHER else [backend]
        failed = killed(mutation, backends, broken) if broken else {}
        for kind in kinds:
            cell = "killed" if kind in failed else "-" if effects[kind] else "survived"
            cells[kind, backend, mutation] = cell
            if kind in broken and kind not in failed:
                survivors.append(f"{kind} {mutation} in {backend}")
        console.print(f"{backend} {mutation}: {len(failed)} of {len(broken)} killed")
    for kind in kinds:
        for backend in dict.fromkeys(backend for backend, _ in columns):
            row = [cells.get((kind, backend, mutation), "") for mutation in mutations]
            table.add_row(kind, backend, *row)
    console.print(table)
    if survivors:
        raise SystemExit("survived: " + "; ".join(survivors))


if __name__ == "__main__":
    main()
