"""How a state_dict of mamba_ssm is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Mamba2Spec

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..torch import LAYOUT
from .detect import NAME, ROOT
from .facts import facts_of
from .spec import (
    FIELDS,
    check_mamba_hints,
    mamba_from_facts,
    the_mamba,
)

HINTS = (*FIELDS, PREFIX)


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
    arrays, notes = open_state_dict(path)
    embedded = embedded_spec(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    net = net_in(path, arrays, ROOT, given)
    fields = {name: value for name, value in given.items() if name != PREFIX}
    if embedded is not None:
        spec = check_mamba_hints(path, the_mamba(NAME, embedded), fields)
        return assign_mamba(path, net, spec, {})
    shapes = {name: tuple(array.shape) for name, array in net.tensors.items()}
    try:
        spec, assumed = mamba_from_facts(path, facts_of(path, shapes, net.prefix), fields)
    except Undetermined as question:
        question.used = {net.prefix + name: name for name in net.tensors}
        raise
    return assign_mamba(path, net, spec, assumed)


def assign_mamba(path: Path, net: Net, spec: Mamba2Spec, assumed: Mapping[str, Any]) -> Converted:
    """Take each tensor of a module, which all have their neutral names.

    Raises:
        WeightError: a tensor that belongs nowhere, a missing one, or a shape that differs.
    """
    if "init_states" in net.tensors:
        raise WeightError(
            f"{str(path)!r} begins with states that were learnt, "
            f"{net.prefix + 'init_states'!r}, which a mamba2 has not"
        )
    return assign_tensors(path, net, spec, assumed, lambda name: name, lambda name: None, LAYOUT)
