"""Numbers of numpy and paths in a .pt archive, read as plain values.

Training code saves its scores and its configuration as such. torch refuses them unless it is told
which functions of numpy and pathlib may run. None does here: what stands in for them takes eight
bytes or fewer and gives a Python number, or takes text and gives text.
"""

import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
# Where numpy 1 and numpy 2 keep the function.
MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
# Where Python before 3.13, 3.13 itself, and those after it keep the classes.
PATH_MODULES = ("pathlib", "pathlib._local")
PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


class NumberKind:
    """Stands in for `numpy.dtype`: the kinds of plain numbers, and no other."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        """Take a code such as `f8`."""
        if code not in KINDS:
            raise pickle.UnpicklingError(f"a number of kind {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order, which is all that matters of a dtype's state."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("a number of no byte order")
        self.dtype = self.dtype.newbyteorder(order)


def _number(made: type, kind: Any, data: Any = None) -> Any:
    """Stand in for `numpy.core.multiarray.scalar`."""
    if not isinstance(kind, NumberKind) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("something else than a number")
    if len(data) != kind.dtype.itemsize:
        raise pickle.UnpicklingError("a number of another size than its kind")
    return np.frombuffer(data, kind.dtype)[0].item()


def _path(made: type, *parts: Any) -> str:
    """Stand in for a class of `pathlib`: the parts of a path as text."""
    if not all(isinstance(part, str) for part in parts):
        raise pickle.UnpicklingError("a path of something else than text")
    return "/".join(parts).replace("//", "/")


def _named(module: str, name: str, **inside: Any) -> type:
    """A class that goes by the name of something in numpy or pathlib."""
    return type(name, (NumberKind,) if name == "dtype" else (), {"__module__": module, **inside})


STAND_INS = (
    _named("numpy", "dtype"),
    *(_named(module, "scalar", __new__=_number) for module in MODULES),
    *(_named(module, name, __new__=_path) for module in PATH_MODULES for name in PATHS),
)


@contextlib.contextmanager
def numbers_allowed() -> Iterator[None]:
    """Let torch's safe loading give these and nothing else that somebody may have allowed."""
    from torch import serialization

    before = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    serialization.add_safe_globals(list(STAND_INS))
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)
