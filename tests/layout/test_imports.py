"""Who imports whom: from backends, converters and exporters to the core, and never back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = frozenset({"torch", "mlx", "keras", "tensorflow", "jax", "onnx", "onnxruntime"})
OWN_FRAMEWORKS = {
    "numpy": frozenset(),
    "torch": frozenset({"torch"}),
    "mlx": frozenset({"mlx"}),
    "keras": frozenset({"keras", "tensorflow", "jax", "torch"}),  # what Keras itself runs on
}
# Where the folders beside `tcnzoo/` are installed.
INSTALLED_AS = {name: f"tcnzoo.{name}" for name in ("backends", "exporters", "weights_convert")}


def package_of(path: Path) -> list[str]:
    """Name of the package that a file lies in, as installed, part by part."""
    first, *rest = path.relative_to(ROOT).parent.parts
    return [*INSTALLED_AS.get(first, first).split("."), *rest]


def imports_of(source: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute name of a module or of something in one) for every import in a source.

    `importlib.import_module` and `__import__` of a literal name count as well.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            literal = getattr(node.args[0], "value", None)
            if name in ("import_module", "__import__") and isinstance(literal, str):
                yield node.lineno, literal


def relative_imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for every relative import in a source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, node.module or ""


def within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of `packages` or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences(folder: str, *forbidden: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Imports below a folder that lie in `forbidden` packages and not in `allowed` ones."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} holds no Python file"
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path.read_text("utf-8"), package_of(path))
        if within(name, *forbidden) and not within(name, *allowed)
    ]


def test_core_imports_no_backend_converter_or_exporter():
    assert not offences("tcnzoo", *INSTALLED_AS, *INSTALLED_AS.values())


def test_core_imports_no_framework():
    assert not offences("tcnzoo", *FRAMEWORKS)


def test_core_imports_are_absolute():
    for path in (ROOT / "tcnzoo").rglob("*.py"):
        assert not list(relative_imports_of(path.read_text("utf-8"))), path


each_backend = pytest.mark.parametrize("folder", OWN_FRAMEWORKS)


@each_backend
def test_backend_imports_no_other_framework(folder):
    assert not offences(f"backends/{folder}", *FRAMEWORKS - OWN_FRAMEWORKS[folder])


@each_backend
def test_backend_imports_no_other_backend_converter_or_exporter(folder):
    own = f"tcnzoo.backends.{folder}"
    others = (*INSTALLED_AS, *INSTALLED_AS.values())
    assert not offences(f"backends/{folder}", *others, allowed=(own,))


@each_backend
def test_backend_imports_its_siblings_relatively(folder):
    for path in (ROOT / "backends" / folder).rglob("*.py"):
        source = path.read_text("utf-8")
        relative = {line for line, _ in relative_imports_of(source)}
        for line, name in imports_of(source, package_of(path)):
            assert line in relative or not within(name, "tcnzoo.backends"), f"{path}:{line}"


def test_every_backend_folder_is_held_to_these_rules():
    assert {path.parent.name for path in ROOT.glob("backends/*/__init__.py")} == set(OWN_FRAMEWORKS)


def test_converters_import_no_backend_and_no_exporter():
    others = ("backends", "exporters", "tcnzoo.backends", "tcnzoo.exporters")
    assert not offences("weights_convert", *others)


def test_exporters_import_no_backend_and_no_converter():
    others = ("backends", "weights_convert", "tcnzoo.backends", "tcnzoo.weights_convert")
    assert not offences("exporters", *others)


@pytest.mark.parametrize(
    "source, name",
    [
        ("import torch.nn as nn", "torch.nn"),
        ("def late():\n    from mlx import core", "mlx.core"),
        ("from ..keras.conv import Conv1d", "tcnzoo.backends.keras.conv.Conv1d"),
        ("from .. import torch", "tcnzoo.backends.torch"),
        ("from . import conv", "tcnzoo.backends.numpy.conv"),
        ("from tcnzoo import backends", "tcnzoo.backends"),
        ("import importlib\nimportlib.import_module('jax')", "jax"),
    ],
)
def test_the_walk_sees_every_form_of_import(source, name):
    found = [one for _, one in imports_of(source, ["tcnzoo", "backends", "numpy"])]
    assert name in found


def test_the_walk_finds_an_offence_where_there_is_one():
    assert offences("backends/torch", "torch")
    assert offences("backends/numpy", "tcnzoo.backends")
    assert offences("exporters", "onnx")
