"""HDF5 files: read as named arrays without following links or trusting shapes, and written."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.backend import missing_package
from tcnzoo.errors import BackendMissing, WeightError
from tcnzoo.params import Weights


@contextlib.contextmanager
def h5_file(path: Path, content: Path | IO[bytes], mode: str = "r") -> Iterator[Any]:
    """Open an HDF5 file.

    Args:
        path: for the sentence of an error.
        content: the file, or its bytes.
        mode: "r" or "w".
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

    try:
        with h5py.File(content, mode) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if mode == "w":
            raise
        raise WeightError(f"{str(path)!r} is cut short or damaged: {error}") from None


def members(file: Any, group: str) -> list[str]:
    """Names in a group that lies in the file itself; none where there is no such group."""
    link = file.get(group, getlink=True)
    return list(file[group]) if type(link).__name__ == "HardLink" else []


def read_h5(path: Path, file: Any) -> Weights:
    """Read every dataset by its full path; links to other places are passed over.

    Raises:
        WeightError: a dataset whose values are elsewhere, or fewer than its shape claims.
    """
    datasets: dict[str, Any] = {}

    def visit(name: str | bytes, item: Any) -> None:
        if hasattr(item, "shape"):
            datasets[str(name)] = item

    file.visititems(visit)
    return {name: _read_dataset(path, name, item) for name, item in datasets.items()}


def _read_dataset(path: Path, name: str, dataset: Any) -> Array:
    """One dataset, if all its values lie in the file, as Keras leaves them."""
    if dataset.is_virtual or dataset.external:
        raise WeightError(f"{str(path)!r} is refused: {name!r} lies in another file")
    claimed, stored = dataset.size or 0, dataset.id.get_storage_size()
    if claimed * dataset.dtype.itemsize != stored:
        raise WeightError(
            f"{name!r} of {str(path)!r} claims shape {dataset.shape} of {dataset.dtype}, but "
            f"{stored} bytes are there"
        )
    values = np.asarray(dataset[()])
    if dataset.attrs.get("dtype") == "bfloat16" and values.dtype.itemsize == 2:
        return values.view(ml_dtypes.bfloat16)
    return values


def write_h5(group: Any, tensors: Mapping[str, Array]) -> None:
    """Write arrays of any strides into a group; bfloat16 as Keras does, raw and with a label."""
    for name, array in tensors.items():
        dataset = group.create_dataset(name, data=np.asarray(array, order="C"))
        if array.dtype == ml_dtypes.bfloat16:
            dataset.attrs["dtype"] = "bfloat16"
