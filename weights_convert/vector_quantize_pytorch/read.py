"""How a codebook of vector-quantize-pytorch is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import ResidualVqSpec, Spec

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..torch import LAYOUT
from .detect import NAME
from .names import NAMES, OF_LIST, ONE, ROOT, TENSOR, neutral_name
from .spec import FIELDS, check_quantizer_hints, quantizer_from_codebooks

HINTS = (*FIELDS, PREFIX)


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict: sizes from its shapes, the rest from the hints or the library's defaults.

    The quantiser may be part of a larger model, whose other tensors are dropped. A file of our own
    making needs no hints.

    Raises:
        Undetermined: several quantisers, or codes of length 1 without the hint `cosine`.
        InputError: a hint that is unknown or contradicts the file.
        SpecError: options without a counterpart: several heads, beams, shrunken cosine codes.
        WeightError: no such state_dict, or one with several codebooks or with projections.
    """
    arrays, notes = open_state_dict(path)
    embedded = embedded_spec(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    picked = OF_LIST.search(str(given.get(PREFIX, "")))
    net = net_in(path, arrays, ONE if picked else ROOT, given)
    fields = {name: value for name, value in given.items() if name != PREFIX}
    codebooks = _codebooks(net)
    assumed: Mapping[str, Any] = {}
    if embedded is not None:
        spec = check_quantizer_hints(path, embedded, fields)
    else:
        spec, assumed = quantizer_from_codebooks(path, codebooks, fields)
    plain = {name: _plain(path, name, array) for name, array in net.tensors.items()}
    return assign_tensors(
        path, replace(net, tensors=plain), spec, assumed, neutral_name, _reasons(spec), LAYOUT
    )


def _codebooks(net: Net) -> dict[int | None, dict[str, Array]]:
    """The tensors of each codebook by its level, None where there are no levels."""
    codebooks: dict[int | None, dict[str, Array]] = {}
    for name, array in net.tensors.items():
        match = TENSOR.match(name)
        if match:
            level = None if match[1] is None else int(match[1])
            codebooks.setdefault(level, {})[match[2]] = array
    return codebooks


def _plain(path: Path, name: str, array: Array) -> Array:
    """A tensor without the axis of heads, and the flag as a number.

    Raises:
        WeightError: neither a flag of one number nor a tensor with one head.
    """
    match = TENSOR.match(name)
    if match is None or match[2] not in NAMES:
        return array
    flag = match[2] == "initted"
    if (flag and array.shape not in ((), (1,))) or (not flag and array.shape[:1] != (1,)):
        raise WeightError(
            f"{name!r} of {str(path)!r} must {'be one number' if flag else 'start with one head'}, "
            f"but has shape {array.shape}"
        )
    return array.reshape(1).astype(np.float32) if flag else array[0]


def _reasons(spec: Spec) -> Any:
    """Why a tensor without a row in the spec's table may be left out; None where it may not."""
    shared = isinstance(spec, ResidualVqSpec) and spec.shared

    def reason(name: str) -> str | None:
        match = TENSOR.match(name)
        if match is None or match[2] not in NAMES:
            return None
        if shared and int(match[1]) > 0:
            return "the same as of level 0, for all levels share one codebook"
        if match[2] == "initted":
            return "it only says that the codes have been initialised"
        return "of exponential averages, which a codebook trained by gradients has not"

    return reason
