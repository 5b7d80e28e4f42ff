"""How a state_dict of an `nn.Sequential` is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import (
    open_safetensors,
    read_config,
)
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Tensors, facts_of, picked
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights
from tcnzoo.zoo.catalog import load_spec

from ..containers.detect import kind_of
from ..containers.own import check_mark, mark
from ..containers.state_dicts import open_state_dict
from ..hints import parse_hints
from .detect import NAME
from .groups import Group, groups_in
from .modules import Module, modules_of

HINTS = ("spec", "prefix")


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
    arrays, notes = _contents(path)
    check_mark(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    groups, outside = groups_in(path, facts_of(arrays), given)
    spec = _spec(path, notes, given, groups)
    names = _matched(path, groups, [module for module in modules_of(spec) if module.params])
    weights = picked(arrays, {neutral: name for name, neutral in names.items()})
    check_weights(spec.params(), weights)
    counters = {
        name: "a counter that no output depends on" for group in groups for name in group.counters
    }
    return Converted(spec, weights, names, {**counters, **outside})


def _spec(
    path: Path, notes: Mapping[str, Any], given: Mapping[str, Any], groups: list[Group]
) -> Spec:
    """The spec of a file of our own making, or the caller's."""
    asked = load_spec(given["spec"]) if given.get("spec") is not None else None
    if notes.get("format") == mark(NAME):
        embedded = read_config(str(notes.get("config")), f"the configuration in {str(path)!r}")
        if asked is not None and asked != embedded:
            raise InputError(
                f"the spec that was given is not the one in {str(path)!r}; leave it out"
            )
        return embedded
    if asked is None:
        raise Undetermined(
            f"{str(path)!r} holds {len(groups)} layers of an nn.Sequential and does not determine "
            "their strides, activations and pools; give the spec: --set spec=NAME_OR_FILE",
            {group.prefix: group.guess for group in groups},
        )
    return asked


def _matched(path: Path, groups: list[Group], modules: list[Module]) -> dict[str, str]:
    """Tensors of a file -> neutral ones, layer by layer in order."""
    names: dict[str, str] = {}
    for group, module in zip(groups, modules, strict=False):
        if group.names.keys() != module.params.keys():
            raise WeightError(
                f"{group.prefix!r} of {str(path)!r} has {', '.join(group.names)}, but the next "
                f"layer of the spec, {module.text}, has {', '.join(module.params)}"
            )
        names |= {name: module.params[ours] for ours, name in group.names.items()}
    if len(groups) != len(modules):
        raise WeightError(
            f"{str(path)!r} holds {len(groups)} layers with tensors "
            f"({', '.join(group.guess for group in groups)}), but the spec has {len(modules)}"
        )
    return names
