"""Limits that braindecode sets on the norm of weights in every forward pass, training or not.

Source: `MaxNormParametrize` and `MaxNorm` of braindecode 1.8.1 (BSD-3-Clause); aten::renorm.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tcnzoo.arrays import Array

# aten::renorm divides by the norm and this.
RENORM_EPS = 1e-7
# A row that was scaled down to the limit, and rounded, may be above it by so much of it.
ROUNDING = 1e-6
# Columns that are nearer to their limit than this part of it are given a larger one.
NEAREST = 1e-8


class Limit(Protocol):
    """A limit, and what weights it makes of those that are kept.

    Attributes:
        most: the largest norm.
    """

    most: float

    def effective(self, kept: Array) -> Array:
        """The weights that the net computes with."""

    def kept(self, effective: Array) -> Array:
        """Weights of which the limit makes these."""

    def needed(self, effective: Array) -> float:
        """The least limit, no smaller than this one, that such weights can have."""


@dataclass(frozen=True)
class RowLimit:
    """Rows of the first axis have a norm of at most `most`; those above it are scaled down."""

    most: float

    def effective(self, kept: Array) -> Array:
        """The weights that the net computes with."""
        rows = kept.astype(np.float64).reshape(len(kept), -1)
        norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
        scales = np.where(norms > self.most, self.most / (norms + RENORM_EPS), 1.0)
        return (rows * scales).reshape(kept.shape).astype(kept.dtype)

    def kept(self, effective: Array) -> Array:
        """The weights themselves: their norms are within the limit."""
        return effective

    def needed(self, effective: Array) -> float:
        """The largest norm of a row, or the limit."""
        rows = effective.astype(np.float64).reshape(len(effective), -1)
        largest = float(np.sqrt((rows**2).sum(axis=1)).max())
        return self.most if largest <= self.most * (1.0 + ROUNDING) else largest


@dataclass(frozen=True)
class ColumnLimit:
    """Columns x of a matrix are scaled by min(n, most) / (n + eps), n = max(|x|, most / 2)."""

    most: float
    eps: float = 1e-5

    def _scales(self, norms: Array) -> Array:
        size = np.maximum(norms, self.most / 2)
        scales: Array = np.minimum(size, self.most) / (size + self.eps)
        return scales

    def effective(self, kept: Array) -> Array:
        """The weights that the net computes with."""
        columns = kept.astype(np.float64)
        norms = np.sqrt((columns**2).sum(axis=0, keepdims=True))
        return (columns * self._scales(norms)).astype(kept.dtype)

    def kept(self, effective: Array) -> Array:
        """The weights of which the scales make these.

        The norm n of a column and the norm m of what becomes of it are solved for in each of the
        three ranges: m = n s with a constant s, m = n^2 / (n + eps), m = n most / (n + eps).
        """
        columns, eps, most = effective.astype(np.float64), self.eps, self.most
        norms = np.sqrt((columns**2).sum(axis=0, keepdims=True))
        small = norms * (most / 2 + eps) / (most / 2)
        middle = (norms + np.sqrt(norms**2 + 4 * norms * eps)) / 2
        large = norms * eps / np.maximum(most - norms, np.finfo(np.float64).tiny)
        size = np.where(small <= most / 2, small, np.where(middle <= most, middle, large))
        scales = np.divide(size, norms, out=np.ones_like(norms), where=norms > 0.0)
        kept: Array = (columns * scales).astype(effective.dtype)
        return kept

    def needed(self, effective: Array) -> float:
        """The limit, or twice the largest norm of a column that has come too near to it."""
        columns = effective.astype(np.float64)
        largest = float(np.sqrt((columns**2).sum(axis=0)).max())
        return self.most if largest < self.most * (1.0 - NEAREST) else 2.0 * largest
