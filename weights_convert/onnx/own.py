"""ONNX files of our own, read back exactly by what they say."""

from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs.params import check_weights

from .detect import said_by
from .graph.nodes import initializers_of


def read_own_file(path: Path, model: Any) -> Converted:
    """The spec that a file of ours names, and the initializers of the neutral names.

    Raises:
        WeightError: tensors that do not fit the spec.
    """
    spec = read_config(said_by(model)["config"], f"the configuration in {str(path)!r}")
    table, stored = spec.params(), initializers_of(path, model)
    wide = any(len(port.type.tensor_type.shape.dim) == 4 for port in model.graph.input)
    missing = [name for name in table if name not in stored]
    if missing:
        raise WeightError(
            f"{str(path)!r} is a graph of ours, but {len(missing)} of its {len(table)} tensors, "
            f"the first {missing[0]!r}, are not in it any more: it was quantised or changed; "
            "convert what it was made from"
        )
    weights = {name: _narrow(stored[name], wide, param.shape) for name, param in table.items()}
    check_weights(table, weights)
    dropped = {
        name: "a number of the graph, which is in the spec" for name in stored if name not in table
    }
    return Converted(spec, weights, {name: name for name in table}, dropped)


def _narrow(array: Array, wide: bool, shape: tuple[int, ...]) -> Array:
    """A kernel without the axes of size 1 that it has where signals have one too."""
    added = array.shape in ((*shape[:2], 1, *shape[2:]), (*shape, 1, 1))
    return array.reshape(shape) if wide and added else array
