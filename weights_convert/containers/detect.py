"""What container a file is, told from its first bytes; and zip archives, checked before use."""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Literal

from tcnzoo.errors import WeightError

from .onnx import is_onnx

Kind = Literal["pt", "npz", "keras", "h5", "safetensors", "onnx", "pickle"]

# An archive may grow by so much when it is read. Weights hardly shrink when they are packed, but
# small ones that are all zero may; a bomb claims far more.
LARGEST_GROWTH = 100
ALWAYS_ALLOWED = 256 * 2**20
# Bytes of the record that ends an archive, before the comment whose length is in its last two.
END_RECORD = 22

# What zipfile raises, one way or another, on the bytes of a damaged archive.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    ValueError,
)


def reason(error: Exception) -> str:
    """First line of what another library says of an error, or the kind of it."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def kind_of(path: Path) -> Kind | None:
    """Tell the container of a file from its content.

    Args:
        path: of anything.
    Returns:
        None for a directory and for what is no known container.
    Raises:
        WeightError: a zip archive that is cut short or unsafe.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK\x03\x04"):
        with archive(path) as opened:
            return _kind_of_members(opened.namelist())
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if start[:1] == b"\x08" and is_onnx(path):
        return "onnx"
    if start[8:] == b"{":
        return "safetensors"
    return "pickle" if start[:1] == b"\x80" and start[1:2] <= b"\x05" else None


def _kind_of_members(names: list[str]) -> Kind | None:
    """Tell the container from the members of a zip archive."""
    if any(PurePosixPath(name).name == "data.pkl" for name in names):
        return "pt"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    return "npz" if names and all(name.endswith(".npy") for name in names) else None


class Archive(zipfile.ZipFile):
    """A zip archive of whose members no more is unpacked than the size that they claim."""

    def read(self, name: str | zipfile.ZipInfo, pwd: bytes | None = None) -> bytes:
        """Read a member; zipfile itself would unpack all that is there, and then cut it off."""
        member = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        with self.open(member, pwd=pwd) as file:
            return file.read(member.file_size)


@contextlib.contextmanager
def archive(path: Path) -> Iterator[Archive]:
    """Open a zip archive whose members have been checked; nothing is ever unpacked to disk.

    Raises:
        WeightError: no whole archive, or a member with a path that leads outside, with the name of
            another, with a password, or of an absurd size.
    """
    with path.open("rb") as file:
        try:
            with Archive(file) as opened:
                _check_end(file, opened.comment)
                _check_members(path, opened.infolist())
                yield opened
        except BROKEN as error:
            raise WeightError(
                f"{str(path)!r} is cut short or damaged: it begins as a zip archive, but "
                f"{reason(error)}"
            ) from None


def _check_end(file: IO[bytes], comment: bytes) -> None:
    """Refuse an archive that is cut short within its comment, which zipfile lets pass."""
    file.seek(-len(comment) - END_RECORD, os.SEEK_END)
    end = file.read(END_RECORD)
    if end[:4] != b"PK\x05\x06" or int.from_bytes(end[-2:], "little") != len(comment):
        raise zipfile.BadZipFile("its end is missing")


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that no framework writes."""
    for member in members:
        if _leads_outside(member.orig_filename):
            raise WeightError(
                f"{str(path)!r} is refused: its member {member.orig_filename!r} has a path that "
                "leads out of the archive"
            )
        if member.flag_bits & 1:
            raise WeightError(f"{str(path)!r} is refused: {member.filename!r} has a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightError(f"{str(path)!r} is refused: {member.filename!r} is packed unusually")
        if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
            raise zipfile.BadZipFile(f"{member.filename!r} has two sizes")
    if len({member.filename for member in members}) < len(members):
        raise WeightError(f"{str(path)!r} is refused: two of its members have the same name")
    claimed = sum(member.file_size for member in members)
    if claimed > LARGEST_GROWTH * path.stat().st_size + ALWAYS_ALLOWED:
        raise WeightError(
            f"{str(path)!r} is refused: its {path.stat().st_size} bytes claim to hold {claimed}"
        )


def _leads_outside(name: str) -> bool:
    """Whether a member's name is absolute or climbs, by the rules of any system."""
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root) or ".." in windows.parts or "\0" in name
