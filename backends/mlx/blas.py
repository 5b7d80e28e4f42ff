"""A tuned BLAS for MLX's CPU device on Linux, whose wheels bring the slow reference BLAS.

OpenBLAS of the system, else that of the package `scipy-openblas32`, is loaded for MLX alone: it
is not visible to other libraries of the process, and only MLX's own pointers to the products of
matrices are set to it. Nothing needs to be preloaded or compiled.

Environment variables:
    TCNZOO_MLX_BLAS: `0` leaves MLX as it is.
    OPENBLAS_NUM_THREADS: threads of a product; 1 if it is not set. OpenBLAS's threads wait for each
        other without sleeping, so that on busy cores two are many times slower than one.
"""

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import symbols

SWITCH = "TCNZOO_MLX_BLAS"
THREADS = "OPENBLAS_NUM_THREADS"
PRODUCTS = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")
# A function that only a tuned BLAS has: OpenBLAS, MKL, BLIS.
TUNED = ("openblas_get_config", "MKL_Get_Version", "bli_info_get_version_str")
SYSTEM, PACKAGE = "libopenblas.so.0", "scipy_openblas32"
INSTALL = "pip install scipy-openblas32, or install libopenblas.so.0 (Debian: libopenblas0-pthread)"


@dataclass(frozen=True)
class Blas:
    """What multiplies matrices on MLX's CPU device.

    Attributes:
        tuned: whether it is fast.
        name: what it is, for people.
        advice: what makes it fast, or None.
        library: OpenBLAS, where it is known, and what the names of its functions begin with.
    """

    tuned: bool
    name: str
    advice: str | None = None
    library: tuple[ctypes.CDLL, str] | None = None


class Unusable(Exception):
    """An OpenBLAS that cannot be used; the message says why."""


@functools.cache
def current_blas() -> Blas:
    """Give MLX a tuned BLAS where it has none, once; it never raises."""
    if sys.platform != "linux":
        return Blas(True, "the system's BLAS")
    present = _present()
    if present is not None:
        return present
    if os.environ.get(SWITCH) == "0":
        return _reference(f"{SWITCH}=0 is set", f"unset {SWITCH}")
    problems = []
    for load in (_system, _package):
        try:
            return _installed(*load())
        except (Unusable, OSError, AttributeError) as error:
            problems.append(str(error))
    return _reference("; ".join(problems), INSTALL)


def _reference(reason: str, advice: str) -> Blas:
    """What MLX brings itself."""
    return Blas(False, f"the slow reference BLAS of MLX's wheel ({reason})", advice)


def _present() -> Blas | None:
    """The tuned BLAS that MLX has without our help: preloaded, or the one it was built with."""
    process = ctypes.CDLL(None)
    if hasattr(process, "cblas_sgemm"):
        known = (process, "") if hasattr(process, "openblas_set_num_threads") else None
        return Blas(True, "a preloaded BLAS", library=known)
    mlx = _mlx()
    if mlx is None or not hasattr(mlx, "cblas_sgemm"):
        return None
    path = symbols.library_of(symbols.address_of(mlx, "cblas_sgemm"))
    library = symbols.loaded(path) if path is not None else None
    if library is None or not any(hasattr(library, name) for name in TUNED):
        return None
    known = (library, "") if hasattr(library, "openblas_set_num_threads") else None
    return Blas(True, f"{path}, with which MLX was built", library=known)


def _mlx() -> ctypes.CDLL | None:
    """The library of MLX that calls the BLAS."""
    import mlx.core as mx

    folder = Path(mx.__file__).parent
    return symbols.loaded(folder / "lib" / "libmlx.so") or symbols.loaded(Path(mx.__file__))


def _system() -> tuple[ctypes.CDLL, str]:
    """OpenBLAS of the system, and what its names begin with."""
    return _loaded(SYSTEM), ""


def _package() -> tuple[ctypes.CDLL, str]:
    """OpenBLAS of the package, which is not imported: that would show it to other libraries."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Unusable("scipy-openblas32 is not installed")
    path = Path(spec.origin).parent / "lib" / "libscipy_openblas.so"
    return _loaded(str(path)), "scipy_"


def _loaded(name: str) -> ctypes.CDLL:
    """Load OpenBLAS for nobody else; without THREADS it starts none beside the calling one."""
    wanted = os.environ.get(THREADS)
    if wanted is not None:
        return ctypes.CDLL(name, mode=os.RTLD_LOCAL | os.RTLD_NOW)
    os.environ[THREADS] = "1"
    try:
        return ctypes.CDLL(name, mode=os.RTLD_LOCAL | os.RTLD_NOW)
    finally:
        del os.environ[THREADS]


def _installed(library: ctypes.CDLL, prefix: str) -> Blas:
    """Point MLX's products to a library.

    Raises:
        Unusable: it computes something else, or MLX's pointers were not found.
    """
    config = getattr(library, f"{prefix}openblas_get_config")
    config.restype = ctypes.c_char_p
    words = config().decode().split()
    name = " ".join(word for word in words if word == "OpenBLAS" or word[:1].isdigit())
    if "USE64BITINT" in words:
        raise Unusable(f"{name} takes 64-bit sizes")
    if THREADS not in os.environ:
        getattr(library, f"{prefix}openblas_set_num_threads")(1)
    if not _right(library, prefix):
        raise Unusable(f"{name} multiplies wrongly here")
    mlx = _mlx()
    pointers = symbols.pointers(mlx, PRODUCTS) if mlx is not None else {}
    if set(pointers) != set(PRODUCTS) or not all(map(symbols.writable, pointers.values())):
        raise Unusable("MLX's calls of a BLAS were not found")
    for product, pointer in pointers.items():
        pointer.value = symbols.address_of(library, prefix + product)
    count = getattr(library, f"{prefix}openblas_get_num_threads")()
    source = "scipy-openblas32" if prefix else SYSTEM
    threads = f"{count} thread" if count == 1 else f"{count} threads"
    return Blas(True, f"{name} of {source} on {threads}", library=(library, prefix))


def _right(library: ctypes.CDLL, prefix: str) -> bool:
    """Whether a small product of each type is what numpy has, called as MLX calls it."""
    generator = np.random.default_rng(0)
    rows, plain = 101, 111  # of cblas: by rows, not transposed
    for product, dtype in zip(PRODUCTS, ("float32", "float64", "complex64"), strict=True):
        a, b = (generator.integers(-8, 9, shape).astype(dtype) for shape in ((5, 7), (7, 3)))
        y = np.full((5, 3), np.nan, dtype)
        real = {"float32": ctypes.c_float, "float64": ctypes.c_double}.get(dtype)
        one, nil = np.ones(1, dtype), np.zeros(1, dtype)
        factors = [ctypes.c_void_p(part.ctypes.data) for part in (one, nil)]
        scales = [real(1), real(0)] if real is not None else factors
        data = [ctypes.c_void_p(array.ctypes.data) for array in (a, b, y)]
        sizes = map(ctypes.c_int, (rows, plain, plain, 5, 3, 7))
        call = getattr(library, prefix + product)
        call(*sizes, scales[0], data[0], 7, data[1], 3, scales[1], data[2], 3)
        if not np.array_equal(y, a @ b):  # whole numbers: no rounding
            return False
    return True


@contextmanager
def one_thread() -> Iterator[None]:
    """Products inside are computed on one thread, as small ones are fastest."""
    known = current_blas().library
    if known is None:
        yield
        return
    library, prefix = known
    count = getattr(library, f"{prefix}openblas_get_num_threads")()
    if count == 1:
        yield
        return
    limit = getattr(library, f"{prefix}openblas_set_num_threads")
    limit(1)
    try:
        yield
    finally:
        limit(count)
