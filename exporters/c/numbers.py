"""Arrays as C text, kernels in the order in which they are read, and kernels in int8."""

from collections.abc import Iterator

import numpy as np

from tcnzoo.arrays import Array

from .functions import panels

# Characters of a line of numbers.
LINE = 96
# Largest of an int8 kernel and of an int8 row, of either sign.
MOST = 127
# Inputs of a tap from which on a sum of int8 products might not fit into int32.
WIDEST = (2**31 - 1) // MOST**2


def floats(array: Array) -> Iterator[str]:
    """Lines of the shortest decimal numbers that are these float32 values again."""
    words = [
        text if "." in text or "e" in text else f"{text}.0" for text in map(str, array.ravel())
    ]
    return lines([f"{word}f" for word in words])


def integers(array: Array) -> Iterator[str]:
    """Lines of whole numbers."""
    return lines(list(map(str, array.ravel().tolist())))


def lines(words: list[str]) -> Iterator[str]:
    """Words with commas, in lines of equal numbers of words."""
    each = max(1, LINE // (max(map(len, words)) + 2))
    for start in range(0, len(words), each):
        yield ", ".join(words[start : start + each]) + ","


def in_panels(weight: Array, groups: int = 1) -> Array:
    """A kernel (out, taps, in) in the order in which a product reads it, as one row.

    That is, for each group and panel of output channels, (taps, in, panel).
    """
    rows = []
    for group in np.split(weight, groups):
        start = 0
        for width in panels(len(group)):
            rows.append(group[start : start + width].transpose(1, 2, 0).ravel())
            start += width
    return np.concatenate(rows)


def quantised(weight: Array) -> tuple[Array, Array]:
    """A kernel (out, taps, in) in int8 and the scale of each output channel, float32."""
    scale = np.abs(weight).max(axis=(1, 2)) / MOST
    steps = weight / np.where(scale > 0.0, scale, 1.0)[:, None, None]
    return np.rint(steps).astype(np.int8), scale.astype(np.float32)
