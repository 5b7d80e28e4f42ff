"""How an ONNX file is told from others, and one of our making from others' graphs."""

from pathlib import Path
from typing import Any

from ..containers.detect import kind_of
from ..containers.onnx import text
from ..containers.own import mark

NAME = "onnx"


def said_by(model: Any) -> dict[str, str]:
    """What a model says of itself."""
    return {text(entry.key): text(entry.value) for entry in model.metadata_props}


def is_own(model: Any) -> bool:
    """Whether an onnx.ModelProto says that it is of our making, and what it holds."""
    said = said_by(model)
    return said.get("format") == mark(NAME) and "config" in said


def detect(path: Path) -> bool:
    """Whether the outermost fields of the file are those of an ONNX model."""
    return kind_of(path) == "onnx"
