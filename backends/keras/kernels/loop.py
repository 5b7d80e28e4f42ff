"""A loop over time by each Keras backend's own means.

keras.ops.scan keeps, on TensorFlow, only what has the shape of what is carried.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from ..block import Tensor

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


def scan(step: Step, carry: Tensors, rows: Sequence[Tensor], reverse: bool = False) -> Any:
    """Run a step over the first axis of `rows`, one after the other.

    Args:
        step: of (what is carried, one row of each tensor) to (what is carried, what to keep); the
            first keeps its shapes and types.
        carry: before the first step.
        rows: (time, ...) each, of one length.
        reverse: begin with the last row; what is kept still stands in the order of the rows.
    Returns:
        (what is carried after the last step, what was kept, each (time, ...)).
    """
    return _BRANCHES[keras.backend.backend()](step, tuple(carry), tuple(rows), reverse)


def _tensorflow(step: Step, carry: Tensors, rows: Tensors, reverse: bool) -> Any:
    import tensorflow as tf

    count = ops.shape(rows[0])[0]
    _, outcome = step(carry, _blank(rows))
    # One row more than wanted: where the batch size is unknown an empty array has no shape.
    outputs = tuple(
        tf.TensorArray(y.dtype, count + 1, element_shape=y.shape).write(count, tf.zeros_like(y))
        for y in outcome
    )

    def body(index: Tensor, carry: Tensors, outputs: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        carry, outcome = step(carry, tuple(row[index] for row in rows))
        outputs = tuple(array.write(index, y) for array, y in zip(outputs, outcome, strict=True))
        return index + (-1 if reverse else 1), carry, outputs

    start = tf.convert_to_tensor(count - 1 if reverse else 0)
    _, carry, outputs = tf.while_loop(
        lambda index, *_: index >= 0 if reverse else index < count, body, (start, carry, outputs)
    )
    return carry, tuple(array.stack()[:count] for array in outputs)


def _jax(step: Step, carry: Tensors, rows: Tensors, reverse: bool) -> Any:
    import jax

    return jax.lax.scan(step, carry, rows, reverse=reverse)


def _torch(step: Step, carry: Tensors, rows: Tensors, reverse: bool) -> Any:
    indices, outputs = range(len(rows[0])), []
    for index in reversed(indices) if reverse else indices:
        carry, outcome = step(carry, tuple(row[index] for row in rows))
        outputs.append(outcome)
    if reverse:
        outputs.reverse()
    if not outputs:
        _, outcome = step(carry, _blank(rows))
        return carry, tuple(ops.zeros((0, *y.shape), dtype=y.dtype) for y in outcome)
    return carry, tuple(ops.stack(each) for each in zip(*outputs, strict=True))


def _blank(rows: Tensors) -> Tensors:
    """A row of zeros: what a step makes of it tells the shapes and types of what it keeps."""
    return tuple(ops.zeros(ops.shape(row)[1:], dtype=row.dtype) for row in rows)


_BRANCHES: dict[str, Callable[[Step, Tensors, Tensors, bool], Any]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
