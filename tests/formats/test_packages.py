"""How the packages of formats are made: the same names in each, and no circle of imports."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tcnzoo.formats.protocol import Format, format_modules, get_format

ROOT = Path(__file__).parents[2]
NAMES = {*Format.__annotations__, "detect", "tensors", "read", "write"}


def imports(folder):
    """Every module below a folder of the checkout -> those that it imports relatively."""
    graph = {}
    for path in (ROOT / folder).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = parts[:-1] if parts[-1] == "__init__" else parts
        here = graph.setdefault(".".join(module), set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*parts[: -node.level], *(node.module or "").split(".")]
                base = [part for part in base if part]
                for alias in node.names:
                    inner = ROOT.joinpath(*base, alias.name)
                    is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                    here.add(".".join([*base, alias.name] if is_module else base))
    return graph


@pytest.mark.parametrize("name", format_modules())
def test_a_format_gives_just_what_the_protocol_says(name):
    module = get_format(name)
    assert all(hasattr(module, given) for given in NAMES)
    if module.FOREIGN or name == "onnx":
        assert set(module.__all__) == NAMES


@pytest.mark.parametrize("folder", ["weights_convert", "exporters"])
def test_no_circle_of_files(folder):
    graph = imports(folder)
    assert sum(map(len, graph.values())) > 20
    list(TopologicalSorter(graph).static_order())


def test_no_circle_of_formats():
    graph = {}
    for module, others in imports("weights_convert").items():
        room = module.split(".")[1:2]
        for other in others:
            if room and room != other.split(".")[1:2]:
                graph.setdefault(room[0], set()).add(other.split(".")[1])
    assert graph["keras_sequential"] >= {"keras_chain", "keras_tcn"}
    list(TopologicalSorter(graph).static_order())


def test_a_circle_would_be_seen():
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
