"""Weights of our own MLX backend: neutral names, channels last, in .safetensors or .npz.

Both files load as they are with `model.load_weights`: the spec stands in the metadata of the one
and in the archive comment of the other.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import open_safetensors, safetensors_metadata, write_safetensors
from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import LazyTensors, Tensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec

from ..containers.detect import kind_of
from ..containers.npz import npz_comment, open_npz, write_npz
from ..containers.own import header, mark, read_own, to_stored

NAME = "mlx"
DESCRIPTION = "weights of the MLX backend (.safetensors or .npz, channels last)"
SUFFIXES = (".safetensors", ".npz")
FOREIGN = False
LAYOUT = {"OIK": "OKI", "OIHW": "OHWI", "IOK": "OKI", "OI": "OI", "C": "C"}


def detect(path: Path) -> bool:
    """Whether the file has our mark of an MLX file."""
    kind = kind_of(path)
    if kind == "npz":
        return beside_in(npz_comment(path)).get("format") == mark(NAME)
    return kind == "safetensors" and safetensors_metadata(path).get("format") == mark(NAME)


def beside_in(comment: str) -> dict[str, Any]:
    """The header in an archive comment, or nothing where there is another comment or none."""
    try:
        document = json.loads(comment)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def opened(path: Path) -> tuple[LazyTensors, Mapping[str, Any]]:
    """Open a .safetensors or .npz file: its tensors as they are asked for, and the header.

    Raises:
        WeightError: neither of the two, or a broken one.
    """
    kind = kind_of(path)
    if kind == "safetensors":
        return open_safetensors(path)
    if kind != "npz":
        raise WeightError(f"{str(path)!r} is neither .safetensors nor .npz inside")
    arrays, comment = open_npz(path)
    return arrays, beside_in(comment)


def contents(path: Path) -> tuple[Weights, Mapping[str, Any]]:
    """All tensors of such a file at once, those of .safetensors as views of it, and the header."""
    arrays, beside = opened(path)
    return dict(arrays), beside


def tensors(path: Path) -> Tensors:
    """Every tensor, channels last."""
    return opened(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a file of ours, or one written by `model.save_weights` whose spec the hints give."""
    arrays, beside = opened(path)
    return read_own(NAME, path, arrays, beside, hints, LAYOUT)


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write tensors with our header."""
    store(path, to_stored(spec.params(), weights, LAYOUT), header(NAME, spec))
    return {}


def store(path: Path, stored: Tensors, beside: Mapping[str, str]) -> None:
    """Write stored tensors and a header, as .safetensors or .npz by the ending of the name."""
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, stored, beside)
    else:
        write_npz(path, stored, json.dumps(beside))
