"""What a layer of Keras becomes: blocks of ours, and where their tensors lie in a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs.base import PROBE

from ..containers.keras import Variable
from .chain import Layer

# Our order of the axes that a layout of Keras's holds.
NEUTRAL = {"KIO": "OIK", "IO": "OI", "C": "C"}


@dataclass(frozen=True)
class Stored:
    """One of our tensors in a Keras file.

    Attributes:
        variable: where it is.
        layout: the order of its axes there; `KCM` is a depthwise kernel (taps, channels,
            multiplier), `O` the gain of a weight norm.
    """

    variable: Variable
    layout: str


@dataclass(frozen=True)
class Piece:
    """One block that a layer becomes.

    Attributes:
        suffix: what follows the layer's name.
        document: of its spec.
        tensors: name in the block -> where it is.
        fills: name in the block -> the value of all of a tensor that Keras leaves out.
        notes: what the block does otherwise, or what is left out, by field.
        beside: pattern of further tensors of the layer -> why they are dropped.
    """

    suffix: str
    document: dict[str, Any]
    tensors: Mapping[str, Stored] = field(default_factory=dict)
    fills: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)


def stored(layer: Layer, slots: Mapping[str, tuple[str, str]]) -> dict[str, Stored]:
    """Tensors of one group of variables, in the order in which Keras makes them.

    Args:
        layer: whose they are.
        slots: our name -> (Keras's name, layout).
    """
    return {
        name: Stored(Variable(slot, index, layer=layer.names, group=layer.group), layout)
        for index, (name, (slot, layout)) in enumerate(slots.items())
    }


def whole(layer: Layer, key: str) -> int:
    """A whole number in the configuration of a layer, alone or in a list of one."""
    value = layer.config.get(key)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if type(value) is not int or not 0 < value < PROBE:
        raise SpecError(
            f"{key} of layer {layer.name!r} must be a whole number of at least 1, but is {value!r}"
        )
    return value


def pair(layer: Layer, key: str) -> tuple[int, int]:
    """Two whole numbers, left and right."""
    value = layer.config.get(key)
    value = [value, value] if type(value) is int else value
    if isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value):
        return value[0], value[1]
    raise SpecError(f"{key} of layer {layer.name!r} must be two whole numbers, but is {value!r}")


def padding(layer: Layer, stride: int) -> str:
    """Our padding for one of Keras's."""
    name = layer.config.get("padding", "valid")
    if name not in ("valid", "causal", "same"):
        raise SpecError(
            f"padding of layer {layer.name!r} must be valid, causal or same, but is {name!r}"
        )
    return "same_upper" if name == "same" and stride > 1 else str(name)
