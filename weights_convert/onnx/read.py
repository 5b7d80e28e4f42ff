"""How an ONNX file is read: one of our making by what it says, another one step by step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.formats.report import Converted

from ..containers.onnx import parse
from ..hints import parse_hints
from .detect import NAME, is_own
from .foreign import HINTS, read_graph
from .graph.nodes import graph_of, initializers_of
from .own import read_own_file


def tensors(path: Path) -> Weights:
    """Every initializer."""
    return initializers_of(path, parse(path))


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a graph: exactly where the file is ours, else layer by layer.

    Args:
        path: of the file; values that lie outside it must be in the same folder.
        hints: as for `read_graph`; none for a file of ours.
    Raises:
        BackendMissing: onnx is not installed.
        Undetermined: what the graph leaves open.
        WeightError: a broken file, or a graph that is not one of known layers.
    """
    model = parse(path)
    if is_own(model):
        parse_hints(NAME, hints, ())
        return read_own_file(path, model)
    given = parse_hints(NAME, hints, HINTS)
    return read_graph(path, graph_of(path, model), given)
