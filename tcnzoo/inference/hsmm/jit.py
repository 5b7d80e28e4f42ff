"""Loops that numba compiles, where it is installed."""

import importlib.util
from collections.abc import Callable
from typing import TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])


# Sums may be taken in any order, which is what lets them run in vector registers.
ANY_ORDER = frozenset({"reassoc", "contract"})
# Largest numbers, too, where none of them is NaN.
NO_NAN = ANY_ORDER | {"nnan", "nsz"}


def jit(function: F, freely: frozenset[str] = ANY_ORDER) -> F:
    """Compile with numba; the machine code is kept beside the file, or in the user's cache.

    Without numba the function stays as it is, so that its module can be imported.

    Args:
        freely: what the compiler may change about sums; names of LLVM.
    """
    if importlib.util.find_spec("numba") is None:
        return function
    import numba

    # A division by 0 gives infinity, as in numpy.
    options = {"fastmath": set(freely), "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(F, numba.njit(**options)(function))


def jit_maxima(function: F) -> F:
    """`jit` for functions that see no NaN."""
    return jit(function, NO_NAN)
