"""numpy's .npz archives: read without pickle or trust in headers, written with MLX's bfloat16."""

import math
import struct
import zipfile
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.lib import format as npy

from tcnzoo.arrays import DTYPES, Array, Weights
from tcnzoo.checkpoints.directory import replacing
from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import Facts, LazyTensors, Tensors
from tcnzoo.files.safetensors import pieces

from .detect import archive, reason

# numpy has no name for bfloat16; MLX writes two raw bytes, and reads them back as bfloat16.
BFLOAT16 = "<V2"
# A zip archive's comment holds no more.
LONGEST_COMMENT = 2**16 - 1
# What numpy raises, one way or another, on a header that is none.
BROKEN_HEADER = (
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    EOFError,
    SyntaxError,
    TokenError,
    struct.error,
)
# Of the header of a .npy; the second has more room than the first, the third other letters.
VERSIONS = ((1, 0), (2, 0), (3, 0))
# Bytes that are read at a time where only their checksum is wanted.
CHECKED = 2**20


def read_npz(path: Path) -> tuple[Weights, str]:
    """Read all arrays, into memory, and the archive's comment; raises as `open_npz`."""
    tensors, comment = open_npz(path)
    return dict(tensors), comment


def open_npz(path: Path) -> tuple[LazyTensors, str]:
    """Check all arrays and their checksums; each is read, again, when it is asked for.

    Returns:
        (arrays, comment of the archive).
    Raises:
        WeightError: a broken archive, an array of objects, or a shape that the data do not fill.
    """
    facts, members = {}, {}
    with archive(path) as opened:
        for member in opened.infolist():
            name = member.filename.removesuffix(".npy")
            members[name] = member.filename
            with opened.open(member) as file:
                facts[name] = _facts(path, name, file, member.file_size)
                while file.read(CHECKED):
                    pass
        comment = _text(opened.comment)

    def read(name: str) -> Array:
        with archive(path) as opened, opened.open(members[name]) as file:
            return _read_array(file)

    return LazyTensors(facts, read), comment


def npz_comment(path: Path) -> str:
    """The archive's comment."""
    with archive(path) as opened:
        return _text(opened.comment)


def _text(comment: bytes) -> str:
    """A comment as text; what is no UTF-8 is none of ours."""
    return comment.decode("utf-8", errors="replace")


def _facts(path: Path, name: str, file: IO[bytes], size: int) -> Facts:
    """What the header of a .npy of `size` bytes says, if that is what is there."""
    try:
        shape, _, dtype = _header(file)
    except (RecursionError, MemoryError):  # of the parser
        raise WeightError(
            f"array {name!r} of {str(path)!r} is damaged: its header is nested too deeply"
        ) from None
    except BROKEN_HEADER as error:
        raise WeightError(f"array {name!r} of {str(path)!r} is damaged: {reason(error)}") from None
    if dtype.kind not in "biufc" and dtype != np.dtype(BFLOAT16):
        raise WeightError(f"{str(path)!r} is refused: {name!r} holds {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise WeightError(
            f"array {name!r} of {str(path)!r} claims shape {shape} of {dtype}, but "
            f"{size - file.tell()} bytes are there"
        )
    return Facts(shape, _numpy_type(dtype))


def _numpy_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of an array in memory."""
    return DTYPES["bfloat16"] if dtype == np.dtype(BFLOAT16) else dtype.newbyteorder("=")


def _read_array(file: IO[bytes]) -> Array:
    """Read one .npy that has been checked."""
    shape, fortran, dtype = _header(file)
    # Without a number, zipfile would unpack more than the member claims to hold.
    flat = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype=dtype)
    if dtype == np.dtype(BFLOAT16):
        flat = flat.view(ml_dtypes.bfloat16)
    elif not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type from a .npy header."""
    version = npy.read_magic(file)
    if version not in VERSIONS:
        raise ValueError(f"version {version} of its header is unknown")
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if any(extent < 0 for extent in shape):
        raise ValueError(f"the shape {shape} is negative")
    return shape, fortran, dtype


def write_npz(path: Path, tensors: Tensors, comment: str) -> None:
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
            member = zipfile.ZipInfo(f"{name}.npy")
            member.file_size = array.nbytes  # tells whether its header needs room for 64 bits
            with opened.open(member, "w") as file:
                _write_array(file, array)
        opened.comment = encoded


def _write_array(file: IO[bytes], array: Array) -> None:
    """Write one array as a .npy."""
    dtype = array.dtype.newbyteorder("<")
    descr = BFLOAT16 if dtype == ml_dtypes.bfloat16 else npy.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": array.shape}
    npy.write_array_header_1_0(file, header)
    for piece in pieces(array):
        file.write(piece.reshape(-1).view(np.uint8).data)
