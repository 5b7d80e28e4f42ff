"""Neutral weights in and out of Keras variables, by a declared layout."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights, to_numpy
from tcnzoo.specs.params import Param, permute

# How each kind of neutral array is stored here: the orders of Keras's own layers.
LAYOUT = {"OIK": "KIO", "OIHW": "HWIO", "IOK": "KOI", "OI": "IO", "C": "C"}


def stored_shape(param: Param) -> tuple[int, ...]:
    """Shape of a parameter's Keras variable."""
    return tuple(param.shape[param.axes.index(axis)] for axis in LAYOUT[param.axes])


def to_neutral(tensor: Any, axes: str) -> Array:
    """Copy a variable, or anything of its shape, to a neutral array."""
    return np.array(permute(to_numpy(tensor), LAYOUT[axes], axes), order="C")


def read(variables: Iterable[tuple[str, Any]], table: Mapping[str, Param]) -> Weights:
    """Copy named variables to neutral weights, in table order."""
    by_name = dict(variables)
    return {name: to_neutral(by_name[name].value, param.axes) for name, param in table.items()}


def write(
    variables: Iterable[tuple[str, Any]], table: Mapping[str, Param], weights: Weights
) -> None:
    """Assign checked neutral weights to named variables, cast to each variable's type.

    Frameworks may keep a numpy array's own memory, so every array is copied first; 16-bit arrays
    pass through float32, which not every framework can read from numpy otherwise.
    """
    for name, variable in variables:
        array = permute(weights[name], table[name].axes, LAYOUT[table[name].axes])
        through = np.float64 if variable.dtype == "float64" else np.float32
        variable.assign(np.array(array, dtype=through, order="C"))
