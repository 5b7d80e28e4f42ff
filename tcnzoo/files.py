"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tcnzoo.errors import InputError


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; a failure inside the block removes them again if empty."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for one in made:
            with contextlib.suppress(OSError):  # somebody else has put something into it
                one.rmdir()
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` once the block has ended well.

    A failure inside the block removes the temporary file, and the folder if that is new, and leaves
    what was at `path` untouched.
    """
    with in_folder(path.parent), _temporary(path) as temporary:
        yield temporary


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its name at the end of the block, or is gone."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raise InputError if there is something at `path` already."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(
            f"{str(path)!r} exists already; choose another name or overwrite it by name"
        )


def flush_directory(path: Path) -> None:
    """Wait until the names in a directory are on disk, so that what follows cannot outrun them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_destination(path: Path | None, *, folder: bool = False) -> None:
    """Refuse a file that could not be written, before the work for it starts.

    Args:
        path: of the file; folders above it may be missing. None passes.
        folder: whether a folder is to be written, or written into.
    Raises:
        InputError: a folder is there in the place of a file, or the other way round; a folder above
            it is a file; or nothing may be written there.
    """
    if path is None:
        return
    if path.exists() and path.is_dir() != folder:
        told = "a file; name a folder" if folder else "a folder; name a file in it"
        raise InputError(f"{str(path)!r} is {told}")
    above = next(one for one in path.absolute().parents if one.exists())
    if not above.is_dir():
        raise InputError(f"{str(path)!r} cannot be written: {str(above)!r} is not a folder")
    target = path if path.exists() else above
    if not os.access(target, os.W_OK):
        raise InputError(
            f"{str(path)!r} cannot be written: no permission to change {str(target)!r}"
        )
