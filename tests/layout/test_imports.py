"""Who imports whom: import-linter's contracts can fail, and what they cannot see."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tcnzoo", "backends", "exporters", "weights_convert")
FRAMEWORKS = frozenset({"torch", "mlx", "keras", "tensorflow", "jax", "onnx", "onnxruntime"})
# Where the folders beside `tcnzoo/` are installed: names that import-linter, which reads the
# checkout, takes for unknown ones.
INSTALLED_AS = tuple(f"tcnzoo.{name}" for name in FOLDERS[1:])

# An import that breaks each contract, by the file that it is written into.
OFFENCES = {
    "rooms": ("tcnzoo/specs/norm.py", "import tcnzoo.zoo.catalog"),
    "circles": ("tcnzoo/specs/base.py", "import tcnzoo.specs.norm"),
    "core": ("tcnzoo/errors.py", "import torch"),
    "numpy": ("backends/numpy/norm.py", "import torch"),
    "torch": ("backends/torch/norm.py", "import mlx.core"),
    "mlx": ("backends/mlx/norm.py", "import torch"),
    "keras": ("backends/keras/norm.py", "import mlx.core"),
    "independence": ("exporters/calm.py", "import weights_convert.hints"),
}


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute name) for every import in a source that is not relative.

    `importlib.import_module` and `__import__` of a literal name count as well.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            literal = getattr(node.args[0], "value", None)
            if name in ("import_module", "__import__") and isinstance(literal, str):
                yield node.lineno, literal


def within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of `packages` or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences(folder: str, *forbidden: str) -> list[str]:
    """Imports below a folder that lie in `forbidden` packages."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} holds no Python file"
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path.read_text("utf-8"))
        if within(name, *forbidden)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_imported_by_the_name_under_which_it_is_installed(folder):
    assert not offences(folder, *INSTALLED_AS)


def test_core_imports_no_framework_by_its_name_as_text():
    assert not offences("tcnzoo", *FRAMEWORKS)


def test_core_imports_are_absolute():
    for path in (ROOT / "tcnzoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "source, name",
    [
        ("import torch.nn as nn", "torch.nn"),
        ("def late():\n    from mlx import core", "mlx.core"),
        ("from tcnzoo import backends", "tcnzoo.backends"),
        ("import importlib\nimportlib.import_module('jax')", "jax"),
    ],
)
def test_the_walk_sees_every_form_of_import(source, name):
    assert name in [imported for _, imported in imports_of(source)]


def test_the_walk_finds_an_offence_where_there_is_one():
    assert offences("backends/torch", "torch")
    assert offences("exporters", "onnx")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources, to be spoilt."""
    pytest.importorskip("importlinter", reason="a tool of development")
    folder = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path, contract: str) -> subprocess.CompletedProcess[str]:
    """What import-linter says of one contract."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    arguments = ["--no-cache", "--contract", contract]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("contract", OFFENCES)
def test_each_contract_is_kept_and_can_be_broken(contract, checkout):
    kept = lint(checkout, contract)
    assert kept.returncode == 0, kept.stdout
    file, line = OFFENCES[contract]
    path = checkout / file
    source = path.read_text("utf-8")
    path.write_text(f"{source}\n{line}\n", "utf-8")
    broken = lint(checkout, contract)
    path.write_text(source, "utf-8")
    assert broken.returncode == 1, broken.stdout
    assert "BROKEN" in broken.stdout


def test_every_contract_has_an_offence():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert text.count("[[tool.importlinter.contracts]]") == len(OFFENCES)
