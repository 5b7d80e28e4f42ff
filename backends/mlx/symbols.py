"""The functions that a loaded library calls in others, and pointing those calls elsewhere.

A shared library of Linux keeps a table with one pointer for each function that it calls in another
library. Its dynamic section, which is in memory, says where each pointer is.

Source: System V ABI, AMD64 supplement 1.0, chapter 5.2; ELF for the Arm 64-bit Architecture.
"""

import ctypes
import os
import platform
from collections.abc import Collection
from pathlib import Path

# Tags of entries of a dynamic section.
SIZE, STRINGS, SYMBOLS, FORM, CALLS = 2, 5, 6, 20, 23
RELA = 7
# Sizes of a relocation and of a symbol, in bytes.
RELOCATION, SYMBOL = 24, 24
# The kind of relocation that fills in a pointer to a function, by processor.
JUMP_SLOT = {"x86_64": 7, "aarch64": 1026}
LINK_MAP = 2  # what dlinfo is asked for


class _Library(ctypes.Structure):
    """The start of glibc's `link_map`."""

    _fields_ = (
        ("base", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_size_t),
    )


class _Place(ctypes.Structure):
    """glibc's `Dl_info`."""

    _fields_ = (
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def loaded(path: Path) -> ctypes.CDLL | None:
    """The library of this file, if the process has loaded it."""
    try:
        return ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return None


def pointers(library: ctypes.CDLL, names: Collection[str]) -> dict[str, ctypes.c_size_t]:
    """Where a loaded library keeps its pointers to functions of other libraries.

    Args:
        library: as `loaded` returns it.
        names: of functions.
    Returns:
        By name, the pointer itself: its `value` can be set. Functions that are not called so, or a
        processor or C library of another kind, leave it without them.
    """
    kind, process = JUMP_SLOT.get(platform.machine()), ctypes.CDLL(None)
    if kind is None or not hasattr(process, "dlinfo") or ctypes.sizeof(ctypes.c_size_t) != 8:
        return {}
    entry = ctypes.POINTER(_Library)()
    if process.dlinfo(ctypes.c_void_p(library._handle), LINK_MAP, ctypes.byref(entry)) != 0:
        return {}
    base, table = entry.contents.base, _dynamic(entry.contents)
    if table.get(FORM) != RELA or not {SIZE, STRINGS, SYMBOLS, CALLS} <= set(table):
        return {}
    calls = {}
    for start in range(table[CALLS], table[CALLS] + table[SIZE], RELOCATION):
        offset, facts, _ = (ctypes.c_uint64 * 3).from_address(start)
        symbol = table[SYMBOLS] + SYMBOL * (facts >> 32)
        text = table[STRINGS] + ctypes.c_uint32.from_address(symbol).value
        name = ctypes.string_at(text).decode("ascii", "replace")
        if facts & 0xFFFFFFFF == kind and name in names:
            calls[name] = ctypes.c_size_t.from_address(base + offset)
    return calls


def _dynamic(library: _Library) -> dict[int, int]:
    """The dynamic section, with addresses as they are in memory (musl leaves them relative)."""
    table: dict[int, int] = {}
    start = library.dynamic
    while True:
        tag, value = (ctypes.c_uint64 * 2).from_address(start)
        if tag == 0:
            return table
        address = tag in (STRINGS, SYMBOLS, CALLS)
        table[tag] = value + library.base if address and value < library.base else value
        start += 16


def writable(pointer: ctypes.c_size_t) -> bool:
    """Whether the memory of a pointer can be written (a library may have closed its table)."""
    address = ctypes.addressof(pointer)
    for line in Path("/proc/self/maps").read_text("utf-8").splitlines():
        extent, access = line.split()[:2]
        first, last = (int(text, 16) for text in extent.split("-"))
        if first <= address < last:
            return "w" in access
    return False


def address_of(library: ctypes.CDLL, name: str) -> int:
    """Address of a function.

    Raises:
        AttributeError: the library has no such function.
    """
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return address or 0


def library_of(address: int) -> Path | None:
    """The file of the library that has this address."""
    answer = _Place()
    if not ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(answer)):
        return None
    return Path(os.fsdecode(answer.path))
