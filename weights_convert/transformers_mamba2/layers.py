"""The layers of a stack in a file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError, WeightError

from ..containers.state_dicts import Net

_MIXER = re.compile(r"layers\.([0-9]{1,9})\.mixer\.(.+)")


def one_layer(path: Path, net: Net, wanted: Any) -> Net:
    """The mixer of one layer; all else stands beside it."""
    layers = layers_of(net)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 <= wanted < len(layers):
        raise InputError(
            f"layer must be one of 0 to {len(layers) - 1} in {str(path)!r}, but is {wanted!r}"
        )
    before = f"layers.{wanted}.mixer."
    reason = f"outside of layer {wanted}, which alone is converted"
    beside = {net.prefix + name: reason for name in net.tensors if not name.startswith(before)}
    return Net(layers[wanted], net.prefix + before, {**net.beside, **beside})


def layers_of(net: Net) -> list[Weights]:
    """The tensors of each mixer of a stack; empty for a lone mixer.

    Raises:
        WeightError: a layer is not there.
    """
    layers: dict[int, Weights] = {}
    for name, array in net.tensors.items():
        match = _MIXER.fullmatch(name)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = array
    if sorted(layers) != list(range(len(layers))):
        raise WeightError(
            f"the layers of a stack are numbered from 0, but these are {_few(layers)}"
        )
    return [layers[number] for number in range(len(layers))]


def _few(layers: Iterable[int]) -> str:
    """The first of some numbers, for a sentence."""
    first = sorted(layers)
    return ", ".join(map(str, first[:5])) + (", ..." if len(first) > 5 else "")
