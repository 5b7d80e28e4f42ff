"""The checkpoint directory: config.json and model.safetensors, neutral names and layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import (
    INDEX,
    TENSORS,
    has_tensors,
    is_own,
    open_checkpoint,
    open_tensors,
    safetensors_metadata,
    write_checkpoint,
)
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec

from ..braindecode.detect import is_hub_folder
from ..containers.detect import kind_of
from ..hints import parse_hints
from ..transformers_mamba2.config import config_of

NAME = "tcnzoo"
DESCRIPTION = "checkpoint directory: config.json and model.safetensors, whole or in shards"
SUFFIXES: tuple[str, ...] = ()
FOREIGN = False


def detect(path: Path) -> bool:
    """Whether it is a directory with tensors in it, or their file or index."""
    if path.name == TENSORS and kind_of(path) == "safetensors":
        return is_own(safetensors_metadata(path))
    own = has_tensors(path) and config_of(path) is None and not is_hub_folder(path)
    return own or (path.name == INDEX and path.is_file())


def _directory(path: Path) -> Path:
    """The directory, also where its file of tensors is given."""
    return path.parent if path.is_file() else path


def tensors(path: Path) -> Tensors:
    """Every tensor of the checkpoint."""
    return open_tensors(_directory(path))[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a checkpoint directory; it says everything itself, so it takes no hints."""
    parse_hints(NAME, hints, ())
    spec, weights = open_checkpoint(_directory(path))
    return Converted(spec, weights, {name: name for name in weights})


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a checkpoint directory."""
    write_checkpoint(path, spec, weights, overwrite=True)
    return {}
