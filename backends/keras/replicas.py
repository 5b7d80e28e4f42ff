"""Several devices of one machine that train a model together, by TensorFlow's MirroredStrategy.

The variables stay where they are, on the first device, so that the model is the same `keras.Model`
as ever. A step sends their values to all devices, where a part of the batch is computed as a
function without state; the first device then moves the variables by the sum of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from tcnzoo.errors import InputError

from .block import Tensor

if TYPE_CHECKING:
    from tcnzoo.training.stepper import Batch


def replicas_for(devices: int, device: str | None) -> Replicas | None:
    """The devices that a plan asks for; None for one, which needs nothing of this.

    Args:
        devices: how many.
        device: the model's own, if it has been given one.
    Raises:
        InputError: another Keras backend than TensorFlow, a model that is bound to one device, or
            fewer devices than wanted.
    """
    if devices == 1:
        return None
    engine = keras.backend.backend()
    if engine != "tensorflow":
        raise InputError(
            f"training.devices: {devices} needs Keras on TensorFlow, but Keras runs on {engine}"
        )
    if device is not None:
        raise InputError(
            f"training.devices: {devices} takes the first devices that are there, so device must "
            f"be null, but it is {device!r}"
        )
    return Replicas(devices)


class Replicas:
    """Devices that each take a part of every batch: all GPUs, or CPUs where there is no GPU."""

    def __init__(self, devices: int) -> None:
        """Take the first `devices` of them.

        Raises:
            InputError: there are fewer.
        """
        import tensorflow as tf

        available = tf.config.list_logical_devices("GPU")
        # Without a GPU there is no NCCL, and TensorFlow would warn that it is not used.
        reduction = None if available else tf.distribute.ReductionToOneDevice()
        available = available or tf.config.list_logical_devices("CPU")
        names = [each.name.rpartition("device:")[2].lower() for each in available]
        if len(names) < devices:
            raise InputError(
                f"training.devices asks for {devices} devices, but TensorFlow has {len(names)} "
                f"here: {', '.join(names)}"
            )
        self.names = names[:devices]
        self.strategy = tf.distribute.MirroredStrategy(self.names, cross_device_ops=reduction)

    def spread(self, batch: Batch, inputs: Callable[[Batch], tuple[Any, ...]], seeds: Any) -> Any:
        """Deal a batch out.

        Args:
            batch: of as many examples as there are devices, or more.
            inputs: makes tensors of a part of it.
            seeds: of the masks of each device.
        Returns:
            the tensors of the parts, each on its device, the device's seeds, and its share of the
            examples: values of TensorFlow that differ between devices.
        """
        columns = {name: np.array_split(rows, len(self.names)) for name, rows in batch.items()}
        values = []
        for index, name in enumerate(self.names):
            part = {key: column[index] for key, column in columns.items()}
            share = np.float64(len(part["x"]) / len(batch["x"]))
            with keras.device(name):
                scalars = (ops.convert_to_tensor(each) for each in (seeds[index], share))
                values.append((*inputs(part), *scalars))
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group]
        )

    def together(
        self, variables: Sequence[Any], body: Callable[..., Any], parts: tuple[Any, ...]
    ) -> Any:
        """The sum over all devices of what a function returns; variables move as on the first.

        Args:
            variables: all that the function may read or assign.
            body: takes one device's values and returns nested tensors.
            parts: of `spread`.
        """
        import tensorflow as tf

        with keras.device(self.names[0]):
            values = [ops.convert_to_tensor(variable.value) for variable in variables]

        def of_one(*part: Any) -> Any:
            # What a device assigns stays in its scope, and what the first assigned is taken below.
            own = [tf.identity(value) for value in values]
            with keras.StatelessScope(list(zip(variables, own, strict=True))) as scope:
                result = body(*part)
            after = [scope.get_current_value(variable) for variable in variables]
            moved = [b if b is not a else None for a, b in zip(own, after, strict=True)]
            return summed(result), moved

        result, after = tf.nest.map_structure(self._first, self.strategy.run(of_one, args=parts))
        for variable, value in zip(variables, after, strict=True):
            if value is not None:
                variable.assign(value)
        return result

    def _first(self, value: Any) -> Any:
        """What the first device holds of a value."""
        return self.strategy.experimental_local_results(value)[0]


def among_replicas() -> bool:
    """Whether this is computed on several devices at once, each with its part of a batch."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def summed(values: Any) -> Any:
    """Nested tensors summed over all devices, to be differentiated in all of them at once."""
    if not among_replicas():
        return values
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def of_all(rows: Tensor) -> Tensor:
    """The rows of all devices, in their order, without gradient."""
    if among_replicas():
        import tensorflow as tf

        rows = tf.distribute.get_replica_context().all_gather(rows, axis=0)
    return ops.stop_gradient(rows)
