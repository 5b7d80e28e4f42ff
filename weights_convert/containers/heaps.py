"""Global heaps of HDF5 files, in which texts of any length lie.

HDF5's library walks through a heap object by object. Where one of them claims to be of no size, as
damage may leave it, it never comes to the end, so heaps are walked through here before.

Source: HDF5 File Format Specification 3.0, section III.E; the hang was seen in HDF5 1.14.6.
"""

import functools
import mmap
from pathlib import Path
from typing import IO

SIGNATURE = b"GCOL"
# Bytes before the objects of a heap, and before the values of an object.
HEAD = 16
OBJECT = 16
VERSION = b"\x01\x00\x00\x00"


def is_endless(content: Path | IO[bytes]) -> bool:
    """Whether a file, or the bytes of one, hold a heap whose walk has no end."""
    if isinstance(content, Path):
        known = content.stat()
        return _file_is_endless(content, known.st_mtime_ns, known.st_size)
    content.seek(0)
    return _is_endless(content.read())


@functools.lru_cache(maxsize=8)
def _file_is_endless(path: Path, changed: int, size: int) -> bool:
    """Look once at a file that is opened several times."""
    if size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _is_endless(mapped)


def _is_endless(data: bytes | mmap.mmap) -> bool:
    """Walk through everything that looks like a heap."""
    offset = data.find(SIGNATURE)
    while offset >= 0:
        size = int.from_bytes(data[offset + 8 : offset + HEAD], "little")
        whole = data[offset + 4 : offset + 8] == VERSION and offset + size <= len(data)
        if whole and _stands_still(data, offset + HEAD, offset + size):
            return True
        offset = data.find(SIGNATURE, offset + 1)
    return False


def _stands_still(data: bytes | mmap.mmap, offset: int, end: int) -> bool:
    """Whether an object of a heap is followed by itself."""
    while end - offset >= OBJECT:
        index = int.from_bytes(data[offset : offset + 2], "little")
        size = int.from_bytes(data[offset + 8 : offset + OBJECT], "little")
        # The first is the free space, whose size says all of it.
        step = OBJECT + -(-size // 8) * 8 if index else size
        if step == 0:
            return True
        offset += step
    return False
