"""A chain of Keras layers as one spec, and where every tensor is in the file that it comes from."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.files.lazy import Facts, LazyTensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import FlattenSpec, Shape, Spec
from tcnzoo.specs.base import PROBE
from tcnzoo.specs.params import Param, check_weights, permute
from tcnzoo.specs.sequential import RESERVED
from tcnzoo.zoo.parse import parse_spec

from ..containers.keras import KerasFile, dropped_reason
from .chain import Chain, Layer
from .layers import pieces_of
from .pieces import NEUTRAL, Piece, Stored


@dataclass(frozen=True)
class Plan:
    """What a file becomes, before any of its tensors is read.

    Attributes:
        spec: of the model.
        tensors: neutral name -> where it is.
        fills: neutral name -> the value of all of a tensor that the file leaves out.
        assumed: as in Converted.
        beside: pattern of further tensors -> why they are dropped.
    """

    spec: Spec
    tensors: Mapping[str, Stored]
    fills: Mapping[str, float]
    assumed: Mapping[str, Any]
    beside: Mapping[str, str]

    def renamed(self, document: Mapping[str, Any], names: Mapping[str, str]) -> "Plan":
        """The same tensors in another spec, whose layers stand for these."""

        def new(name: str) -> str:
            layer, _, rest = name.partition(".")
            return f"{names[layer]}.{rest}" if rest else names.get(layer, layer)

        return Plan(
            parse_spec(document),
            {new(name): variable for name, variable in self.tensors.items()},
            {new(name): value for name, value in self.fills.items()},
            {new(name): value for name, value in self.assumed.items()},
            self.beside,
        )


def plan_of(chain: Chain, pieces: Callable[[Layer, Shape], Iterator[Piece]] = pieces_of) -> Plan:
    """Plan a chain.

    Args:
        chain: layers and the shape of the input.
        pieces: what a layer becomes.
    Raises:
        SpecError: a layer that has no counterpart, or layers that do not fit.
    """
    shape = _input_shape(chain)
    layers: dict[str, Spec] = {}
    tensors: dict[str, Stored] = {}
    fills: dict[str, float] = {}
    assumed: dict[str, Any] = {}
    beside: dict[str, str] = {}
    for layer in chain.layers:
        for piece in pieces(layer, shape):
            name = _name(layer.name + piece.suffix, layers)
            layers[name] = parse_spec(piece.document)
            shape = _after(layer, layers[name], shape, None in chain.input_shape)
            tensors |= {f"{name}.{part}": variable for part, variable in piece.tensors.items()}
            fills |= {f"{name}.{part}": value for part, value in piece.fills.items()}
            assumed |= {f"{name}.{part}": note for part, note in piece.notes.items()}
            beside |= piece.beside
    if not layers:
        raise SpecError("a Keras model must have a layer, but this one has none")
    document = {name: spec.model_dump(mode="json") for name, spec in layers.items()}
    spec = parse_spec({"kind": "sequential", "layers": document})
    return Plan(spec, tensors, fills, {**fills, **assumed}, beside)


def _input_shape(chain: Chain) -> Shape:
    """(channels, time) with some time where the model takes any, or (features,)."""
    *time, width = chain.input_shape
    if width is None:
        raise SpecError("a Keras model must have an input of known width")
    return (width, *(PROBE if steps is None else steps for steps in time))


def _after(layer: Layer, spec: Spec, shape: Shape, open_length: bool) -> Shape:
    """Shape after a block; one that flattens settles a length that the input leaves open."""
    if open_length and isinstance(spec, FlattenSpec):
        return (shape[0] * spec.length,)
    try:
        return spec.output_shape(shape)
    except InputError as error:
        raise SpecError(f"layer {layer.name!r}: {error}") from None


def _name(name: str, taken: Mapping[str, Any]) -> str:
    """A layer's name as near to Keras's as ours may be, and no other layer's."""
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    plain = plain if re.match("[a-z]", plain) else f"layer_{plain}".replace("__", "_")
    plain = f"{plain}_layer" if plain in RESERVED else plain
    free, number = plain, 2
    while free in taken:
        free, number = f"{plain}_{number}", number + 1
    return free


def converted(file: KerasFile, plan: Plan) -> Converted:
    """Carry a plan out: every tensor of the file is used, or dropped for a reason.

    Raises:
        WeightError: a tensor that is missing, of another shape, or of no layer.
    """
    paths = {name: file.path_of(stored.variable) for name, stored in plan.tensors.items()}
    used = {path: name for name, path in paths.items()}
    twice = next((name for name, path in paths.items() if used[path] != name), None)
    if twice is not None:
        raise WeightError(
            f"{paths[twice]!r} of {str(file.path)!r} would be both {twice!r} and "
            f"{used[paths[twice]]!r}"
        )
    table, stored = plan.spec.params(), file.tensors.facts
    facts = {
        name: Facts(_shape(path, stored[path].shape, plan.tensors[name].layout), stored[path].dtype)
        for name, path in paths.items()
    }
    common = next(iter(facts.values())).dtype if facts else np.dtype(np.float32)
    _check_fills(file, plan, table)
    facts |= {name: Facts(table[name].shape, common) for name in plan.fills}
    check_weights(table, LazyTensors(facts, lambda name: np.empty(0)))

    def read(name: str) -> Array:
        if name in plan.fills:
            return np.full(table[name].shape, plan.fills[name], common)
        return _neutral(file.tensors[paths[name]], plan.tensors[name].layout)

    dropped = {path: _dropped(file, path, plan.beside) for path in stored if path not in used}
    weights = LazyTensors({name: facts[name] for name in table}, read)
    return Converted(plan.spec, weights, used, dropped, plan.assumed)


def _check_fills(file: KerasFile, plan: Plan, table: Mapping[str, Param]) -> None:
    """Refuse norms without tensors that claim more channels than the file has bytes."""
    claimed = sum(table[name].size for name in plan.fills)
    if claimed > file.path.stat().st_size:
        raise WeightError(
            f"{str(file.path)!r} claims norms of {claimed} channels, more than it has bytes"
        )


def _dropped(file: KerasFile, path: str, beside: Mapping[str, str]) -> str:
    """Why a tensor is left out."""
    ours = (why for pattern, why in beside.items() if re.fullmatch(pattern, path))
    reason = next(ours, dropped_reason(path))
    if reason is None:
        raise WeightError(f"tensor {path!r} of {str(file.path)!r} is no part of the model")
    return reason


def _shape(path: str, shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Shape of a tensor of the file in neutral layout."""
    if len(shape) != len(layout):
        raise WeightError(f"{path!r} must have axes {layout}, but has shape {shape}")
    sizes = dict(zip(layout, shape, strict=True))
    if layout == "KCM":
        return sizes["C"] * sizes["M"], 1, sizes["K"]
    return (*shape, 1, 1) if layout == "O" else tuple(sizes[axis] for axis in NEUTRAL[layout])


def _neutral(array: Array, layout: str) -> Array:
    """A tensor of the file in neutral layout."""
    if layout == "KCM":
        taps, channels, multiplier = array.shape
        return array.transpose(1, 2, 0).reshape(channels * multiplier, 1, taps)
    if layout == "O":
        return array.reshape(-1, 1, 1)
    return permute(array, layout, NEUTRAL[layout])
