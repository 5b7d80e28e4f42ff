"""What a command imports before it knows that it needs it."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"torch", "tensorflow", "keras", "mlx.core", "jax", "onnxruntime", "scipy", "numba"}
# Runs command lines in one process, and tells after each which modules are there.
LOOK = """
import json, sys
from tcnzoo.cli import app
for line in sys.stdin:
    try:
        app(line.split(), prog_name="tcnzoo")
        code = 0
    except SystemExit as end:
        code = end.code
    print("LOOKED", json.dumps([code, sorted(sys.modules)]), file=sys.stderr, flush=True)
"""


def looked(lines: list[str]) -> list[tuple[int, set[str], str]]:
    """Exit code, modules and stderr after each command line, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        input="\n".join(lines), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    pieces = re.findall(r"(.*?)^LOOKED (.*?)$", done.stderr, re.DOTALL | re.MULTILINE)
    assert len(pieces) == len(lines), done.stderr
    rows = [(said, *json.loads(mark)) for said, mark in pieces]
    return [(code, set(modules), " ".join(said.split())) for said, code, modules in rows]


def function_of(name):
    """The function behind a command."""
    module, _, function = COMMANDS[name][0].partition(".")
    return getattr(importlib.import_module(f"tcnzoo.cli.{module}"), function)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_all_commands_is_the_start_of_each_docstring(name):
    first = inspect.getdoc(function_of(name)).partition("\n\n")[0]
    assert COMMANDS[name][1] == " ".join(first.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_options(name):
    command = typer.main.get_command(app).commands[name].imported()
    assert command.name == name
    wanted = inspect.signature(function_of(name)).parameters
    assert set(wanted) <= {option.name for option in command.params}


def test_a_description_takes_neither_numpy_nor_a_framework():
    lines = ["--help", "--version", "describe tcn-base", "describe seizure-stream --json", "list"]
    for line, (code, modules, _) in zip(lines, looked(lines), strict=True):
        assert code == 0, line
        assert not modules & {*FRAMEWORKS, "numpy"}, line


def test_the_help_of_all_commands_imports_no_command():
    ((code, modules, _),) = looked(["--help"])
    assert code == 0
    files = {f"tcnzoo.cli.{function.partition('.')[0]}" for function, _ in COMMANDS.values()}
    assert not modules & {*files, "pydantic", "yaml"}


def test_options_of_every_command_are_known_without_a_framework():
    lines = [f"{name} --help" for name in COMMANDS]
    for line, (code, modules, _) in zip(lines, looked(lines), strict=True):
        assert code == 0, line
        assert not modules & FRAMEWORKS, line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a checkpoint, a signal, a recording that is none, and a training file."""
    spec = {"kind": "tcn", "in_channels": 3, "channels": [5], "kernel_size": 3}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "net")
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n4,5,6\n", "utf-8")
    (tmp_path / "night.edf").write_text("not a recording", "utf-8")
    (tmp_path / "run.yaml").write_text("model: tcn-base\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Every command that takes a backend, with one that there is not.
UNKNOWN_BACKEND = """\
predict net --input x.csv --backend torhc
stream net --input x.csv --backend torhc
stream net --input night.edf --backend torhc
detect net night.edf --backend torhc
segment net x.csv --backend torhc
train run.yaml --backend torhc
cross-validate run.yaml --backend torhc
parity tcn-base --backends torhc
bench tcn-base --backends torhc
compare tcn-base --backends torhc
demo-behaviour --backend torhc
"""


def test_an_unknown_backend_is_refused_before_anything_is_read_or_imported(folder):
    lines = UNKNOWN_BACKEND.splitlines()
    for line, (code, modules, said) in zip(lines, looked(lines), strict=True):
        assert code == 2, line
        assert "unknown backend 'torhc'; did you mean 'torch'" in said, line
        assert not modules & FRAMEWORKS, line


@pytest.mark.parametrize("given, threads", [(None, 1), ("2", 2)])
def test_a_stream_runs_on_one_thread_unless_the_user_says_otherwise(given, threads):
    pytest.importorskip("torch", reason="a backend with threads")
    code = (
        "from tcnzoo.cli import app\n"
        "try: app(['stream', 'none', '--input', 'none.npy'])\n"
        "except SystemExit: pass\n"
        "import torch; print(torch.get_num_threads())"
    )
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env |= {"PYTHONPATH": str(ROOT)} | ({"OMP_NUM_THREADS": given} if given else {})
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert int(done.stdout.split()[-1]) == threads
