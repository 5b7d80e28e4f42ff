"""Streaming states on disk, so that a stream can be resumed later, also in another backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.checkpoints.directory import read_safetensors, write_safetensors
from tcnzoo.errors import InputError

FORMAT = "tcnzoo-state"
SUFFIX = ".safetensors"


def check_suffix(path: Path) -> None:
    """Raise InputError unless the ending is the one that states are written with."""
    if path.suffix != SUFFIX:
        raise InputError(f"a state is a {SUFFIX} file, but got {str(path)!r}")


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of any backend, whole or not at all.

    Args:
        path: ends in .safetensors.
        state: from `tcnzoo.step`.
    Raises:
        InputError: another ending.
    """
    check_suffix(path)
    arrays = {name: to_numpy(array) for name, array in state.items()}
    write_safetensors(path, arrays, {"format": FORMAT})


def read_state(path: Path) -> dict[str, Array]:
    """Read a state; `tcnzoo.step` checks it against the model.

    Raises:
        InputError: no such file, another ending, or a file that is no state.
        WeightError: a file that is cut short.
    """
    check_suffix(path)
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} holds no streaming state: it was not written as one")
    return arrays
