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
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tcnzoo.errors import InputError, suggestion
from tcnzoo.version import __version__

ENGINE = "TCNZOO_ENGINE"
CACHE = "TCNZOO_CACHE"
PLAIN = "plain"
# Every engine that some operation offers.
ENGINES = (
    PLAIN,
    "channels last",
    "packed",
    "k-tap",
    "toom-cook",
    "compiled",
    "scaled",
    "chunks of 16",
    "chunks of 32",
    "chunks of 64",
)

# How much faster than the plain engine another must be to take its place.
GAIN = 1.03
# Rounds in which engines take turns: so many at least, and more while they take less than BUDGET.
FEWEST, MOST = 5, 25
BUDGET = 0.1  # seconds

# What time is read from; a test puts another in its place.
clock: Callable[[], float] = time.perf_counter

_lock = threading.RLock()
_chosen: dict[tuple[str, str], "Choice"] = {}
# What `recorded` blocks that are running have collected.
_records: list[dict[tuple[str, str], "Choice"]] = []


@dataclass(frozen=True)
class Choice:
    """What was measured for one shape of one operation.

    Attributes:
        operation: such as `conv1d forward`.
        shape: widths, lengths and threads, as text.
        engine: the one that is taken.
        seconds: least time of one call, by engine.
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
    if len(engines) == 1:
        return PLAIN
    key = f"{package}; {operation}", shape
    if asked is not None:
        name = asked if asked in engines else PLAIN
        _record(Choice(*key, name, {}))
        return name
    with _lock:
        choice = _chosen.get(key)
        if choice is None or choice.engine not in engines:
            choice = _remembered(*key, engines)
            _chosen[key] = choice
    _record(choice)
    return choice.engine


@contextmanager
def recorded() -> Iterator[dict[tuple[str, str], Choice]]:
    """Collect what `fastest` answers while the block runs, in any thread.

    Yields:
        The choices by operation and shape, without times where TCNZOO_ENGINE named the engine.
    """
    choices: dict[tuple[str, str], Choice] = {}
    _records.append(choices)
    try:
        yield choices
    finally:
        _records[:] = [others for others in _records if others is not choices]


def _record(choice: Choice) -> None:
    """Give an answer of `fastest` to the blocks that collect them."""
    for choices in _records:
        choices[choice.operation, choice.shape] = choice


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


def _chosen_of(seconds: Mapping[str, float]) -> str:
    """The engine that takes the least time, if that is less than the plain one's by GAIN."""
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[PLAIN] > GAIN * seconds[best] else PLAIN


def _remembered(operation: str, shape: str, engines: Mapping[str, Callable[[], object]]) -> Choice:
    """The choice that the file has, or one that is measured now and written there."""
    from filelock import FileLock  # both only where something is measured, as most commands do not

    from tcnzoo.files.atomic import replacing

    path = cache_file()
    choice = _stored(path, operation, shape)
    if choice is not None and choice.engine in engines:
        return choice
    # Other programs only ever add time, so the least of the rounds is what a call takes.
    least = {name: min(times) for name, times in measured(engines).items()}
    choice = Choice(operation, shape, _chosen_of(least), least)
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


class SlowTypeWarning(UserWarning):
    """A 16-bit type is asked for on a processor that has no instructions for it."""


# 16-bit float type -> flags of processors that compute in it, of x86 and then of ARM.
SIXTEEN = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16", "svebf16"},
    "float16": {"avx512_fp16", "amx_fp16", "fphp", "asimdhp"},
}
_warned: set[str] = set()


def warn_of_slow(dtype: str, asked: str, instead: str) -> None:
    """Warn once of a 16-bit type that the processor has no instructions for.

    Nothing is said where the system does not tell what the processor has.

    Args:
        dtype: any float type.
        asked: what asks for it, such as `dtype 'bfloat16'`.
        instead: what to do, such as `leave dtype at 'float32'`.
    """
    flags = set(_flags().split())
    if dtype not in SIXTEEN or dtype in _warned or not flags or flags & SIXTEEN[dtype]:
        return
    _warned.add(dtype)
    warnings.warn(
        f"{asked} is slow on this processor ({processor()}), which has no instructions for "
        f"{dtype}: float32 may be several times as fast; {instead}",
        SlowTypeWarning,
        stacklevel=4,
    )


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
