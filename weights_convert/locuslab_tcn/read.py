"""How a state_dict of a TemporalConvNet is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted

from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..pytorch_tcn.projects import ROOT
from ..pytorch_tcn.spec import HINTS, check_tcn_hints, embedded_tcn, tcn_from_facts
from ..torch import LAYOUT
from .detect import NAME
from .facts import facts_in
from .names import direct_name, neutral_of

DEFAULTS: Mapping[str, Any] = {"dropout": 0.2}


def tensors(path: Path) -> Weights:
    """Every tensor of the file, each under all of its names."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict, of the old and of the parametrised weight norm, or without one.

    The net may be part of a larger model, whose other tensors are dropped, and its state_dict part
    of a training checkpoint.

    Raises:
        Undetermined: several such nets.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no state_dict of this net, or two names of one tensor that differ.
    """
    arrays, notes = open_state_dict(path)
    embedded = embedded_tcn(NAME, path, notes)
    given = parse_hints(NAME, hints, HINTS)
    net = _with_one_name_each(path, net_in(path, arrays, ROOT, given))
    fields = {name: value for name, value in given.items() if name != PREFIX}
    assumed: Mapping[str, Any] = {}
    if embedded is not None:
        spec = check_tcn_hints(path, embedded, fields)
    else:
        spec, assumed = tcn_from_facts(path, facts_in(net), fields, DEFAULTS)
    return assign_tensors(path, net, spec, assumed, neutral_of, lambda name: None, LAYOUT)


def _with_one_name_each(path: Path, net: Net) -> Net:
    """The net without second names, which stand among what is beside it.

    Raises:
        WeightError: two names of one tensor that hold different values.
    """
    kept, beside = {}, dict(net.beside)
    for name, array in net.tensors.items():
        direct = direct_name(name)
        if direct == name or direct not in net.tensors:
            kept[name] = array
            continue
        same = net.tensors[direct]
        if (array.dtype, array.shape, array.tobytes()) != (same.dtype, same.shape, same.tobytes()):
            raise WeightError(
                f"{net.prefix + name!r} of {str(path)!r} must be the same tensor as "
                f"{net.prefix + direct!r}, but differs from it"
            )
        beside[net.prefix + name] = "the same tensor under a second name"
    return replace(net, tensors=kept, beside=beside)
