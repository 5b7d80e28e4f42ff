"""The base of every Keras block: variables and parts laid out as the spec says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar, get_origin

import keras

from tcnzoo.arrays import to_numpy
from tcnzoo.errors import WeightError
from tcnzoo.models.backend import block_class
from tcnzoo.models.streaming import Stream
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

from .weights import stored_shape

Tensor = Any
StaticShape = tuple[Any, ...]  # None for an axis of unknown length
S = TypeVar("S", bound=Spec)
BLOCKS: dict[str, type[Block[Any]]] = {}

# A signal long enough for any model; twice as long tells whether the output's length depends on it.
LONG = 2**24


class Block(keras.layers.Layer, Generic[S]):
    """A layer with its variables in `arrays` and its parts as attributes, named as in the spec.

    Arrays are channels last: (batch, time, channels), or (batch, channels) for vectors. All
    variables are made at construction, as zeros.

    A subclass declares its parts as annotations: `conv1: Conv1d`, `norm1: Block[Any] | None` for
    one that a spec may lack, and `blocks: dict[int, TemporalBlock]` for the group of `blocks.0`,
    `blocks.1` and so on. Where the user names the parts, it declares `parts`.

    Attributes:
        path: dotted place in the model, empty for the model itself. Keras's property of that name
            is None for layers without `build`, as all blocks are.
        observer: called with the path and the output after each run.
        resting: frozen as a whole, so that it runs as in evaluation.
        parts: every part by its name in the spec.
    """

    path = ""
    declared: ClassVar[dict[str, Any]] = {}  # part -> annotation

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class for a spec's `kind` and with Keras, and gather its declared parts."""
        super().__init_subclass__()
        own = inspect.get_annotations(cls, eval_str=True)
        cls.declared = cls.declared | own
        for name in own:
            setattr(cls, name, None)  # what a spec lacks; hides Keras's property `output` too
        if kind:
            BLOCKS[kind] = keras.saving.register_keras_serializable(package="tcnzoo")(cls)

    def __init__(self, spec: S, path: str = "", owned: bool = False, **options: Any) -> None:
        """Make room for the parameters of `spec` and build its parts.

        Args:
            spec: what to build.
            path: dotted place in the model, "" for the model itself.
            owned: whether something larger saves this block's variables.
            options: Keras's `dtype`, `name` and `trainable`.
        Raises:
            TypeError: the spec has a part that the class does not declare.
        """
        super().__init__(**options)
        self.spec = spec
        self.path = path
        self.owned = owned
        self.observer: Callable[[str, Tensor], None] | None = None
        self.resting = False
        self.arrays: dict[str, Any] = {}
        for name, param in spec.own_params().items():
            self.arrays[name] = self.add_weight(
                shape=stored_shape(param),
                initializer="zeros",
                trainable=param.trainable,
                name=name,
            )
        with keras.name_scope(self.name):
            self.parts: dict[str, Block[Any]] = {
                name: build(
                    child,
                    f"{path}.{name}" if path else name,
                    owned=True,
                    name=name.replace(".", "-"),  # Keras and torch take no dots in names
                    dtype=self.dtype_policy,
                )
                for name, child in spec.children().items()
            }
        # Past Keras's tracking: `parts` is tracked, and decides the names and order in saved files.
        attributes = self.__dict__
        for name, hint in self.declared.items():
            if get_origin(hint) is dict and name != "parts":
                attributes[name] = {}
        for name, part in self.parts.items() if "parts" not in self.declared else ():
            group, _, index = name.partition(".")
            if group not in self.declared:
                raise TypeError(f"{type(self).__name__} declares no part {group!r}")
            if index:
                attributes[group][int(index)] = part
            else:
                attributes[name] = part
        self.built = True

    def __dir__(self) -> Iterable[str]:
        """Leave out what is in `parts` already: Keras saves what is listed, in this order."""
        return [name for name in super().__dir__() if name == "parts" or name not in self.declared]

    def __call__(self, x: Any, stream: Stream | None = None, **inputs: Any) -> Any:
        """Run the block as any Keras layer, and pass the output to the observer."""
        if stream is not None:
            inputs["stream"] = stream  # Keras takes tensors only by position
        if self.resting and self._call_has_training_arg:
            inputs["training"] = False
        y = super().__call__(x, **inputs)
        if self.observer is not None:
            self.observer(self.path, y)
        return y

    def walk(self) -> Iterator[tuple[str, Block[Any]]]:
        """Yield (dotted path, block) for this block and every part below it."""
        yield self.path, self
        for part in self.parts.values():
            yield from part.walk()

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
        variables = dict(self.named_variables())
        odd = sorted(set(store.keys()) ^ set(variables))
        if odd:
            where = "missing" if odd[0] in variables else "unknown"
            raise WeightError(
                f"the file must hold the {len(variables)} variables of the model, "
                f"but {odd[0]!r} is {where}"
            )
        for name, variable in variables.items():
            variable.assign(store[name])

    def compute_output_shape(self, x_shape: StaticShape) -> Any:
        """Shape of the output; its time is None where that depends on an unknown length.

        Raises:
            InputError: the input does not fit.
        """
        batch, *steps, channels = x_shape
        open_ended = bool(steps) and steps[-1] is None
        lengths = [[*steps[:-1], LONG], [*steps[:-1], 2 * LONG]] if open_ended else [steps, steps]
        shapes = [self.spec.output_shape((channels, *length)) for length in lengths]
        width, *out = [a if a == b else None for a, b in zip(*shapes, strict=True)]
        return (batch, *out, width)

    def get_config(self) -> dict[str, Any]:
        """Keras's configuration, with the spec as a dictionary."""
        return {**super().get_config(), "spec": self.spec.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Block[S]:
        """Build the block that `get_config` described."""
        return cls(**{**config, "spec": parse_spec(config["spec"])})


def build(spec: Spec, path: str = "", owned: bool = False, **options: Any) -> Block[Any]:
    """Build the block for a spec, with the arguments of `Block`.

    Raises:
        SpecError: this backend has no block of its kind.
    """
    return block_class(BLOCKS, spec, "keras")(spec, path, owned, **options)


def maybe(part: Block[Any] | None, x: Tensor, stream: Stream | None = None) -> Tensor:
    """Apply a part that may be None."""
    return x if part is None else part(x, stream)
