"""State_dicts of an `nn.Sequential`, both ways, with a spec given beside them.

Keys are `0.weight`, `1.running_mean` and so on, perhaps behind the name of the attribute that the
`nn.Sequential` is (`features.0.weight`), and nested ones have several numbers. They say nothing of
strides, activations and pools, so the model comes as a spec: its layers with parameters, in order,
are those of the file. Beside a file that is written stands a .yaml of its name with the module of
torch at each place, and with the spec: `--set spec=FILE.yaml` reads it back.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import (
    open_safetensors,
    read_config,
    safetensors_metadata,
    write_safetensors,
)
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.atomic import replacing_pair
from tcnzoo.files.lazy import Tensors, facts_of, picked
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights
from tcnzoo.zoo.catalog import load_spec

from ..containers.detect import kind_of
from ..containers.own import check_mark, header, mark
from ..containers.pt import pickled_strings, state_dict_of, write_pt
from ..containers.state_dicts import open_state_dict
from ..hints import parse_hints
from .groups import COUNTER, Group, groups_in, prefixes_in
from .modules import Module, modules_of

NAME = "torch-sequential"
DESCRIPTION = (
    "state_dict of an nn.Sequential (.pt, .safetensors) and its spec; modules as .yaml beside"
)
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
HINTS = ("spec", "prefix")
OURS = "tcnzoo-"


def detect(path: Path) -> bool:
    """Whether all names in a .pt or .safetensors file are those of one `nn.Sequential`."""
    kind = kind_of(path)
    if kind == "pt":
        names = pickled_strings(path)
        marks = {name for name in names if name.startswith(OURS)}
        return marks == {mark(NAME)} or (not marks and len(prefixes_in(names)) == 1)
    if kind != "safetensors":
        return False
    said = safetensors_metadata(path).get("format", "")
    found = prefixes_in(open_safetensors(path)[0])
    # MLX names the places of its own Sequential `layers.0`, with the axes in another order.
    other = any(prefix.rpartition(".")[2] == "layers" for prefix in found)
    return said == mark(NAME) or (not said.startswith(OURS) and len(found) == 1 and not other)


def _contents(path: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """The tensors, those of a .safetensors file not yet read, and the notes beside them."""
    return open_safetensors(path) if kind_of(path) == "safetensors" else open_state_dict(path)


def tensors(path: Path) -> Tensors:
    """Every tensor of the file."""
    return _contents(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict whose spec is given as the hint `spec`, or that we wrote.

    The hint `prefix` names the attributes that are the net, in order, where there are several or
    other tensors beside them: `--set prefix=features,classifier`.

    Raises:
        Undetermined: no spec, or several prefixes.
        InputError: a spec in the hints that is not the file's, or a prefix that is not in it.
        WeightError: tensors that do not fit the spec.
        SpecError: a spec that is no chain of torch's layers.
    """
    held, notes = _contents(path)
    check_mark(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    groups, outside = groups_in(path, facts_of(held), given)
    spec = _spec(path, notes, given, groups)
    names = _matched(path, groups, [one for one in modules_of(spec) if one.params])
    weights = picked(held, {neutral: name for name, neutral in names.items()})
    check_weights(spec.params(), weights)
    counters = {
        name: "a counter that no output depends on" for one in groups for name in one.counters
    }
    return Converted(spec, weights, names, {**counters, **outside})


def _spec(
    path: Path, notes: Mapping[str, Any], given: Mapping[str, Any], groups: list[Group]
) -> Spec:
    """The spec of a file of our own making, or the caller's."""
    asked = load_spec(given["spec"]) if given.get("spec") is not None else None
    if notes.get("format") == mark(NAME):
        found = read_config(str(notes.get("config")), f"the configuration in {str(path)!r}")
        if asked is not None and asked != found:
            raise InputError(
                f"the spec that was given is not the one in {str(path)!r}; leave it out"
            )
        return found
    if asked is None:
        raise Undetermined(
            f"{str(path)!r} holds {len(groups)} layers of an nn.Sequential and does not determine "
            "their strides, activations and pools; give the spec: --set spec=NAME_OR_FILE",
            {one.place: one.guess for one in groups},
        )
    return asked


def _matched(path: Path, groups: list[Group], modules: list[Module]) -> dict[str, str]:
    """Tensors of a file -> neutral ones, layer by layer in order."""
    names: dict[str, str] = {}
    for group, module in zip(groups, modules, strict=False):
        if group.names.keys() != module.params.keys():
            raise WeightError(
                f"{group.place!r} of {str(path)!r} has {', '.join(group.names)}, but the next "
                f"layer of the spec, {module.text}, has {', '.join(module.params)}"
            )
        names |= {name: module.params[ours] for ours, name in group.names.items()}
    if len(groups) != len(modules):
        raise WeightError(
            f"{str(path)!r} holds {len(groups)} layers with tensors "
            f"({', '.join(one.guess for one in groups)}), but the spec has {len(modules)}"
        )
    return names


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that the modules of the .yaml beside it load strictly.

    Raises:
        SpecError: a model that is no chain of torch's layers.
        InputError: the .yaml is there and is not one of ours.
    """
    modules = modules_of(spec)
    held: dict[str, Array] = {}
    for place, module in enumerate(modules):
        held |= {f"{place}.{name}": weights[neutral] for name, neutral in module.params.items()}
        if "running_var" in module.params:
            held[f"{place}.{COUNTER}"] = np.zeros((), np.int64)
    with _described(path, spec, modules) as temporary:
        if path.suffix.lower() == ".safetensors":
            write_safetensors(temporary, held, header(NAME, spec))
        else:
            write_pt(temporary, state_dict_of(held, header(NAME, spec)))
    return {}


@contextlib.contextmanager
def _described(path: Path, spec: Spec, modules: list[Module]) -> Iterator[Path]:
    """Write the modules and the spec beside a file that the block writes; both or neither."""
    beside = path.with_suffix(".yaml")
    _check_beside(beside)
    document = {
        "modules": {place: module.text for place, module in enumerate(modules)},
        "spec": spec.model_dump(mode="json"),
    }
    with replacing_pair(path, beside) as (temporary, description):
        description.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        yield temporary


def _check_beside(path: Path) -> None:
    """Refuse to replace a .yaml that is not one of ours."""
    if not path.exists():
        return
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict) or not {"modules", "spec"} <= found.keys():
        raise InputError(
            f"{str(path)!r}, where the modules would be described, exists already and holds "
            "something else; choose another name"
        )
