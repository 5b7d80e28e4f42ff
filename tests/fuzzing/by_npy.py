"""Mutations of .npy arrays, the members of .npz."""

import ast
import io
import pickle
import struct

import numpy as np

from tests.fuzzing import by_bytes
from tests.fuzzing.code import Code

HUGE = (2**20, 2**28, 2**31, 2**40, 2**62, 2**63, 10**30)
TYPES = (
    "<f8", "<f2", ">f4", "<i4", "|b1", "<V2", "|V4", "|O", "<U4", "|S4", "<M8[s]", "<c8", "<f16",
    "x", "",
    "<V0", "<U0", [("a", "<f4")], [("a", "<f4", (2**40,))], ("<f4", (2,)), 3, None, "<f4,<f4",
    "<V99999999999",
)  # fmt: skip


def header_bytes(header, version=1):
    """The bytes before the values, for a header that numpy may refuse to write."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def _parts(data):
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    size = struct.unpack("<H", file.read(2))[0]
    return ast.literal_eval(file.read(size).decode()), file.read()


def changed(data, choice, trap):
    """A changed array and what was done."""
    header, values = _parts(data)
    shape, version = header["shape"], 1
    how = choice.choice(
        ("shape", "shape", "type", "order", "header", "version", "values", "objects")
    )
    if how == "shape":
        header["shape"] = choice.choice([
            shape[::-1], (*shape, 1), (1, *shape), (), (0,), (-1,), shape[:-1], (0, 2**62), [2],
            "x", None,
            (1,) * 70, (2.0,), (True,), (-1, -1), (-2**31, -(2**33)), (choice.choice(HUGE),),
            (choice.choice(HUGE),) * 2, (*shape[:-1], *(one + 1 for one in shape[-1:])),
        ])  # fmt: skip
    elif how == "type":
        header["descr"] = choice.choice(TYPES)
    elif how == "order":
        header["fortran_order"] = choice.choice((True, True, None, 1, "x"))
    elif how == "version":
        version = choice.choice((0, 2, 3, 4, 255))
    elif how == "values":
        odd = (values[:-1], values + b"\0", b"", b"\xff" * len(values), bytes(len(values)))
        values = choice.choice(odd)
    elif how == "objects":
        header["descr"], header["shape"] = "|O", (1,)
        values = pickle.dumps(np.array([Code(str(trap.sentinel))], object))
    else:
        made = f"__import__('os').system('touch {trap.sentinel}')".encode()
        header = choice.choice((
            made, b"{" * 9000, b"(" * 60000, b"{'descr': " + made + b"}", b"1" * 9000, b"\xff\xfe",
            b"{}", b"",
            b"-" * 9000,
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",)}",
            {**header, "more": 1}, {"descr": "<f4"}, by_bytes.mutated(repr(header).encode(),
            choice)[0],
        ))  # fmt: skip
    return header_bytes(header, version) + values, f"{how} {str(header)[:60]!r}"
