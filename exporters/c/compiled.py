"""A C file compiled with the system's compiler and called from Python."""

import ctypes
import functools
import hashlib
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import BackendMissing, WeightError

from .source import FACTS, identifier

COMPILER = "cc"
OPTIONS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic")
# Samples of the calls that a signal is cut into, again and again.
CHUNKS = (1, 5, 64, 2, 255)

FLOATS = ctypes.POINTER(ctypes.c_float)


@dataclass(frozen=True)
class Net:
    """A compiled file.

    Attributes:
        facts: of its header.
        reset, steps: its functions.
    """

    facts: dict[str, Any]
    reset: Any
    steps: Any


def compiler() -> str | None:
    """Where the compiler is, or None."""
    return shutil.which(COMPILER)


def facts_of(path: Path) -> dict[str, Any]:
    """What the header beside a C file says of the net.

    Raises:
        WeightError: it has no such line.
    """
    header = path.with_suffix(".h")
    for line in header.read_text("utf-8").splitlines():
        if line.startswith(FACTS):
            facts: dict[str, Any] = json.loads(line.removeprefix(FACTS))
            return facts
    raise WeightError(f"{str(header)!r} does not describe its net; export the model again")


def load(path: Path) -> Net:
    """Compile a C file, or take what came of it before.

    Raises:
        BackendMissing: no compiler.
        WeightError: it does not compile.
    """
    digest = hashlib.sha256(path.read_bytes() + path.with_suffix(".h").read_bytes()).hexdigest()
    return _loaded(path, digest)


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, digest: str) -> Net:
    """Compile and load; `digest` is that of what the files hold."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "net.so"
        compile_library(path, library)
        loaded = ctypes.CDLL(str(library))
    name = identifier(path.stem)
    return Net(facts_of(path), getattr(loaded, f"{name}_reset"), getattr(loaded, f"{name}_steps"))


def compile_library(path: Path, library: Path) -> None:
    """Make a shared library of a C file.

    Raises:
        BackendMissing: no compiler.
        WeightError: it does not compile.
    """
    program = compiler()
    if program is None:
        raise BackendMissing(f"running a C file needs the compiler {COMPILER!r}; install gcc")
    files = [str(path.absolute()), "-o", str(library)]
    command = [program, *OPTIONS, "-shared", "-fPIC", *files, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise WeightError(f"{COMPILER} does not compile {str(path)!r}: {first}")


def run_signal(net: Net, signal: Array, embeddings: Sequence[Array]) -> Array:
    """Stream one signal from its beginning, in calls of several sizes.

    Args:
        net: compiled.
        signal: (channels, time), float32.
        embeddings: each (channels,) or (channels, time).
    Returns:
        (channels, time), float32.
    """
    # The type of the struct is the compiler's; the header says how large it is.
    state = np.zeros(-(-net.facts["ram"] // 8), np.float64)
    net.reset(state.ctypes.data_as(ctypes.c_void_p))
    rows = [np.ascontiguousarray(array.T, np.float32) for array in (signal, *embeddings)]
    width, most = net.facts["output"]["channels"], net.facts["output"]["most"]
    y = np.empty((len(rows[0]) * most, width), np.float32)
    done = start = 0
    for size in itertools.cycle(CHUNKS):
        stop = min(start + size, len(rows[0]))
        parts = [_at(array, start) for array in rows]
        done += net.steps(state.ctypes.data_as(ctypes.c_void_p), *parts, stop - start, _at(y, done))
        start = stop
        if start == len(rows[0]):
            break
    return y[:done].T


def _at(array: Array, row: int) -> Any:
    """Where a row of a signal is; a vector is read from its beginning."""
    offset = row * array.strides[0] if array.ndim == 2 else 0
    return ctypes.cast(array.ctypes.data + offset, FLOATS)
