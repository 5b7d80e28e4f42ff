"""numpy's .npz archives: read without pickle or trust in headers, written with MLX's bfloat16."""

import math
import struct
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.lib import format as npy

from tcnzoo.arrays import Array
from tcnzoo.checkpoint import replacing
from tcnzoo.errors import WeightError
from tcnzoo.params import Weights

from .container import archive

# numpy has no name for bfloat16; MLX writes two raw bytes, and reads them back as bfloat16.
BFLOAT16 = "<V2"
# A zip archive's comment holds no more.
LONGEST_COMMENT = 2**16 - 1


def read_npz(path: Path) -> tuple[Weights, str]:
    """Read all arrays and the archive's comment.

    Raises:
        WeightError: a broken archive, an array of objects, or a shape that the data do not fill.
    """
    tensors: Weights = {}
    with archive(path) as opened:
        for member in opened.infolist():
            with opened.open(member) as file:
                name = member.filename.removesuffix(".npy")
                tensors[name] = _read_array(path, name, file, member.file_size)
        return tensors, _text(opened.comment)


def npz_comment(path: Path) -> str:
    """The archive's comment."""
    with archive(path) as opened:
        return _text(opened.comment)


def _text(comment: bytes) -> str:
    """A comment as text; what is no UTF-8 is none of ours."""
    return comment.decode("utf-8", errors="replace")


def _read_array(path: Path, name: str, file: IO[bytes], size: int) -> Array:
    """Read one .npy of `size` bytes; memory is taken for what is there, not for what is claimed."""
    try:
        shape, fortran, dtype = _header(file)
    except (ValueError, KeyError, struct.error, EOFError) as error:
        raise WeightError(f"array {name!r} of {str(path)!r} is damaged: {error}") from None
    if dtype.kind not in "biufc" and dtype != np.dtype(BFLOAT16):
        raise WeightError(f"{str(path)!r} is refused: {name!r} holds {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise WeightError(
            f"array {name!r} of {str(path)!r} claims shape {shape} of {dtype}, but "
            f"{size - file.tell()} bytes are there"
        )
    flat = np.frombuffer(file.read(), dtype=dtype)
    if dtype == np.dtype(BFLOAT16):
        flat = flat.view(ml_dtypes.bfloat16)
    elif not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type from a .npy header."""
    version = npy.read_magic(file)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if any(extent < 0 for extent in shape):
        raise ValueError(f"the shape {shape} is negative")
    return shape, fortran, dtype


def write_npz(path: Path, tensors: Mapping[str, Array], comment: str) -> None:
    """Write arrays of any strides, whole or not at all, with a comment that readers pass over.

    Raises:
        WeightError: the comment is longer than an archive can hold.
    """
    encoded = comment.encode("utf-8")
    if len(encoded) > LONGEST_COMMENT:
        raise WeightError(
            f"the spec of {len(encoded)} bytes does not fit into {str(path)!r}: an .npz holds up "
            f"to {LONGEST_COMMENT}; write .safetensors"
        )
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as opened:
        for name, array in tensors.items():
            opened.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(array))
        opened.comment = encoded


def _npy(array: Array) -> bytes:
    """One array as a .npy file."""
    ordered = np.asarray(array, order="C")
    raw = ordered.dtype == ml_dtypes.bfloat16
    descr = BFLOAT16 if raw else npy.dtype_to_descr(ordered.dtype)
    file = BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": ordered.shape}
    npy.write_array_header_1_0(file, header)
    return file.getvalue() + ordered.tobytes()
