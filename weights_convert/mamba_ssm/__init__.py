"""State_dicts of mamba_ssm's `Mamba2`, both ways.

A mamba2 has the names and shapes of that module, so nothing is renamed and nothing is permuted.

Source: names and shapes of https://github.com/state-spaces/mamba (Apache-2.0), `Mamba2`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import read_config, read_safetensors, write_safetensors
from tcnzoo.errors import SpecError, WeightError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Mamba2Spec, Spec

from ..containers.detect import kind_of
from ..containers.own import check_mark, header, mark, to_stored
from ..containers.pt import pickled_strings, state_dict_of, write_pt
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..torch import LAYOUT
from .spec import DEFAULTS_OF_NORM, FIELDS, agreeing, completed, facts_of, obstacles

NAME = "mamba-ssm"
DESCRIPTION = "state_dict of mamba_ssm's Mamba2 (.pt or .safetensors)"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
HINTS = (*FIELDS, PREFIX)

# A tensor that every such module has, and what stands before it where it is part of a model.
ROOT = re.compile(r"(.*\.|)A_log$")
# Models that are made of such modules, and that other formats read as a whole.
_DETECTOR = re.compile(r"(?:^|\.)layers\.\d+\.forward_mamba_(?:real|fallback)\.")
_EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.weight$")


def names_in(path: Path) -> tuple[str, set[str]]:
    """The mark that a file of ours has, and the names of its tensors; nothing is run.

    Raises:
        WeightError: a file that is cut short or unsafe.
    """
    kind = kind_of(path)
    if kind == "pt":
        names = pickled_strings(path)
        return next((name for name in sorted(names) if name.startswith(mark(""))), ""), names
    if kind == "safetensors":
        tensors, metadata = read_safetensors(path)
        return metadata.get("format", ""), set(tensors)
    return "", set()


def holds_mamba(names: Iterable[str]) -> bool:
    """Whether the tensors of a Mamba-2 are among some names."""
    known = set(names)
    roots = {match[1] for name in known if (match := ROOT.match(name))}
    return any({root + "dt_bias", root + "in_proj.weight"} <= known for root in roots)


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of a Mamba2, or of several."""
    said, names = names_in(path)
    if said.startswith("tcnzoo"):
        return said == mark(NAME)
    others = any(_DETECTOR.search(name) or _EMBEDDINGS.search(name) for name in names)
    return holds_mamba(names) and not others


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict: the spec from its shapes, and from the hints what they leave open.

    The module may be part of a larger model, whose other tensors are dropped. A file of our own
    making needs no hints.

    Raises:
        Undetermined: several such modules, or hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no state_dict of this module.
    """
    held, notes = open_state_dict(path)
    check_mark(NAME, path, notes)
    given = check_hints(NAME, hints, HINTS)
    found = net_in(path, held, ROOT, given)
    fields = {name: value for name, value in given.items() if name != PREFIX}
    config = notes.get("config")
    if notes.get("format") == mark(NAME) and isinstance(config, str):
        written = the_mamba(NAME, read_config(config, f"the configuration in {str(path)!r}"))
        return sort_mamba(path, found, agreeing(path, written.model_dump(mode="json"), fields), {})
    shapes = {name: tuple(array.shape) for name, array in found.tensors.items()}
    try:
        spec, assumed = completed(path, facts_of(path, shapes, found.prefix), fields)
    except Undetermined as question:
        question.used = {found.prefix + name: name for name in found.tensors}
        raise
    return sort_mamba(path, found, spec, assumed)


def sort_mamba(path: Path, net: Net, spec: Mamba2Spec, assumed: Mapping[str, Any]) -> Converted:
    """Take each tensor of a module, which all have their neutral names.

    Raises:
        WeightError: a tensor that belongs nowhere, a missing one, or a shape that differs.
    """
    if "init_states" in net.tensors:
        raise WeightError(
            f"{str(path)!r} begins with states that were learnt, "
            f"{net.prefix + 'init_states'!r}, which a mamba2 has not"
        )
    return sorted_out(path, net, spec, assumed, lambda name: name, lambda name: None, LAYOUT)


def the_mamba(project: str, spec: Spec) -> Mamba2Spec:
    """The spec as a single mamba2.

    Raises:
        SpecError: another model.
    """
    if isinstance(spec, Mamba2Spec):
        return spec
    raise SpecError(f"{project} holds a single model of kind 'mamba2', but this is a {spec.kind}")


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that a `Mamba2` of these sizes loads strictly.

    Raises:
        SpecError: a model that a `Mamba2` cannot be.
    """
    mamba = the_mamba(NAME, spec)
    against = list(obstacles(mamba))
    eps = DEFAULTS_OF_NORM["norm_eps"]
    if mamba.rms_norm and mamba.norm_eps != eps:
        against.append(f"norm_eps must be {eps:g}, but is {mamba.norm_eps:g}")
    if against:
        raise SpecError(f"{NAME} cannot hold this model: {'; '.join(against)}")
    stored, beside = to_stored(mamba.params(), weights, LAYOUT), header(NAME, mamba)
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, stored, beside)
    else:
        write_pt(path, state_dict_of(stored, beside))
    return {}
