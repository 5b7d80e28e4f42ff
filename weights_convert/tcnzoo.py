"""The checkpoint directory: config.json and model.safetensors, neutral names and layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoint import (
    FORMAT,
    TENSORS,
    read_checkpoint,
    read_safetensors,
    safetensors_metadata,
    write_checkpoint,
)
from tcnzoo.converted import Converted
from tcnzoo.params import Weights
from tcnzoo.specs import Spec

from .container import kind_of
from .hints import check_hints
from .transformers_mamba2_config import config_of

NAME = "tcnzoo"
DESCRIPTION = "checkpoint directory: config.json and model.safetensors"
SUFFIXES: tuple[str, ...] = ()
FOREIGN = False


def detect(path: Path) -> bool:
    """Whether it is a directory with tensors in it, or their file."""
    if path.name == TENSORS and kind_of(path) == "safetensors":
        return safetensors_metadata(path).get("format") == FORMAT
    return (path / TENSORS).is_file() and config_of(path) is None


def _directory(path: Path) -> Path:
    """The directory, also where its file of tensors is given."""
    return path.parent if path.is_file() else path


def tensors(path: Path) -> Weights:
    """Every tensor of the checkpoint."""
    return read_safetensors(_directory(path) / TENSORS)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a checkpoint directory; it says everything itself, so it takes no hints."""
    check_hints(NAME, hints, ())
    spec, weights = read_checkpoint(_directory(path))
    return Converted(spec, weights, {name: name for name in weights})


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a checkpoint directory."""
    write_checkpoint(path, spec, weights, overwrite=True)
    return {}
