"""Tables as probabilities, for the recursions of `scaled`."""

from typing import NamedTuple

import numpy as np

from tcnzoo.arrays import Array

# The smallest weight that the recursions keep, beside 0.
LEAST = 1e-200
# The smallest probability, beside 0; and one below which a sum of products may lack digits.
FAINTEST, SMALL = 1e-300, 1e-100


class Law(NamedTuple):
    """Probabilities of a model.

    Attributes:
        transitions: (K, K), from row to column.
        arrivals: the same from column to row.
        durations: (K, D), in the order of the window.
        survival: (K, D), in the order of the window.
        lacking: a bound of what sums over a window lack for durations that are too rare, or 0.
    """

    transitions: Array
    arrivals: Array
    durations: Array
    survival: Array
    lacking: float


class Chances(NamedTuple):
    """Probabilities in the order of the forward and of the backward pass.

    Attributes:
        first: (K,), of a state at the start for each age that it may have there.
        forward: durations and survival from D down to 1.
        backward: durations and survival from 1 to D.
    """

    first: Array
    forward: Law
    backward: Law


def chances_of(first: Array, transitions: Array, durations: Array, survival: Array) -> Chances:
    """Take the powers of log-probabilities, named as in `tables.Tables`."""
    moves, lasting, reached = (powers_of(logs) for logs in (transitions, durations, survival))
    lacking = LEAST if ((lasting > 0.0) & (lasting < SMALL)).any() else 0.0
    arrivals = np.ascontiguousarray(moves.T)
    before, behind = (np.ascontiguousarray(law[:, ::-1]) for law in (lasting, reached))
    return Chances(
        powers_of(first),
        Law(moves, arrivals, before, behind, lacking),
        Law(moves, arrivals, lasting, reached, lacking),
    )


def powers_of(logs: Array) -> Array:
    """Exp of logarithms: 0 for -inf only, else FAINTEST at least, so that no sum is too small."""
    powers = np.exp(logs)
    if powers.min() < FAINTEST:
        powers = np.where(logs == -np.inf, 0.0, np.maximum(powers, FAINTEST))
    return np.ascontiguousarray(powers)
