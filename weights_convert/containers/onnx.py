"""ONNX files as messages: told from others, parsed, their tensors made arrays; no code is run."""

import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import BackendMissing, InputError, WeightError

# Element type of a tensor: its number in the format -> numpy's type, and the field that holds the
# values where they are not raw; 16-bit floats are held there as the integers of their bits.
# Source: onnx.proto, TensorProto.DataType.
TYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_data"),
    2: (np.dtype("u1"), "int32_data"),
    3: (np.dtype("i1"), "int32_data"),
    4: (np.dtype("<u2"), "int32_data"),
    5: (np.dtype("<i2"), "int32_data"),
    6: (np.dtype("<i4"), "int32_data"),
    7: (np.dtype("<i8"), "int64_data"),
    9: (np.dtype("?"), "int32_data"),
    10: (np.dtype("<f2"), "int32_data"),
    11: (np.dtype("<f8"), "double_data"),
    12: (np.dtype("<u4"), "uint64_data"),
    13: (np.dtype("<u8"), "uint64_data"),
    16: (np.dtype(ml_dtypes.bfloat16), "int32_data"),
}
FLOATS = (1, 10, 11, 16)
SHORT = {10: "float16", 16: "bfloat16"}
# What says where values lie in another file. Source: onnx.proto, TensorProto.external_data.
EXTERNAL = ("location", "offset", "length", "checksum", "basepath")

# Fields of the outermost message -> their kind on the wire: a number, or so many bytes.
# Source: onnx.proto, ModelProto.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_VERSION, _GRAPH = 1, 7
# Bytes of the longest number.
_LONGEST = 10


def is_onnx(path: Path) -> bool:
    """Tell an ONNX file by its outermost fields, whose contents are passed over.

    A file that has a version and a graph, but ends within the graph, is one too.
    """
    size, seen = path.stat().st_size, set()
    with path.open("rb") as file:
        for number, end in _fields(file, size):
            seen.add(number)
            if end is None or end > size:
                return {_VERSION, _GRAPH} <= seen and end is not None
    return {_VERSION, _GRAPH} <= seen


def _fields(file: IO[bytes], size: int) -> Iterator[tuple[int, int | None]]:
    """Number and end of each outermost field; the end is None where there is no such field."""
    while file.tell() < size:
        tag = _number(file)
        number, wire = (tag or 0) >> 3, (tag or 0) & 7
        if tag is None or _FIELDS.get(number) != wire:
            yield 0, None
            return
        value = _number(file)
        if value is None:
            yield 0, None
            return
        end = file.tell() + (value if wire == 2 else 0)
        yield number, end
        file.seek(end)


def _number(file: IO[bytes]) -> int | None:
    """A number of variable length, or None where there is none."""
    value = 0
    for position in range(_LONGEST):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    return None


def check_installed() -> None:
    """Raise BackendMissing unless onnx can be found."""
    if importlib.util.find_spec("onnx") is None:
        raise BackendMissing(
            "an .onnx file needs onnx, which is not installed; run: pip install 'tcnzoo[onnx]'"
        )


def parse(path: Path) -> Any:
    """Parse a file as an onnx.ModelProto; values that lie in other files are not read.

    Raises:
        InputError: no such file.
        BackendMissing: onnx is not installed.
        WeightError: a file that is cut short or damaged.
    """
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    check_installed()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError:
        raise WeightError(f"{str(path)!r} is cut short or damaged: it is no ONNX model") from None
    if not model.HasField("graph") or not model.graph.output:
        raise WeightError(f"{str(path)!r} is no ONNX model: it has no graph with an output")
    return model


def text(value: str | bytes) -> str:
    """A name in a message, which a damaged file may have as bytes that are no text."""
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def array_of(path: Path, tensor: Any) -> Array:
    """The values of an onnx.TensorProto, held against its shape before memory is taken.

    Args:
        path: of the model; values outside it must lie in the same folder.
        tensor: the message.
    Raises:
        WeightError: a type that holds no numbers, fewer or more values than the shape claims, or
            values in a file that the model may not name.
    """
    name, shape = text(tensor.name), tuple(tensor.dims)
    if tensor.data_type not in TYPES or any(extent < 0 for extent in shape):
        raise WeightError(
            f"{name!r} of {str(path)!r} is refused: its type {tensor.data_type} and shape {shape} "
            "are not those of a tensor of numbers"
        )
    if tensor.HasField("segment"):
        raise WeightError(f"{name!r} of {str(path)!r} is refused: it is one part of a tensor")
    flat = _values(path, tensor, shape)
    try:
        return flat.reshape(shape)
    except ValueError as error:
        raise WeightError(f"{name!r} of {str(path)!r} claims shape {shape}: {error}") from None


def _values(path: Path, tensor: Any, shape: tuple[int, ...]) -> Array:
    """The values of a tensor, wherever they are, in one row."""
    name, (dtype, field) = text(tensor.name), TYPES[tensor.data_type]
    if tensor.data_location == tensor.EXTERNAL:
        return _external(path, tensor, dtype, math.prod(shape))
    if tensor.HasField("raw_data"):
        _check_size(path, name, shape, dtype, len(tensor.raw_data))
        return np.frombuffer(tensor.raw_data, dtype)
    numbers = getattr(tensor, field)
    _check_size(path, name, shape, dtype, len(numbers) * dtype.itemsize)
    if tensor.data_type in (10, 16):
        return np.array(numbers, np.int64).astype(np.uint16).view(dtype)
    return np.array(numbers, dtype)


def _check_size(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], stored: int
) -> None:
    """Raise WeightError unless a tensor has the bytes that its shape claims."""
    if math.prod(shape) * dtype.itemsize != stored:
        raise WeightError(
            f"{name!r} of {str(path)!r} claims shape {shape} of {dtype}, but {stored} bytes are "
            "there"
        )


def _external(path: Path, tensor: Any, dtype: np.dtype[Any], count: int) -> Array:
    """Values that lie in a file beside the model."""
    name = text(tensor.name)
    said = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    odd = sorted(said.keys() - EXTERNAL)
    if odd or len(said) < len(tensor.external_data) or said.get("basepath"):
        what = repr(odd[0]) if odd else "a key twice, or a base path"
        raise WeightError(
            f"the place of the values of {name!r} of {str(path)!r} is given by {what}, but "
            f"{', '.join(EXTERNAL)} say it, once each"
        )
    beside = _beside(path, name, said.get("location", ""))
    numbers = [said.get("offset", "0"), said.get("length", str(count * dtype.itemsize))]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise WeightError(f"{name!r} of {str(path)!r} names no place in a file")
    offset, length = map(int, numbers)
    _check_size(path, name, tuple(tensor.dims), dtype, length)
    if offset + length > beside.stat().st_size:
        raise WeightError(
            f"{name!r} of {str(path)!r} claims bytes {offset} to {offset + length} of "
            f"{beside.name!r}, which has {beside.stat().st_size}"
        )
    return np.fromfile(beside, dtype, count, offset=offset)


def _beside(path: Path, name: str, location: str) -> Path:
    """The file that a tensor's values lie in, which must be in the folder of the model."""
    folder = path.parent.resolve()
    windows = PureWindowsPath(location)
    outside = windows.drive or windows.root or ".." in windows.parts or "\0" in location
    target = Path(os.path.realpath(folder / PurePosixPath(location))) if not outside else folder
    if not location or outside or not target.is_relative_to(folder):
        raise WeightError(
            f"{str(path)!r} is refused: the values of {name!r} are said to lie in {location!r}, "
            "which leads out of its folder"
        )
    if not target.is_file():
        raise WeightError(f"the values of {name!r} of {str(path)!r} are missing: no {location!r}")
    return target
