"""Weights of our own MLX backend: neutral names, channels last, in .safetensors or .npz.

Both files load as they are with `model.load_weights`: the spec stands in the metadata of the one
and in the archive comment of the other.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoint import read_safetensors, safetensors_metadata, write_safetensors
from tcnzoo.converted import Converted
from tcnzoo.errors import WeightError
from tcnzoo.params import Weights
from tcnzoo.specs import Spec

from .container import kind_of
from .container_npz import npz_comment, read_npz, write_npz
from .own import header, mark, read_own, to_stored

NAME = "mlx"
DESCRIPTION = "weights of the MLX backend (.safetensors or .npz, channels last)"
SUFFIXES = (".safetensors", ".npz")
FOREIGN = False
LAYOUT = {"OIK": "OKI", "IOK": "OKI", "OI": "OI", "C": "C"}


def detect(path: Path) -> bool:
    """Whether the file has our mark of an MLX file."""
    kind = kind_of(path)
    if kind == "npz":
        return _beside(npz_comment(path)).get("format") == mark(NAME)
    return kind == "safetensors" and safetensors_metadata(path).get("format") == mark(NAME)


def _beside(comment: str) -> dict[str, Any]:
    """The header in an archive comment, or nothing where there is another comment or none."""
    try:
        found = json.loads(comment)
    except (json.JSONDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _contents(path: Path) -> tuple[Weights, Mapping[str, Any]]:
    """The tensors, and what stands beside them."""
    kind = kind_of(path)
    if kind == "safetensors":
        return read_safetensors(path)
    if kind != "npz":
        raise WeightError(f"{str(path)!r} is neither .safetensors nor .npz inside")
    held, comment = read_npz(path)
    return held, _beside(comment)


def tensors(path: Path) -> Weights:
    """Every tensor, channels last."""
    return _contents(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a file of ours, or one written by `model.save_weights` whose spec the hints give."""
    held, beside = _contents(path)
    return read_own(NAME, path, held, beside, hints, LAYOUT)


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write tensors with our header."""
    stored, beside = to_stored(spec.params(), weights, LAYOUT), header(NAME, spec)
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, stored, beside)
    else:
        write_npz(path, stored, json.dumps(beside))
    return {}
