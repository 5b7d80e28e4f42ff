"""Arrays of any framework to numpy, without importing the framework.

`to_numpy` keeps the type of the values; `to_real` makes the floats that a model computes with, and
is where every input of a public call passes.
"""

import sys
from typing import Any

import ml_dtypes
import numpy as np

from tcnzoo.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
# Neutral weights: dotted name -> array in neutral layout.
Weights = dict[str, Array]

DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


# Kinds of numpy types that hold real numbers: bool, integers, floats.
REAL = "biuf"
# Types of ml_dtypes, which numpy calls void.
SMALL_FLOATS = [
    np.dtype(kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
]


def to_numpy(array: Any) -> Array:
    """View or copy an array of numpy, torch, MLX or Keras, on any device, as numpy.

    bfloat16 stays bfloat16, bit for bit: torch and MLX cannot hand it to numpy themselves, so it
    goes as 16-bit integers. Values come in the byte order of the machine.
    """
    if type(array) is np.ndarray and array.dtype.isnative:
        return array
    if hasattr(array, "detach"):
        array = array.detach().cpu()
    dtype = str(getattr(array, "dtype", ""))
    if dtype == "torch.bfloat16":
        return np.asarray(array.view(sys.modules["torch"].int16)).view(ml_dtypes.bfloat16)
    if dtype == "mlx.core.bfloat16":
        return np.asarray(array.view(sys.modules["mlx.core"].uint16)).view(ml_dtypes.bfloat16)
    values = np.asarray(array)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def to_real(array: Any, dtype: str = "float32", name: str = "the input") -> Array:
    """An array of real numbers of any type and layout, as the floats that a model computes with.

    Integers and wider floats are rounded to the nearest float: above 2^24 (16,777,216) not every
    integer is a float32.

    Args:
        array: of numpy, torch, MLX or Keras, or nested lists: bool, integers or floats of any
            width and byte order, in any layout.
        dtype: float type of the model.
        name: of the array, for error messages.
    Returns:
        float64 for `float64`, else float32; in C order, in the byte order of the machine. It may
        share memory with `array`.
    Raises:
        InputError: values that are no real numbers, masked values, or a finite value that `dtype`
            cannot hold.
    """
    wide = DTYPES["float64" if dtype == "float64" else "float32"]
    if type(array) is np.ndarray and array.dtype == wide:
        floats = array
    else:
        numbers = _numbers(array, name)
        with np.errstate(over="ignore"):  # an overflow is refused below
            floats = numbers.astype(wide, copy=False)
        if numbers.dtype.itemsize > wide.itemsize and numbers.dtype.kind == "f":
            _check_range(numbers, floats, str(wide), name)
    if DTYPES[dtype].itemsize == 2:
        with np.errstate(over="ignore"):
            _check_range(floats, floats.astype(DTYPES[dtype]), dtype, name)
    return np.asarray(floats, order="C")


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a type holds real numbers."""
    return dtype.kind in REAL or dtype in SMALL_FLOATS


def _numbers(array: Any, name: str) -> Array:
    """An array of a type that holds real numbers, in the byte order of the machine."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise InputError(
            f"{name} is a masked array, whose masked values would be read as numbers; "
            "fill them in first"
        )
    try:
        numbers = to_numpy(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{name} must be an array of numbers, but {type(array).__name__} is not: "
            f"{str(error).splitlines()[0]}"
        ) from None
    if not is_real(numbers.dtype):
        advice = {
            "c": "; take the real part, the magnitude or two channels",
            "O": "; convert it to floats first",
        }
        raise InputError(
            f"{name} must hold real numbers, but its type is {numbers.dtype}"
            f"{advice.get(numbers.dtype.kind, '')}"
        )
    return numbers


def _check_range(before: Array, after: Array, dtype: str, name: str) -> None:
    """Raise InputError for the first finite value that became infinite in a narrower type."""
    lost = ~np.isfinite(after) & np.isfinite(before)
    if lost.any():
        index = tuple(int(i) for i in np.argwhere(lost)[0])
        largest = float(ml_dtypes.finfo(DTYPES[dtype]).max)  # type: ignore[no-untyped-call]
        raise InputError(
            f"{name} holds {float(before[index]):g} at {list(index)}, which {dtype} cannot hold "
            f"(its largest number is {largest:g}); scale it first"
        )
