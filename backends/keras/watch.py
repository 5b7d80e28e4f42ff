"""Whether the variables of a Keras model were changed since the last step of a stream."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from .block import Tensor

# Present values of variables as tensors that nobody writes to.
Reader = Callable[[], Sequence[Tensor]]


class Watch:
    """The values of some variables at one moment, to notice every later change.

    The values are held as tensors, which are never written to: an update of a variable whose values
    are held so puts others in their place. Variables that have the very same values are unchanged.

    Attributes:
        works: whether that can be seen: on a CPU, by TensorFlow and JAX.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        """Note the values."""
        self._read, self._place = _MEANS.get(keras.backend.backend(), _unseen)(variables)
        self.works = self._read is not None
        self._note()

    def _note(self) -> None:
        """Hold the present values."""
        if self._read is not None and self._place is not None:
            self._values = self._read()
            self._places = [self._place(value) for value in self._values]

    def follow(self) -> bool:
        """Note the values again if they were changed; whether they were."""
        if self._read is None or self._place is None:
            return True
        values = self._read()
        if [self._place(value) for value in values] == self._places:
            return False
        self._values, self._places = values, [self._place(value) for value in values]
        return True


Means = tuple[Reader | None, Callable[[Tensor], Any] | None]


def _tensorflow(variables: Sequence[Any]) -> Means:
    """Tensors that share the variables' memory, and its address."""
    import tensorflow as tf

    own = [variable.value for variable in variables]
    if not all(hasattr(value, "read_value") and "CPU" in value.device for value in own):
        return _unseen(variables)
    reader: Reader = tf.function(lambda: [value.read_value() for value in own], autograph=False)
    return reader, _address


def _address(value: Tensor) -> int:
    """Where the values of an eager tensor of TensorFlow are."""
    address: int = np.asarray(memoryview(value)).__array_interface__["data"][0]
    return address


def _jax(variables: Sequence[Any]) -> Means:
    """JAX's arrays are values: another array is a change."""
    own = list(variables)
    if not all(device.platform == "cpu" for one in own for device in one.value.devices()):
        return _unseen(variables)
    return lambda: [variable.value for variable in own], id


def _unseen(variables: Sequence[Any]) -> Means:
    """A framework whose tensors are written in place."""
    return None, None


_MEANS: dict[str, Callable[[Sequence[Any]], Means]] = {"tensorflow": _tensorflow, "jax": _jax}
