"""Recordings on disk: .npy and .csv, read to and written from (channels, time) arrays."""

import csv
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files import is_stream, replacing

SUFFIXES = (".npy", ".csv")


def read_signal(path: Path) -> Array:
    """Read an array of numbers; a .npy file is mapped, so that only what is used is read.

    Args:
        path: .npy of any shape, or .csv with one line a time step and one column a channel, with or
            without a line of names.
    Returns:
        The array of a .npy file as it is; (channels, time) of a .csv file, float32.
    Raises:
        InputError: no such file, another ending, or not an array of real numbers.
    """
    _check_suffix(path)
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    array = _read_npy(path) if path.suffix == ".npy" else _read_csv(path)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{str(path)!r} must hold real numbers, but holds {array.dtype}")
    if array.size == 0:
        raise InputError(f"{str(path)!r} is empty: its shape is {array.shape}")
    return array


def write_signal(path: Path, array: Array) -> None:
    """Write an array, whole or not at all.

    Args:
        path: .npy, or .csv with one line a time step; a pipe or device of another name, such as
            /dev/stdout, gets the latter.
        array: any shape for .npy; (channels, time) or (channels,), one line, for .csv.
    Raises:
        InputError: another ending, or too many axes for .csv.
    """
    check_writable(path)
    if path.suffix != ".npy" and array.ndim > 2:
        raise InputError(
            f"a .csv file holds one recording (channels, time), but the output has shape "
            f"{array.shape}; write .npy"
        )
    with replacing(path) as temporary:
        if path.suffix == ".npy":
            np.save(temporary, array)
        else:
            lines = array.T if array.ndim == 2 else np.atleast_2d(array)
            np.savetxt(temporary, lines, delimiter=",", fmt="%.9g")


def check_writable(path: Path | None) -> None:
    """Raise InputError for an output that could not be written, before the work starts."""
    if path is not None and not is_stream(path):
        _check_suffix(path)


def _check_suffix(path: Path) -> None:
    """Only the endings that are known."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"a signal is a .npy or .csv file, but got {str(path)!r}")


def _read_npy(path: Path) -> Array:
    """A mapped array; a pickle inside is refused."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{str(path)!r} is not a .npy array: {reason}") from None
    return array


def _read_csv(path: Path) -> Array:
    """Lines of numbers, after at most one line of names."""
    try:
        lines = [line for line in csv.reader(path.read_text("utf-8").splitlines()) if line]
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not a text file") from None
    names = bool(lines) and not _is_number(lines[0][0])
    for number, line in enumerate(lines[names:], start=1 + names):
        if len(line) != len(lines[0]) or not all(map(_is_number, line)):
            raise InputError(f"{str(path)!r}: line {number} is not {len(lines[0])} numbers")
    return np.array(lines[names:], dtype=np.float32).T


def _is_number(text: str) -> bool:
    """Whether a cell of a .csv file is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
