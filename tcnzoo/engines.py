"""Which implementation of an operation runs: timed once on this machine, then remembered.

An operation that has several implementations, its engines, asks `fastest` for one. The first call
of a shape times them in turn. The result is kept in a file in the user's cache, one for each kind
of processor, which later calls and processes read. Engines differ in speed only: their numbers
agree within the tolerance of docs/semantics.md.

Two environment variables:
    TCNZOO_ENGINE: the name of an engine to be taken wherever it is offered; where it is not, the
        plain one runs. `plain` turns the choice off.
    TCNZOO_CACHE: the folder of the cache.
"""

import functools
import hashlib
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from tcnzoo.errors import InputError, suggestion
from tcnzoo.files.atomic import replacing
from tcnzoo.version import __version__

ENGINE = "TCNZOO_ENGINE"
CACHE = "TCNZOO_CACHE"
PLAIN = "plain"
# Every engine that some operation offers.
ENGINES = (PLAIN, "channels last", "packed", "k-tap", "toom-cook", "compiled", "scaled")

# How much faster than the plain engine another must be to take its place.
GAIN = 1.03
# Rounds in which engines take turns: so many at least, and more while they take less than BUDGET.
FEWEST, MOST = 5, 25
BUDGET = 0.1  # seconds

# What time is read from; a test puts another in its place.
clock: Callable[[], float] = time.perf_counter

_lock = threading.RLock()
_chosen: dict[tuple[str, str], "Choice"] = {}


@dataclass(frozen=True)
class Choice:
    """What was measured for one shape of one operation.

    Attributes:
        operation: such as `conv1d forward`.
        shape: widths, lengths and threads, as text.
        engine: the one that is taken.
        seconds: median time of one call, by engine.
    """

    operation: str
    shape: str
    engine: str
    seconds: dict[str, float]


def asked_for() -> str | None:
    """The engine that TCNZOO_ENGINE names, or None.

    Raises:
        InputError: no engine has this name.
    """
    name = os.environ.get(ENGINE)
    if name and name not in ENGINES:
        raise InputError(f"unknown engine {name!r} in {ENGINE}{suggestion(name, ENGINES)}")
    return name or None


def fastest(
    operation: str, shape: str, engines: Mapping[str, Callable[[], object]], *, package: str
) -> str:
    """Choose an engine for one shape of an operation.

    Args:
        operation: what is computed, such as `conv1d forward`.
        shape: all that the speed depends on: widths, length, threads.
        engines: by name, a call that computes this shape with each; the first one is `plain`. They
            are only called where nothing is known of the shape yet.
        package: name and version of the framework, such as `torch 2.13.0`.
    Returns:
        The name of the fastest engine; `plain` unless another is faster by more than GAIN.
    Raises:
        InputError: TCNZOO_ENGINE names no engine.
    """
    asked = asked_for()
    if asked is not None:
        return asked if asked in engines else PLAIN
    if len(engines) == 1:
        return PLAIN
    key = f"{package}; {operation}", shape
    with _lock:
        choice = _chosen.get(key)
        if choice is None or choice.engine not in engines:
            choice = _remembered(*key, engines)
            _chosen[key] = choice
    return choice.engine


def known() -> list[Choice]:
    """All that was measured on this machine so far, in this process and in earlier ones."""
    path = cache_file()
    rows = {(row["operation"], row["shape"]): Choice(**row) for row in _read(path)}
    return sorted({**rows, **_chosen}.values(), key=lambda one: (one.operation, one.shape))


def forget() -> None:
    """Drop the choices of this process; those on the disk stay."""
    with _lock:
        _chosen.clear()


def measured(engines: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of one call, by engine and round. In a round every engine runs once."""
    for call in engines.values():
        call()  # what is made at the first call is not counted
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    start = clock()
    for count in range(MOST):
        for name, call in engines.items():
            begun = clock()
            call()
            seconds[name].append(clock() - begun)
        if count + 1 >= FEWEST and clock() - start > BUDGET:
            break
    return seconds


def _chosen_of(seconds: Mapping[str, list[float]]) -> str:
    """The engine with the largest median of ratios to the plain one, if that is above GAIN."""
    plain = next(iter(seconds.values()))
    ratios = {
        name: statistics.median(a / b for a, b in zip(plain, times, strict=True))
        for name, times in seconds.items()
    }
    best = max(ratios, key=lambda name: ratios[name])
    return best if ratios[best] > GAIN else PLAIN


def _remembered(operation: str, shape: str, engines: Mapping[str, Callable[[], object]]) -> Choice:
    """The choice that the file has, or one that is measured now and written there."""
    path = cache_file()
    choice = _stored(path, operation, shape)
    if choice is not None and choice.engine in engines:
        return choice
    seconds = measured(engines)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    choice = Choice(operation, shape, _chosen_of(seconds), medians)
    with suppress(OSError):  # a cache that cannot be written: each process measures
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            # Another process may have measured at the same time: the first one counts.
            first = _stored(path, operation, shape)
            if first is not None and first.engine in engines:
                return first
            rows = [
                row for row in _read(path) if (row["operation"], row["shape"]) != (operation, shape)
            ]
            with replacing(path) as temporary:
                temporary.write_text(json.dumps([*rows, asdict(choice)], indent=1), "utf-8")
    return choice


def _stored(path: Path, operation: str, shape: str) -> Choice | None:
    """What the file says of one shape."""
    for row in _read(path):
        if (row["operation"], row["shape"]) == (operation, shape):
            return Choice(**row)
    return None


def _read(path: Path) -> list[dict[str, Any]]:
    """Rows of a cache file; none where it is absent or damaged, so that it is measured again."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        return [asdict(Choice(**row)) for row in rows]
    except (OSError, ValueError, TypeError):
        return []


def cache_folder() -> Path:
    """Where measurements are kept: TCNZOO_CACHE, else the user's cache."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("tcnzoo"))


def cache_file() -> Path:
    """The file of this processor and this version of tcnzoo."""
    facts = json.dumps([processor(), _flags(), os.cpu_count(), __version__])
    return cache_folder() / f"engines-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.json"


@functools.cache
def processor() -> str:
    """Name of the processor, with the widest vector instructions that it is known to have."""
    lines = _cpu_lines("model name")
    name = lines[0] if lines else platform.processor() or platform.machine()
    flags = set(_flags().split())
    wide = next((text for flag, text in WIDE.items() if flag in flags), None)
    return f"{name}, {wide}" if wide else name


# Flag of the kernel -> what it is called.
WIDE = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


@functools.cache
def _flags() -> str:
    """Instruction sets, where the system says them."""
    lines = _cpu_lines("flags") or _cpu_lines("Features")
    return lines[0] if lines else ""


def _cpu_lines(name: str) -> list[str]:
    """Values of a field of /proc/cpuinfo, one for each core."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(name)]
