"""Warnings where a variance floor, which has the unit of the signal, decides a fit."""

import warnings

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import HdpSpec, HsmmSpec, Spec

# Share of a channel's variance up to which a floor hardly matters, and the share to be proposed.
MOST, PROPOSED = 1e-2, 1e-4


def floor_on_input(spec: Spec) -> float | None:
    """The variance floor of a model whose gaussian states see the input itself, or None."""
    while spec.kind == "sequential":
        spec = next(iter(spec.children().values()))
    if isinstance(spec, HsmmSpec) and spec.emission == "gaussian":
        return spec.variance_floor
    if isinstance(spec, HdpSpec) and spec.components == "gaussian":
        return spec.variance_floor
    return None


def warn_of_large_floor(spec: Spec, values: Array, stacklevel: int = 3) -> None:
    """Warn where the variance floor of a model is not small beside the variance of its input.

    Args:
        spec: of the model.
        values: (channels, steps) of the data, those that are observed.
        stacklevel: as of warnings.warn, counted from here.
    """
    floor = floor_on_input(spec)
    if floor is None or not values.size:
        return
    variances = np.asarray(values, dtype=np.float64).var(axis=1)
    moving = np.where(variances > 0.0, variances, np.inf)
    least = int(moving.argmin())
    if np.isfinite(moving[least]) and floor > MOST * moving[least]:
        warnings.warn(
            f"variance_floor is {floor:g}, but channel {least} has a variance of only "
            f"{moving[least]:.3g} (in the squared unit of the signal), so that the floor and not "
            f"the data decides: set variance_floor to {PROPOSED * moving[least]:.1g}, or give the "
            "signal in a smaller unit",
            stacklevel=stacklevel,
        )


def warn_of_reached_floor(spec: HsmmSpec, weights: dict[str, Array], states: Array) -> None:
    """Warn where states of a fit ended with next to no variance beside the floor.

    Args:
        spec: of the model.
        weights: of the fit.
        states: those that hold any of the data.
    """
    if spec.emission != "gaussian":
        return
    at_floor = np.exp(weights["log_variances"][states].astype(np.float64)) < spec.variance_floor
    if at_floor.any():
        state, channel = np.argwhere(at_floor)[0]
        warnings.warn(
            f"{int(at_floor.sum())} variances are held up by variance_floor, "
            f"{spec.variance_floor:g}, as that of state {states[state]} in channel {channel}: the "
            "fit depends on the unit of the signal there; change variance_floor, or fit fewer "
            "states",
            stacklevel=3,
        )
