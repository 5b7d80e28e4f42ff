"""Batches of sequences, checked: one sentence says what does not fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_numpy, to_real
from tcnzoo.errors import InputError
from tcnzoo.specs.hsmm import HsmmSpec


@dataclass(frozen=True)
class Batch:
    """Sequences that fit a model.

    Attributes:
        x: (batch, channels, time), float64, 0 where nothing is observed.
        lengths: (batch,), steps of each.
        mask: (batch, time), true where a step is observed; false behind the length.
    """

    x: Array
    lengths: Array
    mask: Array


def checked(spec: HsmmSpec, x: Any, lengths: Any = None, mask: Any = None) -> Batch:
    """Check sequences for a model.

    Raises:
        InputError: a wrong shape; a length outside of 1 .. time; a sequence without any observed
            step; a value that is observed and not finite, or that is no code.
    """
    x = to_real(x, "float64", "x")
    if x.ndim != 3 or 0 in x.shape:
        raise InputError(f"sequences must be (batch, channels, time), but have shape {x.shape}")
    spec.output_shape(x.shape[1:])
    lengths = _lengths(x, lengths)
    seen = np.arange(x.shape[2]) < lengths[:, None]
    if mask is not None:
        seen &= _mask(x, mask)
    empty = np.flatnonzero(~seen.any(axis=1))
    if len(empty):
        raise InputError(
            f"sequence {empty[0]} has no observed step: all of its {lengths[empty[0]]} are masked"
        )
    x = np.where(seen[:, None], x, 0.0)
    _check_values(spec, x)
    return Batch(x, lengths, seen)


def _lengths(x: Array, lengths: Any) -> Array:
    """Lengths as whole numbers within 1 .. time."""
    if lengths is None:
        return np.full(len(x), x.shape[2])
    lengths = to_numpy(lengths)
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise InputError(
            f"lengths must be {len(x)} whole numbers, one a sequence, "
            f"but have shape {lengths.shape} and type {lengths.dtype}"
        )
    if lengths.min() < 1 or lengths.max() > x.shape[2]:
        odd = lengths[(lengths < 1) | (lengths > x.shape[2])][0]
        raise InputError(f"a length must be within 1 .. {x.shape[2]}, but {odd} came")
    return np.asarray(lengths, dtype=np.int64)


def _mask(x: Array, mask: Any) -> Array:
    """The mask as booleans."""
    mask = to_numpy(mask)
    if mask.shape != (len(x), x.shape[2]) or mask.dtype != np.bool_:
        raise InputError(
            f"a mask must be booleans of shape {(len(x), x.shape[2])}, (batch, time), "
            f"but is {mask.dtype} of shape {mask.shape}"
        )
    return np.asarray(mask)


def _check_values(spec: HsmmSpec, x: Array) -> None:
    """Raise InputError for a value that is not finite, or not a code."""
    odd = np.argwhere(~np.isfinite(x))
    if len(odd):
        sequence, channel, step = odd[0]
        raise InputError(
            f"observed values must be finite, but x is {x[tuple(odd[0])]} at sequence {sequence}, "
            f"channel {channel}, step {step}; mask what is missing"
        )
    if spec.emission == "categorical" and spec.encoding == "index":
        odd = np.argwhere((x != np.rint(x)) | (x >= (spec.codes or 0)))
        if len(odd):
            raise InputError(
                f"codes must be whole numbers below {spec.codes} (below 0 where one is missing), "
                f"but x is {x[tuple(odd[0])]:g} at sequence {odd[0][0]}, step {odd[0][2]}"
            )
