"""How kernels lie in state_dicts of braindecode, whose convolutions are two-dimensional.

Time is the third axis of some nets and the fourth of others; where a kernel here has time alone,
the other axis is of size 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tcnzoo.arrays import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """How a tensor lies elsewhere.

    Attributes:
        shape: neutral shape -> shape there.
        swapped: whether the last two axes of the neutral tensor change places.
    """

    shape: Callable[[Shape], Shape]
    swapped: bool = False

    def neutral(self, array: Array, shape: Shape) -> Array:
        """A tensor from there in its neutral shape."""
        return array.swapaxes(2, 3) if self.swapped else array.reshape(shape)

    def stored(self, array: Array) -> Array:
        """A neutral tensor as it lies there."""
        if self.swapped:
            return array.swapaxes(2, 3)
        return array.reshape(self.shape(array.shape))


VIEWS: Mapping[str, View] = {
    "same": View(lambda shape: shape),
    "time first": View(lambda shape: (*shape[:2], shape[3], shape[2]), swapped=True),
    "time third": View(lambda shape: (*shape, 1)),
    "token": View(lambda shape: (1, 1, *shape)),
    "rows": View(lambda shape: (1, *shape)),
    "time fourth": View(lambda shape: (*shape[:2], 1, *shape[2:])),
}
