"""What operators are told beside their signal, in old and new forms: axes, cuts, parts, shapes."""

import math
from collections.abc import Sequence

import numpy as np

from tcnzoo.arrays import Array

from .nodes import Node


def whole(array: Array | None) -> list[int]:
    """A vector of whole numbers."""
    return [int(number) for number in np.asarray(array).ravel()]


def axes_of(node: Node, inputs: Sequence[Array | None]) -> list[int] | None:
    """The axes of an operator, which newer operator sets give as its last input."""
    if "axes" in node.attributes:
        return [int(axis) for axis in node.get("axes")]
    axes = inputs[1] if len(inputs) > 1 else None
    return None if axes is None else whole(axes)


def slices_of(
    node: Node, inputs: Sequence[Array | None], rank: int
) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) for each axis that a Slice cuts."""
    if "starts" in node.attributes:
        given = [node.get("starts"), node.get("ends"), node.get("axes"), None]
    else:
        given = [None if array is None else whole(array) for array in inputs[1:]]
    starts, ends, axes, steps = (*given, None, None)[:4]
    axes = [axis + rank if axis < 0 else axis for axis in axes or range(len(starts))]
    return list(zip(axes, starts, ends, steps or [1] * len(starts), strict=True))


def split_sizes(node: Node, inputs: Sequence[Array | None], size: int) -> list[int]:
    """Sizes of the parts of a Split."""
    if "split" in node.attributes:
        return [int(length) for length in node.get("split")]
    if len(inputs) > 1 and inputs[1] is not None:
        return whole(inputs[1])
    parts = node.get("num_outputs", len(node.outputs))
    each = -(-size // parts)
    return [min(each, size - part * each) for part in range(parts)]


def target_of(shape: Sequence[int], wanted: Sequence[int], zero_is_size: bool) -> list[int]:
    """The shape that a Reshape gives: 0 keeps a size, -1 takes what is left.

    Raises:
        ValueError: sizes that do not hold the values.
    """
    target = [
        shape[axis] if size == 0 and not zero_is_size else size for axis, size in enumerate(wanted)
    ]
    if target.count(-1) == 1:
        known = math.prod(size for size in target if size != -1)
        if not known or math.prod(shape) % known:
            raise ValueError(f"shape {tuple(shape)} does not fit into {tuple(wanted)}")
        target[target.index(-1)] = math.prod(shape) // known
    if math.prod(target) != math.prod(shape) or min(target, default=1) < 0:
        raise ValueError(f"shape {tuple(shape)} does not fit into {tuple(wanted)}")
    return target
