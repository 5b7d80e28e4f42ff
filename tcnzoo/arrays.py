"""Arrays of any framework to numpy, without importing the framework."""

import sys
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def to_numpy(array: Any) -> Array:
    """View or copy an array of numpy, torch, MLX or Keras, on any device, as numpy.

    bfloat16 stays bfloat16, bit for bit: torch and MLX cannot hand it to numpy themselves, so it
    goes as 16-bit integers.
    """
    if type(array) is np.ndarray:
        return array
    if hasattr(array, "detach"):
        array = array.detach().cpu()
    dtype = str(getattr(array, "dtype", ""))
    if dtype == "torch.bfloat16":
        return np.asarray(array.view(sys.modules["torch"].int16)).view(ml_dtypes.bfloat16)
    if dtype == "mlx.core.bfloat16":
        return np.asarray(array.view(sys.modules["mlx.core"].uint16)).view(ml_dtypes.bfloat16)
    return np.asarray(array)
