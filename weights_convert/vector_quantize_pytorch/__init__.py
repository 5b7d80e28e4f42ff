"""State_dicts of vector-quantize-pytorch's `VectorQuantize` and `ResidualVQ`, both ways.

A codebook is `_codebook.embed` (1, K, channels) with `embed_avg`, `cluster_size` (1, K) and the
flag `initted`; the levels of a ResidualVQ stand under `layers.0`, `layers.1`, ... The file does not
say how it was trained, nor how codes are searched for (heads, beams), so that is assumed as the
library's defaults have it, unless hints say else.

Source: names and shapes of https://github.com/lucidrains/vector-quantize-pytorch (MIT).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import write_safetensors
from tcnzoo.errors import SpecError, WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.inference.codebook import unit
from tcnzoo.specs import ResidualVqSpec, Spec, VectorQuantizerSpec

from ..containers.own import check_mark, header, mark
from ..containers.pt import state_dict_of, write_pt
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..mamba_ssm import names_in
from ..torch import LAYOUT
from .spec import FIELDS, ONE_LENGTH, length_errors, spec_of, written_spec

NAME = "vector-quantize-pytorch"
DESCRIPTION = "state_dict of vector-quantize-pytorch's VectorQuantize or ResidualVQ"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
HINTS = (*FIELDS, PREFIX)

# Ours beside the library's, in the library's order.
NAMES = {
    "initted": "initialised",
    "cluster_size": "cluster_size",
    "embed_avg": "embed_avg",
    "embed": "codebook",
}
# A tensor that every quantiser has, and what stands before the whole of one.
ROOT = re.compile(r"((?:.+?\.)??)(?:layers\.\d+\.)?_codebook\.embed$")
# The same for a quantiser that is picked from a list by the hint `prefix`.
ONE = re.compile(r"((?:.+\.)?)_codebook\.embed$")
_OF_LIST = re.compile(r"(?:^|\.)layers\.\d+\.?$")
_TENSOR = re.compile(r"(?:layers\.(\d+)\.)?_codebook\.(\w+)$")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a codebook."""
    said, names = names_in(path)
    if said.startswith("tcnzoo"):
        return said == mark(NAME)
    roots = {name.removesuffix("embed") for name in names if name.endswith("_codebook.embed")}
    return any(root + "cluster_size" in names for root in roots)


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
    held, notes = open_state_dict(path)
    check_mark(NAME, path, notes)
    given = check_hints(NAME, hints, HINTS)
    picked = _OF_LIST.search(str(given.get(PREFIX, "")))
    net = net_in(path, held, ONE if picked else ROOT, given)
    fields = {name: value for name, value in given.items() if name != PREFIX}
    codebooks = _codebooks(net)
    if notes.get("format") == mark(NAME) and isinstance(notes.get("config"), str):
        spec = written_spec(path, notes["config"], fields)
        assumed: dict[str, Any] = {}
    else:
        spec, assumed = spec_of(path, codebooks, fields)
    plain = {name: _plain(path, name, one) for name, one in net.tensors.items()}
    return sorted_out(
        path, replace(net, tensors=plain), spec, assumed, _neutral, _reasons(spec), LAYOUT
    )


def _codebooks(net: Net) -> dict[int | None, dict[str, Array]]:
    """The tensors of each codebook by its level, None where there are no levels."""
    found: dict[int | None, dict[str, Array]] = {}
    for name, array in net.tensors.items():
        match = _TENSOR.match(name)
        if match:
            level = None if match[1] is None else int(match[1])
            found.setdefault(level, {})[match[2]] = array
    return found


def _plain(path: Path, name: str, array: Array) -> Array:
    """A tensor without the axis of heads, and the flag as a number.

    Raises:
        WeightError: neither a flag of one number nor a tensor with one head.
    """
    match = _TENSOR.match(name)
    if match is None or match[2] not in NAMES:
        return array
    flag = match[2] == "initted"
    if (flag and array.shape not in ((), (1,))) or (not flag and array.shape[:1] != (1,)):
        raise WeightError(
            f"{name!r} of {str(path)!r} must {'be one number' if flag else 'start with one head'}, "
            f"but has shape {array.shape}"
        )
    return array.reshape(1).astype(np.float32) if flag else array[0]


def _neutral(name: str) -> str:
    """The neutral name of a tensor; that of another tensor as it is."""
    match = _TENSOR.match(name)
    if match is None or match[2] not in NAMES:
        return name
    return ("" if match[1] is None else f"levels.{match[1]}.") + NAMES[match[2]]


def _reasons(spec: Spec) -> Any:
    """Why a tensor without a row in the spec's table may be left out; None where it may not."""
    shared = isinstance(spec, ResidualVqSpec) and spec.shared

    def reason(name: str) -> str | None:
        match = _TENSOR.match(name)
        if match is None or match[2] not in NAMES:
            return None
        if shared and int(match[1]) > 0:
            return "the same as of level 0, for all levels share one codebook"
        if match[2] == "initted":
            return "it only says that the codes have been initialised"
        return "of exponential averages, which a codebook trained by gradients has not"

    return reason


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that a module of these sizes loads strictly.

    The library uses the codes of a cosine codebook as they are, so these are written at length 1.

    Raises:
        SpecError: a model that the library cannot hold.
    """
    stored: dict[str, Array] = {}
    for place, source, part in _places(spec):
        for theirs, array in _stored(part, source, weights).items():
            stored[f"{place}_codebook.{theirs}"] = array
    beside = header(NAME, spec)
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, stored, beside)
    else:
        write_pt(path, state_dict_of(stored, beside))
    return {}


def _places(spec: Spec) -> list[tuple[str, str, VectorQuantizerSpec]]:
    """(their prefix, ours, spec) of each codebook, as often as the library holds it."""
    if isinstance(spec, VectorQuantizerSpec):
        parts = [("", "", spec)]
    elif isinstance(spec, ResidualVqSpec):
        parts = [
            (f"layers.{level}.", f"levels.{0 if spec.shared else level}.", spec.quantizer)
            for level in range(spec.levels)
        ]
    else:
        raise SpecError(
            f"{NAME} holds a single model of kind 'vector_quantizer' or 'residual_vq', but this is "
            f"a {spec.kind}"
        )
    if parts[0][2].cosine and parts[0][2].update == "gradient":
        raise SpecError(f"{NAME} has no cosine codebook that gradients train")
    return parts


def _stored(spec: VectorQuantizerSpec, source: str, weights: Weights) -> dict[str, Array]:
    """One codebook as the library names and shapes it."""
    codes = weights[source + "codebook"]
    if spec.cosine and length_errors(codes) > ONE_LENGTH:
        codes = unit(codes.astype(np.float64)).astype(codes.dtype)
    if spec.update == "ema":
        size, average = weights[source + "cluster_size"], weights[source + "embed_avg"]
    else:
        size, average = np.ones(spec.codes, codes.dtype), codes
    done = not spec.kmeans_iterations or bool(weights[source + "initialised"][0] > 0.5)
    found = {"initted": np.array(done), "cluster_size": size, "embed_avg": average, "embed": codes}
    return {name: one if name == "initted" else one[None] for name, one in found.items()}
