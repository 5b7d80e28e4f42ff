"""ONNX files of our own: written by the exporter, and read back exactly by what they say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import read_config, replacing
from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import Tensors, facts_of
from tcnzoo.formats.report import Converted
from tcnzoo.runtimes.protocol import ExportOptions, get_exporter
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights

from ..containers.onnx import check_installed, text
from ..containers.own import mark
from .nodes import initializers_of

NAME = "onnx"
# Channels of the input where a model takes any number; a gated linear unit wants it even.
SOME_CHANNELS = 2


def _said(model: Any) -> dict[str, str]:
    """What a model says of itself."""
    return {text(one.key): text(one.value) for one in model.metadata_props}


def is_own(model: Any) -> bool:
    """Whether an onnx.ModelProto says that it is of our making, and what it holds."""
    said = _said(model)
    return said.get("format") == mark(NAME) and "config" in said


def read_own_file(path: Path, model: Any) -> Converted:
    """The spec that a file of ours names, and the initializers of the neutral names.

    Raises:
        WeightError: tensors that do not fit the spec.
    """
    spec = read_config(_said(model)["config"], f"the configuration in {str(path)!r}")
    table, held = spec.params(), initializers_of(path, model)
    wide = any(len(one.type.tensor_type.shape.dim) == 4 for one in model.graph.input)
    missing = [name for name in table if name not in held]
    if missing:
        raise WeightError(
            f"{str(path)!r} is a graph of ours, but {len(missing)} of its {len(table)} tensors, "
            f"the first {missing[0]!r}, are not in it any more: it was quantised or changed; "
            "convert what it was made from"
        )
    weights = {name: _narrow(held[name], wide, row.shape) for name, row in table.items()}
    check_weights(table, weights)
    dropped = {
        name: "a number of the graph, which is in the spec" for name in held if name not in table
    }
    return Converted(spec, weights, {name: name for name in table}, dropped)


def _narrow(array: Array, wide: bool, shape: tuple[int, ...]) -> Array:
    """A kernel without the axes of size 1 that it has where signals have one too."""
    added = array.shape in ((*shape[:2], 1, *shape[2:]), (*shape, 1, 1))
    return array.reshape(shape) if wide and added else array


def write_file(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a model with the exporter; return the tensors that the file does not hold as they are.

    Weights that are float16 throughout make a float16 graph; all others one in float32.
    """
    check_installed()
    types = {str(one.dtype) for one in facts_of(weights).values()}
    precision = "float16" if types == {"float16"} else "float32"
    options = ExportOptions(
        channels=spec.input_channels or SOME_CHANNELS,
        input_length=spec.min_length(),
        precision=precision,  # type: ignore[arg-type] # one of two
        devices=(spec.input_devices or 2) if spec.signal_rank == 4 else None,
    )
    given = {name: array.astype(np.float32) for name, array in weights.items()}
    with replacing(path) as temporary:
        get_exporter(NAME).export(spec, given, temporary, options)
    return {
        name: reason
        for name, one in facts_of(weights).items()
        if (reason := _loss(name, str(one.dtype), precision)) is not None
    }


def _loss(name: str, dtype: str, precision: str) -> str | None:
    """Why a file does not hold a tensor as it was."""
    if name.rpartition(".")[2] in ("weight_g", "weight_v"):
        return "folded into the kernel: an inference graph has no weight norm"
    return None if dtype == precision else f"written as {precision} instead of {dtype}"
