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
        place: its directory, in the folder that its files are meant for.
    """

    place: Path

    @property
    def folder(self) -> Path:
        """The folder that its files are meant for."""
        return self.place.parent

    @property
    def files(self) -> Path:
        """Where its files are written."""
        return self.place / FILES

    @property
    def is_committed(self) -> bool:
        """Whether its files are on their way to their places, so that they stay as they are."""
        return (self.place / COMMIT).is_file()

    def commit(self, targets: Mapping[str, str], remove: Iterable[str] = ()) -> None:
        """Put files into their places, and remove others: all of it or nothing, whoever ends it.

        Args:
            targets: name in `files` -> name in `folder`; a link there is followed.
            remove: names in `folder`, of tensors or their index.
        """
        gone = list(remove)
        for name, target in targets.items():
            place = self.folder / target
            replaced = [place] if place.exists() else [self.folder / one for one in gone]
            _ready(self.files / name, replaced, self.files)
        flush_directory(self.files)
        if len(targets) == 1 and not gone and not _in_the_way(self, *targets.items()):
            ((name, target),) = targets.items()
            _move(self.files / name, self.folder / target, self.place)
            flush_directory(self.folder)
            return
        draft = self.place / f"{COMMIT}.new"
        draft.write_text(json.dumps({"files": dict(targets), "remove": gone}), encoding="utf-8")
        _flush(draft)
        draft.replace(self.place / COMMIT)
        flush_directory(self.place)
        _finish(self.place)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage in a folder that is there; it is gone at the end of the block.

    Stages of processes that have ended are settled first.
    """
    settle(folder)
    place, lock = _locked_place(folder)
    try:
        (place / FILES).mkdir()
        yield Stage(place)
        _clear(place)
    except BaseException:
        # A commit that was broken off is ended now if it can be, and else by who comes next.
        with contextlib.suppress(OSError):
            _finish(place)
            _clear(place)
        raise
    finally:
        lock.release()


def settle(folder: Path) -> list[Path]:
    """Finish or remove every stage in a folder whose process has ended.

    Returns:
        the stages that are gone.
    """
    found = []
    for place in stages_in(folder):
        # One that is being written, by a process that ends it itself, or one of somebody else.
        with contextlib.suppress(OSError), _lock_of(place).acquire(timeout=0):
            _finish(place)
            _clear(place)
            found.append(place)
    return found


def settle_committed(folder: Path) -> None:
    """Finish what was interrupted among renamings, before something in the folder is read.

    Raises:
        InputError: it cannot be finished here, because the folder is read-only, or because another
            process takes long over it.
    """
    for place in stages_in(folder):
        if not (place / COMMIT).is_file():
            continue
        try:
            with _lock_of(place).acquire(timeout=PATIENCE):
                _finish(place)
                _clear(place)
        except TimeoutError:
            raise InputError(
                f"{str(folder)!r} is being written by another process; try again when it has ended"
            ) from None
        except OSError as error:
            if not (place / COMMIT).is_file():  # the process that wrote it has ended it meanwhile
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
            place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        except OSError as error:  # named after a folder that the caller knows
            raise OSError(error.errno, os.strerror(error.errno or 0), str(folder)) from None
        lock = _lock_of(place)
        with contextlib.suppress(TimeoutError):
            lock.acquire(timeout=0)
            return place, lock


def _lock_of(place: Path) -> "BaseFileLock":
    """The lock of a stage."""
    return lock_at(place / LOCK)


def lock_at(path: Path) -> "BaseFileLock":
    """A lock among processes and threads; `acquire` raises TimeoutError where it is held."""
    from filelock import FileLock  # some tens of ms that `import tcnzoo` does without

    return FileLock(path, thread_local=False)


def _ready(fresh: Path, replaced: Iterable[Path], files: Path) -> None:
    """Give a new file or directory its mode, and wait until it is on disk.

    The mode is what all that it replaces have in common, so that tensors under new names are no
    more open than the old ones; else what the umask leaves, as `files` shows it for a file.
    """
    modes = [stat.S_IMODE(one.stat().st_mode) for one in replaced if one.is_dir() == fresh.is_dir()]
    if fresh.is_dir():
        for one in (fresh, *fresh.rglob("*")):
            (flush_directory if one.is_dir() else _flush)(one)
    else:
        _flush(fresh)
        modes = modes or [files.stat().st_mode & 0o666]
    if modes:
        fresh.chmod(functools.reduce(operator.and_, modes))


def _in_the_way(stage: Stage, names: tuple[str, str]) -> bool:
    """Whether a directory is replaced, or by one, which takes more than one renaming."""
    fresh, target = stage.files / names[0], stage.folder / names[1]
    return target.is_dir() or (target.exists() and fresh.is_dir())


def _finish(place: Path) -> None:
    """Make the renamings and removals of a commit that are left; nothing where there is none."""
    if not (place / COMMIT).is_file():
        return
    targets, gone = _document(place / COMMIT)
    for name, target in targets.items():
        if os.path.lexists(place / FILES / name):
            _move(place / FILES / name, place.parent / target, place)
    flush_directory(place.parent)
    for name in gone:
        (place.parent / name).unlink(missing_ok=True)
    flush_directory(place.parent)


def _document(path: Path) -> tuple[dict[str, str], list[str]]:
    """What a commit says; names of other folders are not followed, whoever wrote them."""
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        targets, gone = document["files"], document["remove"]
        names = [*targets, *targets.values(), *gone]
        plain = all(isinstance(one, str) and Path(one).name == one != ".." for one in names)
    except (ValueError, TypeError, LookupError, AttributeError):
        plain = False
    if not plain or not all(one.endswith(REMOVABLE) for one in gone):
        raise InputError(f"{str(path)!r} is damaged; remove the directory that it is in")
    return targets, gone


def _move(fresh: Path, target: Path, place: Path) -> None:
    """Rename a file or directory to where a name leads, links included."""
    real = Path(os.path.realpath(target))
    if real.is_dir() or (real.exists() and fresh.is_dir()):
        (place / OLD).mkdir(exist_ok=True)
        real.replace(place / OLD / real.name)
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


def _clear(place: Path) -> None:
    """Remove a stage, its commit first: none of it is to be done again."""
    (place / COMMIT).unlink(missing_ok=True)
    shutil.rmtree(place)


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
