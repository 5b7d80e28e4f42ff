"""How a checkpoint of brain-go-brr-v2 is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import InputError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import check_mark, mark
from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..torch import LAYOUT
from .detect import NAME, ROOT
from .facts import DEFAULTS, DEFAULTS_OF_TCN, document_of, is_tcn
from .names import current_name, names_of, reason_to_drop

FIELDS = (*DEFAULTS, *DEFAULTS_OF_TCN)
VERSION = "version"
# From 3.0.0 on the decoded signal is clamped at 40, from 3.1.1 on input and Mamba-2 at 10 and 5.
CLAMPING, CLAMPING_ALL = (3, 0, 0), (3, 1, 1)


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict, alone or in a checkpoint of training.

    Raises:
        Undetermined: several detectors in one file, or a TCN whose version nobody has told.
        InputError: a hint that is unknown.
        WeightError: no such detector, or one without Mamba-2.
    """
    arrays, notes = open_state_dict(path)
    check_mark(NAME, path, notes)
    given = parse_hints(NAME, hints, (*FIELDS, PREFIX, VERSION))
    net = net_in(path, arrays, ROOT, given)
    shapes = {current_name(name): tuple(array.shape) for name, array in net.tensors.items()}
    defaults = {**DEFAULTS, **(DEFAULTS_OF_TCN if is_tcn(shapes) else {})}
    fields = {**defaults, **{name: given[name] for name in FIELDS if name in given}}
    spec = parse_spec(document_of(path, shapes, fields))
    assumed = {name: value for name, value in defaults.items() if name not in given}
    converted = _assign(path, net, spec, assumed)
    if is_tcn(shapes) and notes.get("format") != mark(NAME):
        left_out = _version(path, given.get(VERSION))
        converted = replace(converted, assumed={**left_out, **converted.assumed})
    return converted


def _version(path: Path, given: Any) -> dict[str, str]:
    """What is left out of a TCN detector of some version, for the report.

    Raises:
        Undetermined: no version.
        InputError: no such version, or one that clamps what goes into its blocks.
    """
    if given is None:
        raise Undetermined(
            f"{str(path)!r} does not say of which version of brain-go-brr-v2 it is, and later ones "
            "clamp their signals; give it: --set version=2.3, or the release's own number"
        )
    numbers = str(given).removeprefix("v").split(".")
    if not all(number.isdecimal() for number in numbers) or not 1 <= len(numbers) <= 3:
        raise InputError(f"hint 'version' must be a number such as 2.3 or 3.0.1, but is {given!r}")
    version = (*map(int, numbers), 0, 0)[:3]
    if version >= CLAMPING_ALL:
        raise InputError(
            f"version {given} of brain-go-brr-v2 clamps its input at 10 and the signals of Mamba-2 "
            "at 10 and 5, which no block here does; with version=3.1.0 the weights are read "
            "without these clamps"
        )
    if version >= CLAMPING:
        return {"clamp": f"none, where version {given} keeps the decoded signal within 40"}
    return {}


def _assign(path: Path, net: Net, spec: Spec, assumed: Mapping[str, Any]) -> Converted:
    """Assign the tensors by their neutral names."""
    neutral = {foreign: name for name, foreign in (names_of(spec) or {}).items()}
    return assign_tensors(
        path,
        net,
        spec,
        assumed,
        lambda name: neutral.get(current_name(name), name),
        lambda name: reason_to_drop(current_name(name)),
        LAYOUT,
    )
