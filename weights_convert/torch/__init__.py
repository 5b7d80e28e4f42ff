"""State_dicts of our own torch backend: neutral names and layout, in .pt or .safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import open_safetensors, safetensors_metadata, write_safetensors
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec

from ..containers.detect import kind_of
from ..containers.own import header, mark, read_own, to_stored
from ..containers.pt import arrays_of, pickled_strings, read_pt, state_dict_of, write_pt

NAME = "torch"
DESCRIPTION = "state_dict of the torch backend (.pt under 'state_dict', or .safetensors)"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = False
LAYOUT = {"OIK": "OIK", "OIHW": "OIHW", "IOK": "IOK", "OI": "OI", "C": "C"}


def detect(path: Path) -> bool:
    """Whether the file has our mark of a torch file."""
    kind = kind_of(path)
    if kind in ("pt", "pickle"):
        return mark(NAME) in pickled_strings(path)
    return kind == "safetensors" and safetensors_metadata(path).get("format") == mark(NAME)


def _contents(path: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """The tensors, and what stands beside them."""
    if kind_of(path) == "safetensors":
        return open_safetensors(path)
    document = read_pt(path)
    if isinstance(document, Mapping) and isinstance(document.get("config"), str):
        return arrays_of(path, document.get("state_dict")), document
    return arrays_of(path, document), {}


def tensors(path: Path) -> Tensors:
    """Every tensor of the state_dict."""
    return _contents(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a file of ours, or a plain state_dict whose spec the hints give."""
    arrays, beside = _contents(path)
    return read_own(NAME, path, arrays, beside, hints, LAYOUT)


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write `{"format", "config", "state_dict"}` as .pt, or tensors with that header."""
    stored, beside = to_stored(spec.params(), weights, LAYOUT), header(NAME, spec)
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, stored, beside)
    else:
        write_pt(path, {**beside, "state_dict": state_dict_of(stored)})
    return {}
