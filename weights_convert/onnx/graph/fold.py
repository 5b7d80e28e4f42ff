"""Operators on constants, computed with numpy: shapes that exporters leave, weights they derive.

`ReferenceEvaluator` of onnx 1.23.2 gives the same bits, but takes 25 times as long for a node and
checks no sizes before it computes; onnxslim 0.1.98 and onnxoptimizer 0.4.2 leave most products.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import WeightError

from ...containers.onnx import TYPES
from .arguments import axes_of, slices_of, split_sizes, target_of, whole
from .nodes import Node

# Bytes that constants of a graph may come to have, beyond so many times what its file holds.
GROWTH = 16
ALWAYS_ALLOWED = 64 * 2**20

# What Python and numpy raise on inputs and attributes that an operator does not take.
WRONG = (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError)

Inputs = list[Array | None]
_FOLDS: dict[str, Callable[[Node, Inputs, int], Any]] = {}


def _folds(*ops: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that computes an operator: one array, or a list of them."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _FOLDS.update(dict.fromkeys(ops, function))
        return function

    return register


class Folder:
    """Computes operators whose inputs are all constant, within a budget of memory.

    Args:
        opset: version of the operators.
        stored: bytes that the file's own tensors have.
    """

    def __init__(self, opset: int, stored: int) -> None:
        """Start with the whole budget."""
        self.opset = opset
        self.left = GROWTH * stored + ALWAYS_ALLOWED

    def fold(self, node: Node, inputs: Inputs) -> list[Array] | None:
        """The outputs of a node, or None for an operator that is not computed here.

        Raises:
            WeightError: inputs that the operator does not take, or outputs beyond the budget.
        """
        function = _FOLDS.get(node.op)
        if function is None:
            return None
        try:
            self._check_growth(node, inputs)
            with np.errstate(all="ignore"):
                result = function(node, inputs, self.opset)
        except (
            ValueError,
            TypeError,
            IndexError,
            KeyError,
            AttributeError,
            OverflowError,
        ) as error:
            raise WeightError(f"{node} cannot be computed: {error}") from None
        outputs = [
            np.asarray(array) for array in (result if isinstance(result, list) else [result])
        ]
        self.left -= sum(array.nbytes for array in outputs if array.base is None)
        return outputs

    def _check_growth(self, node: Node, inputs: Inputs) -> None:
        """Raise WeightError before an operator makes more than the budget allows."""
        if node.op in ("ConstantOfShape", "Expand", "Tile") and inputs:
            last = inputs[-1]
            size = (
                math.prod(max(1, abs(int(array))) for array in last.ravel())
                if last is not None
                else 1
            )
            size *= inputs[0].size if node.op == "Tile" and inputs[0] is not None else 1
        elif node.op == "Range":
            start, limit, delta = (float(array) if array is not None else 1.0 for array in inputs)
            size = int(abs(limit - start) / (abs(delta) or 1.0)) + 1
        else:
            size = _joint_size([array.shape for array in inputs if array is not None])
        if size * 8 > self.left:
            raise WeightError(f"{node} would make a constant of {size} values, which is refused")


def _joint_size(shapes: Sequence[tuple[int, ...]]) -> int:
    """Values that arrays of some shapes have together, side by side or spread over one another."""
    try:
        spread = math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        spread = 0
    return max(spread, sum(math.prod(shape) for shape in shapes))


_BROADCASTING = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power,
    "Max": np.maximum, "Min": np.minimum, "Equal": np.equal, "Greater": np.greater,
    "Less": np.less, "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal,
    "And": np.logical_and, "Or": np.logical_or,
}  # fmt: skip
_POINTWISE: dict[str, Callable[..., Any]] = {
    "Identity": np.asarray, "Neg": np.negative, "Abs": np.abs, "Sqrt": np.sqrt, "Exp": np.exp,
    "Reciprocal": np.reciprocal, "Floor": np.floor, "Ceil": np.ceil, "Not": np.logical_not,
}  # fmt: skip
_REDUCING: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMean": np.mean, "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceSumSquare": lambda x, **how: np.sum(x * x, **how),
    "ReduceL2": lambda x, **how: np.sqrt(np.sum(x * x, **how)),
}  # fmt: skip


@_folds(*_BROADCASTING)
def _broadcast(node: Node, inputs: Inputs, opset: int) -> Array:
    result = np.asarray(inputs[0])
    for array in inputs[1:]:
        result = _BROADCASTING[node.op](result, np.asarray(array))
    return result.astype(np.asarray(inputs[0]).dtype) if node.op == "Pow" else result


@_folds("Div")
def _divide(node: Node, inputs: Inputs, opset: int) -> Array:
    x, y = np.asarray(inputs[0]), np.asarray(inputs[1])
    if x.dtype.kind not in "iu":
        return np.asarray(np.divide(x, y))
    if not y.all():
        raise ValueError("it divides by zero")
    # Towards zero, where numpy rounds down.
    return np.asarray(np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)


@_folds(*_POINTWISE)
def _pointwise(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.asarray(_POINTWISE[node.op](inputs[0]))


@_folds(*_REDUCING)
def _reduce(node: Node, inputs: Inputs, opset: int) -> Array:
    x, axes = np.asarray(inputs[0]), axes_of(node, inputs)
    if not axes and node.get("noop_with_empty_axes", 0):
        return x
    chosen = tuple(axes) if axes else None
    reduced = _REDUCING[node.op](x, axis=chosen, keepdims=bool(node.get("keepdims", 1)))
    return np.asarray(reduced).astype(x.dtype)


@_folds("Cast")
def _cast(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.asarray(inputs[0]).astype(TYPES[node.get("to")][0])


@_folds("Shape")
def _shape(node: Node, inputs: Inputs, opset: int) -> Array:
    shape = np.asarray(np.asarray(inputs[0]).shape, np.int64)
    return shape[node.get("start", 0) : node.get("end")]


@_folds("Constant")
def _constant(node: Node, inputs: Inputs, opset: int) -> Array:
    if "value" in node.attributes:
        return np.asarray(node.get("value"))
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32)):
        if name in node.attributes:
            return np.asarray(node.get(name), dtype)
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            return np.asarray(node.get(name), np.int64)
    raise ValueError("its value is no array of numbers")


@_folds("ConstantOfShape")
def _constant_of_shape(node: Node, inputs: Inputs, opset: int) -> Array:
    value = np.asarray(node.get("value", np.zeros(1, np.float32)))
    return np.full(whole(inputs[0]), value.reshape(-1)[0], value.dtype)


@_folds("Reshape")
def _reshape(node: Node, inputs: Inputs, opset: int) -> Array:
    x = np.asarray(inputs[0])
    return x.reshape(target_of(x.shape, whole(inputs[1]), bool(node.get("allowzero", 0))))


@_folds("Flatten")
def _flatten(node: Node, inputs: Inputs, opset: int) -> Array:
    x, axis = np.asarray(inputs[0]), node.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), -1)


@_folds("Transpose")
def _transpose(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.asarray(inputs[0]).transpose(node.get("perm"))


@_folds("Squeeze")
def _squeeze(node: Node, inputs: Inputs, opset: int) -> Array:
    axes = axes_of(node, inputs)
    return np.asarray(inputs[0]).squeeze(None if axes is None else tuple(axes))


@_folds("Unsqueeze")
def _unsqueeze(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.expand_dims(np.asarray(inputs[0]), tuple(axes_of(node, inputs) or ()))


@_folds("Concat")
def _concat(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.concatenate([np.asarray(array) for array in inputs], axis=node.get("axis"))


@_folds("Gather")
def _gather(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.take(np.asarray(inputs[0]), np.asarray(inputs[1]), axis=node.get("axis", 0))


@_folds("Slice")
def _slice(node: Node, inputs: Inputs, opset: int) -> Array:
    x = np.asarray(inputs[0])
    for axis, start, stop, step in slices_of(node, inputs, x.ndim):
        index = [slice(None)] * x.ndim
        # A stop before the first place is left out: -1 would count from the end.
        end = None if step < 0 and stop < -x.shape[axis] else stop
        index[axis] = slice(start, end, step)
        x = x[tuple(index)]
    return x


@_folds("Split")
def _split(node: Node, inputs: Inputs, opset: int) -> list[Array]:
    x, axis = np.asarray(inputs[0]), node.get("axis", 0)
    sizes = split_sizes(node, inputs, x.shape[axis])
    return list(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


@_folds("Expand")
def _expand(node: Node, inputs: Inputs, opset: int) -> Array:
    x = np.asarray(inputs[0])
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(whole(inputs[1]))))


@_folds("Tile")
def _tile(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.tile(np.asarray(inputs[0]), whole(inputs[1]))


@_folds("Range")
def _range(node: Node, inputs: Inputs, opset: int) -> Array:
    start, limit, delta = (np.asarray(array).item() for array in inputs)
    return np.asarray(np.arange(start, limit, delta), np.asarray(inputs[0]).dtype)


@_folds("Where")
def _where(node: Node, inputs: Inputs, opset: int) -> Array:
    return np.where(np.asarray(inputs[0]), np.asarray(inputs[1]), np.asarray(inputs[2]))
