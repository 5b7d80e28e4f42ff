"""HDF5 files: read as named arrays without following links or trusting shapes, and written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from tcnzoo.arrays import DTYPES, Array, Weights
from tcnzoo.errors import BackendMissing, WeightError
from tcnzoo.extras import missing_package
from tcnzoo.files.lazy import Facts, LazyTensors, Tensors

from .detect import reason
from .heaps import is_endless

# Bytes of an array that are laid out in order at a time.
PIECE = 4 * 2**20
# Groups within groups: each costs a search from the root, and Keras makes a few.
DEEPEST = 64


@contextlib.contextmanager
def h5_file(
    path: Path, content: Path | IO[bytes], mode: str = "r", *, checked: bool = False
) -> Iterator[Any]:
    """Open an HDF5 file.

    Args:
        path: for the sentence of an error.
        content: the file, or its bytes.
        mode: "r" or "w".
        checked: it has been read from before.
    Raises:
        BackendMissing: h5py is not installed.
        WeightError: a file that is cut short or damaged.
    """
    if missing_package("h5py") is not None:
        raise BackendMissing(
            "an .h5 or .keras file needs h5py, which is not installed; run: "
            "pip install 'tcnzoo[keras]'"
        )
    import h5py

    if mode == "r" and not checked and is_endless(content):
        raise WeightError(f"{str(path)!r} is cut short or damaged: a heap in it has no end")
    try:
        with h5py.File(content, mode) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if mode == "w":
            raise
        raise WeightError(f"{str(path)!r} is cut short or damaged: {reason(error)}") from None


def members(file: Any, group: str) -> list[str]:
    """Names in a group that lies in the file itself; none where there is no such group."""
    link = file.get(group, getlink=True)
    content: Any = file[group] if type(link).__name__ == "HardLink" else {}
    return names(content) if hasattr(content, "keys") else []  # a dataset may have the name


def names(group: Any) -> list[str]:
    """Names in a group as text; HDF5 hands out those as bytes that are not UTF-8."""
    return [name.decode("latin-1") if isinstance(name, bytes) else name for name in group]


def read_h5(path: Path, file: Any) -> Weights:
    """Read every dataset by its full path; links to other places are passed over.

    Raises:
        WeightError: a dataset whose values are elsewhere, or fewer than its shape claims.
    """
    return {name: _values(item) for name, item in _datasets(path, file).items()}


def open_h5(path: Path, content: Path | IO[bytes]) -> LazyTensors:
    """Look at every dataset of a file, each of which is read when it is asked for.

    Args:
        path, content: as for `h5_file`.
    Raises:
        BackendMissing, WeightError: as `h5_file` and `read_h5`.
    """
    with h5_file(path, content) as file:
        datasets = _datasets(path, file)
        facts = {name: Facts(item.shape, _type(item)) for name, item in datasets.items()}

    def read(name: str) -> Array:
        with h5_file(path, content, checked=True) as file:
            return _values(file[name])

    return LazyTensors(facts, read)


def _datasets(path: Path, file: Any) -> dict[str, Any]:
    """Every dataset by its full path, once it is sure that all its values lie in the file."""
    datasets: dict[str, Any] = {}

    def visit(name: str | bytes, item: Any) -> None:
        if str(name).count("/") >= DEEPEST:
            raise WeightError(f"{str(path)!r} is refused: more than {DEEPEST} groups in each other")
        if hasattr(item, "shape"):
            datasets[str(name)] = item

    file.visititems(visit)
    for name, dataset in datasets.items():
        _check_dataset(path, name, dataset)
    return datasets


def _check_dataset(path: Path, name: str, dataset: Any) -> None:
    """Refuse a dataset whose values do not lie in the file as Keras leaves them."""
    if dataset.is_virtual or dataset.external:
        raise WeightError(f"{str(path)!r} is refused: {name!r} lies in another file")
    if dataset.shape is None:
        raise WeightError(f"{name!r} of {str(path)!r} holds no values")
    claimed, stored = dataset.size, dataset.id.get_storage_size()
    if claimed * dataset.dtype.itemsize != stored:
        raise WeightError(
            f"{name!r} of {str(path)!r} claims shape {dataset.shape} of {dataset.dtype}, but "
            f"{stored} bytes are there"
        )


def _type(dataset: Any) -> np.dtype[Any]:
    """Type of a dataset's values."""
    if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype.itemsize == 2:
        return DTYPES["bfloat16"]
    dtype: np.dtype[Any] = dataset.dtype
    return dtype


def _values(dataset: Any) -> Array:
    """All values of a dataset, which has been checked."""
    values, dtype = np.asarray(dataset[()]), _type(dataset)
    return values if values.dtype == dtype else values.view(dtype)


def write_h5(group: Any, tensors: Tensors) -> None:
    """Write arrays of any strides into a group; bfloat16 as Keras does, raw and with a label."""
    for name, array in tensors.items():
        dataset = group.create_dataset(name, array.shape, array.dtype)
        count = max(1, PIECE // max(1, array[:1].nbytes)) if array.ndim else 1
        for start in range(0, len(array) if array.ndim else 1, count):
            part = slice(start, start + count) if array.ndim else ()
            dataset[part] = np.asarray(array[part], order="C")
        if array.dtype == ml_dtypes.bfloat16:
            dataset.attrs["dtype"] = "bfloat16"
