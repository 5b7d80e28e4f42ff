"""Named arrays of .npz, .safetensors and folders of .npy, mapped if possible."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from tcnzoo.arrays import Array, is_real
from tcnzoo.errors import InputError, suggestion
from tcnzoo.files.safetensors import open_safetensors
from tcnzoo.files.signals import read_signal
from tcnzoo.training.data.augment import augmenter, refuse
from tcnzoo.training.data.config import ArraysData
from tcnzoo.training.data.dataset import ArrayDataset

# Bytes of a zip file's local header before the name, and where the lengths of name and extra lie.
LOCAL_HEADER = 30
LENGTHS = slice(26, 30)


def array_dataset(config: ArraysData, path: str) -> ArrayDataset:
    """The examples in one file or folder.

    Raises:
        InputError: no such file, an array that is missing, or shapes that do not go together.
    """
    refuse(config.augment, config.kind, "phase", "transpose")
    stored = open_arrays(Path(path))
    wanted = {"x": config.x, "y": config.y} | {name: name for name in config.extra}
    for name in wanted.values():
        if name not in stored:
            raise InputError(f"{path!r} has no array {name!r}{suggestion(name, stored)}")
    arrays = {name: stored[key] for name, key in wanted.items()}
    if arrays["x"].ndim not in (2, 3) or not is_real(arrays["x"].dtype):
        raise InputError(
            f"x must be numbers (examples, channels, time) or (examples, channels), but in "
            f"{path!r} it has shape {arrays['x'].shape} of {arrays['x'].dtype}"
        )
    groups = stored.get(config.group)
    return ArrayDataset(
        arrays,
        classes=None if config.classes is None else tuple(map(str, range(config.classes))),
        groups=None if groups is None else np.asarray(groups).astype(str),
        augment=augmenter(config.augment),
    )


def open_arrays(path: Path) -> dict[str, Array]:
    """Open the arrays of a file or folder; only compressed ones are read at once.

    Args:
        path: .npz, .safetensors, or a folder of .npy files, whose names are those of the arrays.
    Raises:
        InputError: no such file, another ending, or arrays that contradict their headers.
    """
    if path.is_dir():
        arrays = {file.stem: _numbers_or_names(file) for file in sorted(path.glob("*.npy"))}
        if not arrays:
            raise InputError(f"the folder {str(path)!r} holds no .npy files")
        return arrays
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    if path.suffix == ".safetensors":
        return dict(open_safetensors(path)[0])
    if path.suffix != ".npz":
        raise InputError(
            f"arrays are in a .npz or .safetensors file or in a folder of .npy files, but got "
            f"{str(path)!r}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            return {member.filename[:-4]: _member(path, archive, member) for member in members}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise InputError(f"{str(path)!r} is not a .npz file: {reason}") from None


def _numbers_or_names(path: Path) -> Array:
    """A mapped .npy array of numbers, or one of names."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{str(path)!r} is not a .npy array: {str(error).splitlines()[0]}"
        ) from None
    return array if array.dtype.kind in "US" else read_signal(path)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """One array: mapped where the archive stores it as it is, else read."""
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        begin = file.tell()
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are never read")
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - begin:
            raise ValueError(
                f"{info.filename} says that it has {size} bytes, but has {info.file_size - begin}"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            values = np.frombuffer(file.read(), dtype)
            return values.reshape(shape, order="F" if fortran else "C")
    if size == 0:
        return np.empty(shape, dtype)
    with path.open("rb") as raw:
        raw.seek(info.header_offset)
        lengths = np.frombuffer(raw.read(LOCAL_HEADER)[LENGTHS], "<u2")
    offset = info.header_offset + LOCAL_HEADER + int(lengths.sum()) + begin
    return np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran's order, and type of a .npy file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
