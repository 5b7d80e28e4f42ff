"""What was computed from weights, kept while they stay what they are."""

import copy
import ctypes
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mlx.core as mx


def address(array: mx.array) -> int | None:
    """Address of an array's values; None of one that has none yet, or is not laid out in order."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None


class _Made(NamedTuple):
    """Values by name, and the arrays that they were made from."""

    arrays: tuple[mx.array, ...]
    addresses: tuple[int, ...]
    alive: dict[str, mx.array]
    values: dict[str, Any]


class Kept:
    """Values made from some arrays, and made again when one of the arrays has changed.

    An array is unchanged if it is the same object (an optimiser and `update` set others, and a
    gradient or a compiled function looks at arrays of its own) with its values at the same address
    (`a[...] = b` and `a *= 2` move them, since the old ones are kept alive here). Writing to MLX's
    memory through a view of numpy (`np.array(a, copy=False)`) is not noticed.

    Nothing is kept of arrays that come for the first time, as each does in training.

    Attributes:
        fixed: whether the arrays are known to stay, so that values are kept at once.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.fixed = False
        self._last: tuple[int, ...] = ()
        self._made: _Made | None = None

    def __reduce__(self) -> Any:
        """Copy as one that keeps nothing: the arrays of a copied model are others."""
        return Kept, ()

    def value(
        self,
        name: str,
        sources: Mapping[str, mx.array],
        make: Callable[[Mapping[str, mx.array]], Any],
    ) -> Any:
        """The value of a name, or None where nothing may be kept.

        Args:
            name: of the value; several are kept of the same sources.
            sources: arrays that the value is made from.
            make: called with the sources; its arrays are evaluated here.
        """
        made, arrays = self._made, tuple(sources.values())
        if made is None or not _same(made, arrays):
            last, self._last = self._last, tuple(map(id, arrays))
            if self._last != last and not self.fixed:
                self._made = None
                return None
            made = _noted(arrays, sources)
            if made is None:
                return None
        if name not in made.values:
            value = make(made.alive)
            mx.eval(value)
            made.values[name] = value
        self._made = made
        return made.values[name]


def _same(made: _Made, arrays: tuple[mx.array, ...]) -> bool:
    """Whether arrays are those that something was made from, unchanged."""
    return len(arrays) == len(made.arrays) and all(
        array is known and address(array) == start
        for array, known, start in zip(arrays, made.arrays, made.addresses, strict=True)
    )


def _noted(arrays: tuple[mx.array, ...], sources: Mapping[str, mx.array]) -> _Made | None:
    """Arrays, with copies that share and keep their memory; None while one has no address."""
    alive = {name: copy.copy(array) for name, array in sources.items()}
    addresses = [address(array) for array in alive.values()]
    known = tuple(start for start in addresses if start is not None)
    return _Made(arrays, known, alive, {}) if len(known) == len(arrays) else None


class Watch:
    """The arrays below a module at one moment, to notice every later change; see Kept.

    Attributes:
        model: the module itself, only for as long as it lives.
        arrays: copies that share and keep the memory.
        narrow: whether some are not float32.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        """Note each module, list and array below `model`."""
        self._places: list[tuple[Any, Any, Any]] = []
        self._sizes: list[tuple[Any, int]] = []
        self._note(model)
        self.model = weakref.ref(model)
        arrays = [item for _, _, item in self._places if isinstance(item, mx.array)]
        self.arrays = [copy.copy(array) for array in arrays]
        self._addresses = [address(array) for array in self.arrays]
        self._originals = arrays
        self.narrow = any(array.dtype != mx.float32 for array in arrays)

    def _note(self, group: Any) -> None:
        """Note what a module, dictionary or list has, and what is below."""
        self._sizes.append((group, len(group)))
        for key in list(group) if isinstance(group, dict) else range(len(group)):
            item = group[key]
            if isinstance(item, mx.array):
                self._places.append((group, key, item))
            elif isinstance(item, dict | list):
                self._places.append((group, key, item))
                self._note(item)

    def unchanged(self, model: dict[str, Any]) -> bool:
        """Whether the model has these parts and arrays, with the values that they had."""
        if self.model() is not model:
            return False
        try:
            same = all(group[key] is item for group, key, item in self._places)
        except LookupError:
            return False
        if not same or any(len(group) != size for group, size in self._sizes):
            return False
        return None not in self._addresses and self._starts() == self._addresses

    def _starts(self) -> list[int | None]:
        """Addresses of all arrays, by a shorter way than `address` while all have one."""
        try:
            return [*map(ctypes.addressof, map(ctypes.c_char.from_buffer, self._originals))]  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError):
            return [address(array) for array in self._originals]
