"""Stages: hidden directories in which files are written before they take their places.

A stage lies in the folder that its files are meant for:

```
.tcnzoo-1a2b3c4d/
    lock          held by the process that writes, and let go by the system when that ends
    files/        what is written, under names of its own
    commit.json   once all is whole: which file takes which name, and what is removed
    old/          directories that were replaced
```

One file takes its place in one renaming. Several cannot, so `commit.json` comes first: without it a
stage whose process has ended is removed, and with it the renamings that are left are made, by
whoever reads or writes in that folder next. Either way no mixture of old and new is read.
"""

import contextlib
import functools
import json
import operator
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcnzoo.errors import InputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = ".tcnzoo-"
FILES, OLD, LOCK, COMMIT = "files", "old", "lock", "commit.json"
# What a commit may remove: files of tensors and their index, whatever somebody has written into it.
REMOVABLE = (".safetensors", ".safetensors.index.json")
# Seconds that a reader waits for a process that is putting files into their places.
PATIENCE = 20.0


@dataclass(frozen=True)
class Stage:
    """A stage of this process.

    Attributes:
        directory: in the folder that its files are meant for.
    """

    directory: Path

    @property
    def folder(self) -> Path:
        """The folder that its files are meant for."""
        return self.directory.parent

    @property
    def files(self) -> Path:
        """Where its files are written."""
        return self.directory / FILES

    @property
    def is_committed(self) -> bool:
        """Whether its files are on their way to their places, so that they stay as they are."""
        return (self.directory / COMMIT).is_file()

    def commit(self, targets: Mapping[str, str], remove: Iterable[str] = ()) -> None:
        """Put files into their places, and remove others: all of it or nothing, whoever ends it.

        Args:
            targets: name in `files` -> name in `folder`; a link there is followed.
            remove: names in `folder`, of tensors or their index.
        """
        gone = list(remove)
        for name, target in targets.items():
            path = self.folder / target
            replaced = [path] if path.exists() else [self.folder / other for other in gone]
            _ready(self.files / name, replaced, self.files)
        flush_directory(self.files)
        if len(targets) == 1 and not gone and not _in_the_way(self, *targets.items()):
            ((name, target),) = targets.items()
            _move(self.files / name, self.folder / target, self.directory)
            flush_directory(self.folder)
            return
        draft = self.directory / f"{COMMIT}.new"
        draft.write_text(json.dumps({"files": dict(targets), "remove": gone}), encoding="utf-8")
        _flush(draft)
        draft.replace(self.directory / COMMIT)
        flush_directory(self.directory)
        _finish(self.directory)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage in a folder that is there; it is gone at the end of the block.

    Stages of processes that have ended are settled first.
    """
    settle(folder)
    directory, lock = _locked_place(folder)
    try:
        (directory / FILES).mkdir()
        yield Stage(directory)
        _clear(directory)
    except BaseException:
        # A commit that was broken off is ended now if it can be, and else by who comes next.
        with contextlib.suppress(OSError):
            _finish(directory)
            _clear(directory)
        raise
    finally:
        lock.release()


def settle(folder: Path) -> list[Path]:
    """Finish or remove every stage in a folder whose process has ended.

    Returns:
        the stages that are gone.
    """
    settled = []
    for directory in stages_in(folder):
        # One that is being written, by a process that ends it itself, or one of somebody else.
        with contextlib.suppress(OSError), _lock_of(directory).acquire(timeout=0):
            _finish(directory)
            _clear(directory)
            settled.append(directory)
    return settled


def settle_committed(folder: Path) -> None:
    """Finish what was interrupted among renamings, before something in the folder is read.

    Raises:
        InputError: it cannot be finished here, because the folder is read-only, or because another
            process takes long over it.
    """
    for directory in stages_in(folder):
        if not (directory / COMMIT).is_file():
            continue
        try:
            with _lock_of(directory).acquire(timeout=PATIENCE):
                _finish(directory)
                _clear(directory)
        except TimeoutError:
            raise InputError(
                f"{str(folder)!r} is being written by another process; try again when it has ended"
            ) from None
        except OSError as error:
            # The process that wrote it may have ended it meanwhile.
            if not (directory / COMMIT).is_file():
                continue
            raise InputError(
                f"{str(folder)!r} holds a write that was interrupted and cannot be finished here "
                f"({error.strerror}); run `tcnzoo doctor {folder}` where it is writable"
            ) from None


def stages_in(folder: Path) -> list[Path]:
    """Every stage in a folder, of living processes or dead ones."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)
        )


def _locked_place(folder: Path) -> tuple[Path, "BaseFileLock"]:
    """A new stage and its lock; another process may take one for dead before it is locked."""
    while True:
        try:
            directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        except OSError as error:  # named after a folder that the caller knows
            raise OSError(error.errno, os.strerror(error.errno or 0), str(folder)) from None
        lock = _lock_of(directory)
        with contextlib.suppress(TimeoutError):
            lock.acquire(timeout=0)
            return directory, lock


def _lock_of(directory: Path) -> "BaseFileLock":
    """The lock of a stage."""
    return lock_at(directory / LOCK)


def lock_at(path: Path) -> "BaseFileLock":
    """A lock among processes and threads; `acquire` raises TimeoutError where it is held."""
    from filelock import FileLock  # some tens of ms that `import tcnzoo` does without

    return FileLock(path, thread_local=False)


def _ready(fresh: Path, replaced: Iterable[Path], files: Path) -> None:
    """Give a new file or directory its mode, and wait until it is on disk.

    The mode is what all that it replaces have in common, so that tensors under new names are no
    more open than the old ones; else what the umask leaves, as `files` shows it for a file.
    """
    modes = [
        stat.S_IMODE(file.stat().st_mode) for file in replaced if file.is_dir() == fresh.is_dir()
    ]
    if fresh.is_dir():
        for file in (fresh, *fresh.rglob("*")):
            (flush_directory if file.is_dir() else _flush)(file)
    else:
        _flush(fresh)
        modes = modes or [files.stat().st_mode & 0o666]
    if modes:
        fresh.chmod(functools.reduce(operator.and_, modes))


def _in_the_way(stage: Stage, names: tuple[str, str]) -> bool:
    """Whether a directory is replaced, or by one, which takes more than one renaming."""
    fresh, target = stage.files / names[0], stage.folder / names[1]
    return target.is_dir() or (target.exists() and fresh.is_dir())


def _finish(directory: Path) -> None:
    """Make the renamings and removals of a commit that are left; nothing where there is none."""
    if not (directory / COMMIT).is_file():
        return
    targets, gone = _document(directory / COMMIT)
    for name, target in targets.items():
        if os.path.lexists(directory / FILES / name):
            _move(directory / FILES / name, directory.parent / target, directory)
    flush_directory(directory.parent)
    for name in gone:
        (directory.parent / name).unlink(missing_ok=True)
    flush_directory(directory.parent)


def _document(path: Path) -> tuple[dict[str, str], list[str]]:
    """What a commit says; names of other folders are not followed, whoever wrote them."""
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        targets, gone = document["files"], document["remove"]
        names = [*targets, *targets.values(), *gone]
        plain = all(isinstance(name, str) and Path(name).name == name != ".." for name in names)
    except (ValueError, TypeError, LookupError, AttributeError):
        plain = False
    if not plain or not all(name.endswith(REMOVABLE) for name in gone):
        raise InputError(f"{str(path)!r} is damaged; remove the directory that it is in")
    return targets, gone


def _move(fresh: Path, target: Path, directory: Path) -> None:
    """Rename a file or directory to where a name leads, links included."""
    real = Path(os.path.realpath(target))
    if real.is_dir() or (real.exists() and fresh.is_dir()):
        (directory / OLD).mkdir(exist_ok=True)
        real.replace(directory / OLD / real.name)
    if real.parent != target.parent and _device(real.parent) != _device(fresh):
        _move_over(fresh, real)
    else:
        fresh.replace(real)


def _move_over(fresh: Path, real: Path) -> None:
    """Move a file to another file system, where it takes its place in one renaming too."""
    with staged(real.parent) as there:
        shutil.copy2(fresh, there.files / real.name)
        there.commit({real.name: real.name})
    fresh.unlink()


def _device(path: Path) -> int:
    """The file system that something is on."""
    return path.stat().st_dev


def _clear(directory: Path) -> None:
    """Remove a stage, its commit first: none of it is to be done again."""
    (directory / COMMIT).unlink(missing_ok=True)
    shutil.rmtree(directory)


def _flush(path: Path) -> None:
    """Wait until a file is on disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Wait until the names in a directory are on disk, so that what follows cannot outrun them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
