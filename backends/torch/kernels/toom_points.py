"""Matrices of Toom-Cook convolutions, by exact rational arithmetic; no framework.

F(tile, taps) computes `tile` outputs of a correlation with `taps` weights from n = tile + taps - 1
inputs with n products instead of tile * taps:

    y = A^T [(G w) * (B^T x)]

G evaluates the kernel, as a polynomial, at n points of which the last is infinity; A^T and B^T are
the transposed evaluation of the outputs and the transposed interpolation (transposition principle).

Rounding grows with `growth`, which depends on the points only. Those here are the best of the
fractions of numerators and denominators up to 5: for F(4, 7) it is 13, and 71 with the usual
0, 1, -1, 1/2, -1/2, 2, -2, 1/4, -1/4.

Sources:
    Lavin, Gray 2015, arXiv:1509.09308 (minimal filtering); Winograd 1980, "Arithmetic complexity of
    computations"; Barabasz, Anderson, Soodhalter, Gregg 2018, arXiv:1803.10986 (points and errors).
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Rows = list[list[Fraction]]

# Outputs of one tile.
TILE = 4
# Finite points, but for their signs, by number of taps; 0 belongs to each.
POINTS = {
    3: ("2/3", "3/2"),
    5: ("1", "1/2", "2"),
    7: ("1/2", "2", "4/5", "5/4"),
}


@dataclass(frozen=True)
class Matrices:
    """The three transforms, in float64.

    Attributes:
        outputs: A^T, (tile, n).
        kernel: G, (n, taps).
        inputs: B^T, (n, n).
    """

    outputs: NDArray[np.float64]
    kernel: NDArray[np.float64]
    inputs: NDArray[np.float64]

    @property
    def growth(self) -> float:
        """Rounding error of an output for white inputs and weights, that of a plain sum being 1."""
        terms = np.square(self.inputs).sum(1) * np.square(self.kernel).sum(1)
        return float(np.sqrt((np.square(self.outputs) @ terms).max() / self.kernel.shape[1]))


@functools.cache
def matrices(taps: int) -> Matrices:
    """The transforms of F(TILE, taps) for the points above; see `exact`."""
    points = [Fraction(0), *(s * Fraction(p) for p in POINTS[taps] for s in (1, -1))]
    return Matrices(*map(_floats, exact(TILE, taps, points)))


def exact(tile: int, taps: int, points: list[Fraction]) -> tuple[Rows, Rows, Rows]:
    """A^T, G and B^T of F(tile, taps) as fractions.

    Args:
        tile: outputs.
        taps: weights.
        points: tile + taps - 2 different fractions; infinity is added to them.
    Raises:
        ValueError: another number of points, or one that stands twice.
    """
    n = tile + taps - 1
    if len(set(points)) != len(points) or len(points) != n - 1:
        raise ValueError(f"F({tile}, {taps}) takes {n - 1} different points, but got {points}")
    outputs, kernel = _evaluation(points, tile), _evaluation(points, taps)
    return _transposed(outputs), kernel, _transposed(_inverse(_evaluation(points, n)))


def _evaluation(points: list[Fraction], size: int) -> Rows:
    """Powers 0 to size - 1 of the points, and the row of infinity: the highest coefficient."""
    infinity = [Fraction(0)] * (size - 1) + [Fraction(1)]
    return [*([point**power for power in range(size)] for point in points), infinity]


def _inverse(matrix: Rows) -> Rows:
    """Inverse by Gauss-Jordan elimination."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i, row in enumerate(rows):
            if i != column and row[column] != 0:
                factor, base = row[column], rows[column]
                rows[i] = [a - factor * b for a, b in zip(row, base, strict=True)]
    return [row[size:] for row in rows]


def _transposed(matrix: Rows) -> Rows:
    """Rows as columns."""
    return [list(column) for column in zip(*matrix, strict=True)]


def _floats(matrix: Rows) -> NDArray[np.float64]:
    """The nearest float64 values."""
    return np.array([[float(value) for value in row] for row in matrix])
