"""How the DeepEpi net is read from a Keras file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted

from ..containers.keras import read_keras
from ..hints import parse_hints
from ..keras_chain.plan import converted
from .detect import NAME
from .net import plan_blocks


def tensors(path: Path) -> Tensors:
    """Every tensor by its full path."""
    return read_keras(path).tensors


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a model, with the constants that it has.

    Raises:
        SpecError: another net.
        WeightError: a damaged file, weights alone, or tensors that do not fit.
    """
    parse_hints(NAME, hints, ())
    file = read_keras(path)
    if file.document is None:
        raise WeightError(
            f"{str(path)!r} holds weights alone; read it as keras-sequential, with its spec"
        )
    return converted(file, plan_blocks(file.document.model, file.document.old))
