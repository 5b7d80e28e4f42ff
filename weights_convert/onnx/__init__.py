"""ONNX graphs of convolutions, norms, activations, pools, sums and dense layers; and our own files.

Source: https://github.com/onnx/onnx/blob/main/docs/Operators.md for what the operators mean.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec

from ..containers.detect import kind_of
from ..containers.onnx import parse
from ..hints import parse_hints
from .nodes import graph_of, initializers_of
from .own import is_own, read_own_file, write_file
from .read import HINTS, read_graph

NAME = "onnx"
DESCRIPTION = "ONNX graph (.onnx) of convolutions, norms, activations, pools and dense layers"
SUFFIXES = (".onnx",)
FOREIGN = False


def detect(path: Path) -> bool:
    """Whether the outermost fields of the file are those of an ONNX model."""
    return kind_of(path) == "onnx"


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


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a graph with the exporter; any model, with batch and time left open where they can be.

    Raises:
        BackendMissing: onnx is not installed.
        SpecError: a model that the exporter does not write.
    """
    return write_file(path, spec, weights)
