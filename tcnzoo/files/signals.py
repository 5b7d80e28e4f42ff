"""Recordings on disk: .npy and .csv, read to and written from (channels, time) arrays."""

from array import array as packed
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import check_destination, is_stream, replacing
from tcnzoo.files.tables import Table

SUFFIXES = (".npy", ".csv")
LARGEST = float(np.finfo(np.float32).max)
# Characters of a cell that an error message shows.
SHOWN = 30


def read_signal(path: Path) -> Array:
    """Read an array of numbers; a .npy file is mapped, so that only what is used is read.

    Args:
        path: .npy of any shape, or .csv with one line a time step and one column a channel, with or
            without a line of names; `tcnzoo.files.tables` says what a .csv may look like.
    Returns:
        The array of a .npy file as it is; (channels, time) of a .csv file, float32.
    Raises:
        InputError: no such file, another ending, or not an array of real numbers; of a .csv, the
            number of the line that is empty, of another length, or has a cell that is no number.
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
        check_destination(path)


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
    """A row of numbers for each step, after at most one line of names."""
    table = Table(path)
    counted = [str(column) for column in range(table.width)]
    counting = False
    values = packed("d")
    for number, cells in table.rows():
        if not values:
            counting = table.names is None and table.width > 2 and cells == counted
        elif counting and not all(map(str.isdecimal, cells)):
            raise table.error(1, "it counts the columns; remove this line, or write names into it")
        for column, cell in enumerate(cells, start=1):
            value = table.number(cell)
            if value is None or abs(value) > LARGEST:
                raise table.error(number, f"column {column} {_said(cell)}")
            values.append(value)
    return np.array(values, dtype=np.float32).reshape(-1, max(table.width, 1)).T


def _said(cell: str) -> str:
    """What is wrong with a cell."""
    if not cell.strip():
        return "is empty"
    shown = cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}..."
    return f"is {shown!r}, which is not a finite number of float32"
