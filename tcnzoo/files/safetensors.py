"""Files of format .safetensors, read and written one tensor at a time.

Eight bytes of length, a header in JSON (name -> type, shape, place; text under `__metadata__`),
then the values, little-endian and without gaps.

safetensors 0.8.0 is not used: it stores transposed, strided and flipped numpy arrays with wrong
values and no error, copies a tensor twice where ours is a view of the file, has no float8 in numpy,
and writes from memory only.

Source: https://github.com/huggingface/safetensors#format.
"""

import json
import math
import mmap
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.atomic import replacing
from tcnzoo.files.lazy import Facts, LazyTensors, Tensors, facts_of

CODES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "F32": np.dtype(np.float32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}
METADATA = "__metadata__"
# What the format's own library reads at most, and what every numpy holds.
LONGEST_HEADER = 100_000_000
MOST_AXES = 32
TOO_MANY = 2**63
# Bytes that are laid out in order, and written, at a time: a mapped file is written from twice as
# fast in such pieces as at once.
PIECE = 2**20


class _Source:
    """An open file: what it held stays readable when another file takes its name."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        self.size = os.fstat(self.descriptor).st_size


def open_safetensors(path: Path) -> tuple[LazyTensors, dict[str, str]]:
    """Hold the header of a file against its size, and map its tensors as they are asked for.

    Each array is a read-only view of the file, which takes no memory once it is dropped.

    Returns:
        (tensors in the order of the header, metadata).
    Raises:
        InputError: no such file.
        WeightError: the file is cut short, is not safetensors, or holds a type that numpy cannot.
    """
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    source = _Source(path)
    try:
        facts, places, metadata = _table(source)
    except (ValueError, RecursionError) as error:
        raise WeightError(f"{str(path)!r} is not a whole safetensors file: {error}") from None
    except LookupError as error:
        raise WeightError(f"{str(path)!r} holds a type that numpy cannot: {error}") from None
    return LazyTensors(facts, lambda name: _mapped(source, places[name], facts[name])), metadata


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Read all arrays, into memory, and the metadata; raises as `open_safetensors`."""
    tensors, metadata = open_safetensors(path)
    return {name: np.array(array) for name, array in tensors.items()}, metadata


def safetensors_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a .safetensors file, and no tensor; raises as `open_safetensors`."""
    return open_safetensors(path)[1]


def _table(source: _Source) -> tuple[dict[str, Facts], dict[str, int], dict[str, str]]:
    """Facts of each tensor, where its values begin in the file, and the metadata.

    Raises:
        ValueError: a header that is not one, or that the file does not fill.
        LookupError: an unknown type.
    """
    length = int.from_bytes(os.pread(source.descriptor, 8, 0), "little")
    if source.size < 8 or length > min(LONGEST_HEADER, source.size - 8):
        raise ValueError(f"its {source.size} bytes have no room for the header")
    document = json.loads(
        os.pread(source.descriptor, length, 8).decode("utf-8"),
        object_pairs_hook=_without_twins,
        parse_constant=_no_number,
    )
    if not isinstance(document, dict):
        raise ValueError("the header is no mapping")
    metadata = document.pop(METADATA, None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not text")
    entries = {name: _entry(name, row) for name, row in document.items()}
    end = 0
    for name, (_, first, last) in sorted(entries.items(), key=lambda row: row[1][1:]):
        if first != end:
            raise ValueError(f"tensor {name!r} begins at {first}, but the one before ends at {end}")
        end = last
    if end != source.size - 8 - length:
        raise ValueError(f"its tensors take {end} bytes, but {source.size - 8 - length} are there")
    facts = {name: entry[0] for name, entry in entries.items()}
    return facts, {name: 8 + length + entry[1] for name, entry in entries.items()}, metadata


def _no_number(word: str) -> None:
    """Refuse NaN and infinities, which Python's JSON takes and JSON has not."""
    raise ValueError(f"its header holds {word}, which is no JSON")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of the header, unless two of its entries have one name."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("two entries of the header have one name")
    return mapping


def _entry(name: str, entry: Any) -> tuple[Facts, int, int]:
    """One row of the header: facts, and first and last place among the values."""
    row: dict[str, Any] = entry if isinstance(entry, dict) else {}
    code, shape, offsets = row.get("dtype"), row.get("shape"), row.get("data_offsets")
    if not (isinstance(code, str) and _counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise ValueError(f"the entry of tensor {name!r} is malformed")
    if code not in CODES:
        raise LookupError(f"tensor {name!r} is of type {code!r}")
    facts = Facts(tuple(shape), CODES[code])
    # Also an empty array cannot have axes of any size.
    widest = math.prod(max(extent, 1) for extent in shape) * facts.dtype.itemsize
    if widest >= TOO_MANY or offsets[1] - offsets[0] != facts.nbytes:
        raise ValueError(
            f"tensor {name!r} claims shape {tuple(shape)} of {code}, but has "
            f"{offsets[1] - offsets[0]} bytes"
        )
    return facts, offsets[0], offsets[1]


def _counts(values: Any) -> TypeGuard[list[int]]:
    """Whether something is a short list of whole numbers, none negative."""
    return (
        isinstance(values, list)
        and len(values) <= MOST_AXES
        and all(type(number) is int and 0 <= number < TOO_MANY for number in values)
    )


def _mapped(source: _Source, start: int, facts: Facts) -> Array:
    """Map one tensor; the mapping ends with the last view of it."""
    if facts.size == 0:
        return np.empty(facts.shape, facts.dtype)
    first = start - start % mmap.ALLOCATIONGRANULARITY
    length = start - first + facts.nbytes
    try:
        mapping = mmap.mmap(source.descriptor, length, access=mmap.ACCESS_READ, offset=first)
    except ValueError:
        raise WeightError(f"{str(source.path)!r} was cut short while it was read") from None
    mapping.madvise(mmap.MADV_WILLNEED)
    return np.frombuffer(mapping, facts.dtype, facts.size, start - first).reshape(facts.shape)


def write_safetensors(
    path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays of any strides: the one writer of .safetensors in this project.

    Every array is laid out in C order here, in pieces; the file is never in memory.

    Args:
        path: of the file, which is whole or not there.
        tensors: arrays, lazy or not; wide types come first, so that all are aligned.
        metadata: text for the header.
    Raises:
        WeightError: a type that the format has no name for.
    """
    with replacing(path) as temporary:
        put_safetensors(temporary, tensors, metadata)


def put_safetensors(
    path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None
) -> None:
    """As `write_safetensors`, under a name that is temporary already."""
    known = facts_of(tensors)
    names = sorted(known, key=lambda name: -known[name].dtype.itemsize)
    header = _header({name: known[name] for name in names}, metadata or {})
    with path.open("wb") as file:
        file.write(header)
        for name in names:
            for piece in pieces(tensors[name]):
                file.write(piece.reshape(-1).view(np.uint8).data)


def _header(facts: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the values; spaces fill them to a multiple of eight."""
    codes = {dtype: code for code, dtype in CODES.items()}
    document: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, fact in facts.items():
        code = codes.get(fact.dtype.newbyteorder("="))
        if code is None or name == METADATA:
            raise WeightError(
                f"tensor {name!r} of type {fact.dtype} cannot be written as safetensors"
            )
        start, end = end, end + fact.nbytes
        document[name] = {"dtype": code, "shape": list(fact.shape), "data_offsets": [start, end]}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def pieces(array: Array) -> Iterator[Array]:
    """Yield an array of any strides in C order, little-endian, in small pieces."""
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        flat, count = array.reshape(-1), PIECE // array.itemsize
        for start in range(0, array.size, count):
            yield flat[start : start + count]
    elif array.nbytes <= PIECE or array.ndim == 0:
        yield np.asarray(array, dtype=little, order="C")
    elif array[0].nbytes > PIECE:
        for row in array:
            yield from pieces(row)
    else:
        step = PIECE // array[0].nbytes
        for start in range(0, len(array), step):
            yield np.asarray(array[start : start + step], dtype=little, order="C")
