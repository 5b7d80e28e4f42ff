"""Streaming states on disk, so that a stream can be resumed later, also in another backend."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.checkpoint import read_safetensors, replacing, write_safetensors
from tcnzoo.errors import InputError

FORMAT = "tcnzoo-state"
SUFFIXES = (".safetensors", ".npz")


def check_suffix(path: Path) -> None:
    """Raise InputError unless the ending is one that states are written with."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"a state is a .safetensors or .npz file, but got {str(path)!r}")


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of any backend, whole or not at all.

    Args:
        path: .safetensors, or .npz, which holds bfloat16 as float32 (nothing is lost).
        state: from `tcnzoo.step`.
    Raises:
        InputError: another ending.
    """
    check_suffix(path)
    arrays = {name: to_numpy(array) for name, array in state.items()}
    if path.suffix == ".safetensors":
        write_safetensors(path, arrays, {"format": FORMAT})
        return
    wide = {
        name: array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
        for name, array in arrays.items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **wide)  # type: ignore[arg-type]


def read_state(path: Path) -> dict[str, Array]:
    """Read a state; `tcnzoo.step` checks it against the model.

    Raises:
        InputError: no such file, another ending, or a file that is no state.
        WeightError: a .safetensors file that is cut short.
    """
    check_suffix(path)
    if path.suffix == ".safetensors":
        arrays, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT:
            raise InputError(f"{str(path)!r} holds no streaming state: it was not written as one")
        return arrays
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is not a whole .npz file: {error}") from None
