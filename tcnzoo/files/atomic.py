"""Files that are written whole or not at all: the one way in which this project writes files.

How, and what a process that is killed leaves: see `stages`.
"""

import contextlib
import errno
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tcnzoo.errors import InputError
from tcnzoo.files.stages import (
    PREFIX,
    Stage,
    flush_directory,
    lock_at,
    settle,
    settle_committed,
    staged,
)

__all__ = [
    "exclusive",
    "flush_directory",
    "in_folder",
    "is_stream",
    "refuse_existing",
    "replacing",
    "replacing_directory",
    "replacing_in",
    "replacing_pair",
    "settle_below",
    "settle_committed",
]

# Of a directory; that of a file has its name in it.
LOCK = ".tcnzoo.lock"
# Seconds in which a process that has ended its write lets the lock go.
AT_ONCE = 0.2
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Bytes that a library may write beside the values.
BESIDE = 2**20
# Bytes by which it is tried whether there is room at all.
SOME = b"\0" * 2**16
# Where the open files of a process have names.
DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2}
DESCRIPTOR_FOLDERS = ("/dev/fd", "/proc/self/fd")

Old = Callable[[Iterable[str]], Iterable[str]]


def _none(_: Iterable[str]) -> Iterable[str]:
    """Nothing is removed."""
    return ()


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; a failure inside the block removes them again if empty.

    A symbolic link to a folder that is not there yet stays.
    """
    folder = Path(os.path.realpath(folder))
    made = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for above in made:
            with contextlib.suppress(OSError):  # somebody else has put something into it
                above.rmdir()
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path of the same name, whose file takes the place of `path` at the end.

    A failure inside the block removes what was written, and the folder if that is new, and leaves
    what was at `path` untouched. A file keeps the mode of the one before, and a new one has what
    the umask leaves; a symbolic link stays, and what it points at is replaced; a pipe or device
    gets the bytes when all are there. The block may make a directory instead of a file.

    Raises:
        OSError: no room, or no right to write there; it names `path`.
    """
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            _pour(Path(folder) / path.name, path)
        return
    real = Path(os.path.realpath(path))
    with in_folder(real.parent), staged(real.parent) as stage, _roomy(stage, lambda _: path):
        yield stage.files / path.name
        stage.commit({path.name: real.name})


@contextlib.contextmanager
def replacing_in(folder: Path, old: Old = _none) -> Iterator[Path]:
    """Give an empty directory, all files of which take their places in `folder` at the end.

    All do or none does, whenever the process ends; otherwise as `replacing`.

    Args:
        folder: made if it is not there.
        old: takes the names that are written; gives those in `folder` that are removed with it.
    """
    with in_folder(folder), staged(folder) as stage, _roomy(stage, lambda name: folder / name):
        yield stage.files
        names = sorted(file.name for file in stage.files.iterdir())
        stage.commit({name: name for name in names}, old(names))


@contextlib.contextmanager
def replacing_directory(folder: Path, old: Old = _none) -> Iterator[Path]:
    """As `replacing_in`, where what is in a folder belongs together: one process at a time.

    Raises:
        InputError: another process is writing there.
    """
    with in_folder(folder), exclusive(folder), replacing_in(folder, old) as files:
        yield files


@contextlib.contextmanager
def replacing_pair(path: Path, beside: Path) -> Iterator[tuple[Path, Path]]:
    """Give temporary paths for a file and another beside it; both take their places or neither.

    Raises:
        InputError: another process is writing the file, or it is no file that another can lie by.
    """
    if is_stream(path):
        raise InputError(
            f"{str(path)!r} is a pipe or device, but {beside.name!r} is written beside it; "
            "choose the name of a file"
        )
    with in_folder(path.parent), exclusive(path), replacing_in(path.parent) as files:
        yield files / path.name, files / beside.name


@contextlib.contextmanager
def exclusive(path: Path, what: str = "is being written") -> Iterator[None]:
    """Hold the lock of a file or directory while the block runs.

    The system lets the lock go when the process ends, however that comes about.

    Args:
        path: of a directory that is there, or of a file in one.
        what: another process does with it, for the sentence.
    Raises:
        InputError: another process holds it.
        OSError: no right to write there.
    """
    real = Path(os.path.realpath(path))
    lock_file = real / LOCK if real.is_dir() else real.with_name(f"{PREFIX}{real.name}.lock")
    lock = lock_at(lock_file)
    try:
        lock.acquire(timeout=AT_ONCE, poll_interval=AT_ONCE / 10)
    except TimeoutError:
        raise InputError(
            f"{str(path)!r} {what} by another process{_holder(lock_file)}; wait until that has "
            "ended, or choose another name"
        ) from None
    except OSError as error:  # named after what the caller knows
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds without a word in it
            lock_file.write_text(
                f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8"
            )
        yield
    finally:
        lock_file.unlink(missing_ok=True)
        lock.release()


def _holder(lock_file: Path) -> str:
    """Who holds a lock, as far as it says."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = lock_file.read_text("utf-8").strip()
        return f" ({text})" if text.isprintable() and text else ""
    return ""


def check_room(path: Path, size: int) -> None:
    """Try whether a file of so many bytes of values fits, before a library writes it.

    HDF5 can end the process where a disk is full.

    Raises:
        OSError: it does not.
    """
    size += BESIDE
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif size > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    path.unlink()


def settle_below(folder: Path) -> list[Path]:
    """Finish or remove what killed writes have left in a folder and below it.

    Returns:
        the hidden directories and locks that are gone.
    """
    removed = []
    for parent, folders, names in os.walk(folder):
        removed += settle(Path(parent))
        for name in names:
            if name == LOCK or (name.startswith(PREFIX) and name.endswith(".lock")):
                removed += _freed(Path(parent, name))
        folders[:] = sorted(inner for inner in folders if not inner.startswith(PREFIX))
    return removed


def _freed(lock_file: Path) -> list[Path]:
    """Remove the file of a lock that no process holds."""
    with contextlib.suppress(OSError), lock_at(lock_file).acquire(timeout=0):
        lock_file.unlink(missing_ok=True)
        return [lock_file]
    return []


def refuse_existing(path: Path) -> None:
    """Raise InputError if there is something at `path` already, other than a pipe or device."""
    if is_stream(path) or not path.exists():
        return
    if path.is_dir() and all(file.name.startswith(".tcnzoo") for file in path.iterdir()):
        return  # at most what a process is writing, or left when it was killed
    raise InputError(f"{str(path)!r} exists already; choose another name or overwrite it by name")


def is_stream(path: Path) -> bool:
    """Whether bytes at a path go to a reader and not into a file: pipes, devices, /dev/stdout."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(path: Path) -> int | None:
    """The open file of this process that a path is another name of."""
    if str(path) in DESCRIPTORS:
        return DESCRIPTORS[str(path)]
    known = str(path.parent) in DESCRIPTOR_FOLDERS and path.name.isdecimal()
    return int(path.name) if known else None


def _pour(source: Path, path: Path) -> None:
    """Write a file into a pipe, a device or an open file."""
    sys.stdout.flush()
    number = _descriptor(path)
    target: Path | int = path if number is None else os.dup(number)
    with source.open("rb") as file, open(target, "wb") as stream:
        shutil.copyfileobj(file, stream)


@contextlib.contextmanager
def _roomy(stage: Stage, named: Callable[[str], Path]) -> Iterator[None]:
    """Turn whatever a writer makes of a full disk into one OSError that names the file.

    Libraries raise errors of their own, so it is tried whether there is room.
    """
    try:
        yield
    except Exception as error:
        if stage.is_committed:
            raise
        number, name = _shortage(stage.files, error)
        if number is None:
            raise
        sentence = f"{os.strerror(number)}; nothing of it is left, and what was there is as it was"
        raise OSError(number, sentence, str(named(name))) from error


def _shortage(files: Path, error: Exception) -> tuple[int | None, str]:
    """The number of the system's error if there is no room, and the file that was written last."""
    written = sorted((file for file in files.rglob("*") if file.is_file()), key=_changed)
    name = written[-1].relative_to(files).parts[0] if written else ""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return error.errno, name
    for file in written:
        try:
            _append(file)
        except OSError as found:
            if found.errno in NO_ROOM:
                return found.errno, name
    return None, name


def _changed(path: Path) -> tuple[int, int]:
    """When a file was written last, and how large it is: clocks of files are coarse."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _append(path: Path) -> None:
    """Write some more to a file."""
    with path.open("ab") as file:
        file.write(SOME)


def check_destination(path: Path | None, *, folder: bool = False) -> None:
    """Refuse a file that could not be written, before the work for it starts.

    Args:
        path: of the file; folders above it may be missing. None and pipes pass.
        folder: whether a folder is to be written, or written into.
    Raises:
        InputError: a folder is there in the place of a file, or the other way round; a folder above
            it is a file; or nothing may be written there.
    """
    if path is None or is_stream(path):
        return
    if path.exists() and path.is_dir() != folder:
        what = "a file; name a folder" if folder else "a folder; name a file in it"
        raise InputError(f"{str(path)!r} is {what}")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise InputError(f"{str(path)!r} cannot be written: {str(above)!r} is not a folder")
    target = path if path.exists() else above
    if not os.access(target, os.W_OK):
        raise InputError(
            f"{str(path)!r} cannot be written: no permission to change {str(target)!r}"
        )


def check_distinct(read: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """Refuse a file that would be written twice, or in the place of one that is read.

    Args:
        read: files that a command reads; None stands for none.
        written: files that it writes. Pipes may be named twice.
    Raises:
        InputError: the file.
    """
    taken = {path.resolve() for path in read if path is not None}
    for path in written:
        if path is None or is_stream(path):
            continue
        if path.resolve() in taken:
            raise InputError(
                f"{str(path)!r} is named twice; what is read and what is written must be files of "
                "their own"
            )
        taken.add(path.resolve())
