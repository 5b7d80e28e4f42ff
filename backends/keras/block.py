"""The base of every Keras block: variables and parts laid out as the spec says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from tcnzoo.arrays import to_numpy
from tcnzoo.errors import WeightError
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

from .weights import stored_shape

Tensor = Any
StaticShape = tuple[int | None, ...]
BLOCKS: dict[str, type[Block]] = {}

# A signal long enough for any model; twice as long tells whether the output's length depends on it.
LONG = 2**24


class Block(keras.layers.Layer):
    """A layer with its variables in `arrays` and its parts in `parts`, both named as in the spec.

    Arrays are channels last: (batch, time, channels), or (batch, channels) for vectors. All
    variables are made at construction, as zeros.
    """

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind`, and with Keras for saving."""
        super().__init_subclass__()
        if kind:
            BLOCKS[kind] = keras.saving.register_keras_serializable(package="tcnzoo")(cls)

    def __init__(self, spec: Spec, place: str = "", owned: bool = False, **options: Any) -> None:
        """Make room for the parameters of `spec` and build its parts.

        Args:
            spec: what to build.
            place: dotted path in the whole, "" for the whole.
            owned: whether something larger saves this block's variables.
            options: Keras's `dtype`, `name` and `trainable`.
        """
        super().__init__(**options)
        self.spec: Any = spec
        self.place = place
        self.owned = owned
        self.observer: Callable[[str, Tensor], None] | None = None
        self.resting = False  # frozen whole, so that it runs as in evaluation
        self.arrays: dict[str, Any] = {}
        for name, param in spec.own_params().items():
            self.arrays[name] = self.add_weight(
                shape=stored_shape(param),
                initializer="zeros",
                trainable=param.trainable,
                name=name,
            )
        with keras.name_scope(self.name):
            self.parts: dict[str, Block] = {
                name: self._part(name, child) for name, child in spec.children().items()
            }
        self.built = True

    def _part(self, name: str, spec: Spec) -> Block:
        """Build a part; Keras and torch take no dots in names."""
        place = f"{self.place}.{name}" if self.place else name
        inner = name.replace(".", "-")
        return build(spec, place, owned=True, name=inner, dtype=self.dtype_policy)

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Run the block as any Keras layer, and tell the observer."""
        if self.resting and self._call_has_training_arg:
            inputs["training"] = False
        y = super().__call__(*args, **inputs)
        if self.observer is not None:
            self.observer(self.place, y)
        return y

    def optional(self, name: str, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Apply the part `name` where the spec has it."""
        part = self.parts.get(name)
        return x if part is None else part(x, stream=stream)

    def walk(self, path: str = "") -> Iterator[tuple[str, Block]]:
        """Yield (dotted path, block) for this block and every part below it."""
        yield path, self
        for name, part in self.parts.items():
            yield from part.walk(f"{path}.{name}" if path else name)

    def named_variables(self) -> Iterator[tuple[str, Any]]:
        """Yield (neutral name, Keras variable) for this block and every part below it."""
        for path, part in self.walk():
            for name, variable in part.arrays.items():
                yield (f"{path}.{name}" if path else name), variable

    def save_own_variables(self, store: Any) -> None:
        """Store all variables under their neutral names; a part leaves that to the whole."""
        if not self.owned:
            self.save_named(store)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` stored."""
        if not self.owned:
            self.load_named(store)

    def save_named(self, store: Any) -> None:
        """Store arrays by neutral name, in this backend's layout."""
        for name, variable in self.named_variables():
            store[name] = to_numpy(variable.value)

    def load_named(self, store: Mapping[str, Any]) -> None:
        """Assign arrays by neutral name, in this backend's layout.

        Raises:
            WeightError: the names are not those of this block.
        """
        held = dict(self.named_variables())
        odd = sorted(set(store.keys()) ^ set(held))
        if odd:
            where = "missing" if odd[0] in held else "unknown"
            raise WeightError(
                f"the file must hold the {len(held)} variables of the model, "
                f"but {odd[0]!r} is {where}"
            )
        for name, variable in held.items():
            variable.assign(store[name])

    def compute_output_shape(self, x_shape: StaticShape) -> Any:
        """Shape of the output; its time is None where that depends on an unknown length.

        Raises:
            InputError: the input does not fit.
        """
        batch, *steps, channels = x_shape
        open_ended = bool(steps) and steps[-1] is None
        lengths = [[*steps[:-1], LONG], [*steps[:-1], 2 * LONG]] if open_ended else [steps, steps]
        one, other = (self.spec.output_shape((channels, *length)) for length in lengths)
        width, *out = [a if a == b else None for a, b in zip(one, other, strict=True)]
        return (batch, *out, width)

    def get_config(self) -> dict[str, Any]:
        """Keras's configuration, with the spec as a dictionary."""
        return {**super().get_config(), "spec": self.spec.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Block:
        """Build the block that `get_config` described."""
        return cls(**{**config, "spec": parse_spec(config["spec"])})


def build(spec: Spec, place: str = "", owned: bool = False, **options: Any) -> Block:
    """Build the block for a spec, with the arguments of `Block`."""
    return BLOCKS[spec.kind](spec, place, owned, **options)
