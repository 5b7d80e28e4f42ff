"""How a state_dict of pytorch-tcn is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import SpecError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import TcnSpec

from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..torch import LAYOUT
from .arguments import check_softmax
from .detect import NAME
from .facts import facts_of
from .names import OLD_BUFFER, current_name, neutral_name, reason_to_drop
from .projects import ROOT
from .spec import HINTS, check_tcn_hints, embedded_tcn, tcn_from_facts

# How far a causal net looks ahead: an argument up to version 1.1, which wrote no tensor for it.
LOOKAHEAD = "lookahead"


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict: the spec from its shapes, and from the hints what they leave open.

    The net may be part of a larger model, and its state_dict part of a training checkpoint. A file
    of our own making needs no hints: it carries its spec where a strict load does not mind.

    Raises:
        Undetermined: hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        SpecError: a net that has no counterpart.
        WeightError: no state_dict of this net.
    """
    arrays, notes = open_state_dict(path)
    embedded = embedded_tcn(NAME, path, notes)
    given = parse_hints(NAME, hints, (*HINTS, LOOKAHEAD))
    if given.get(LOOKAHEAD, 0) != 0:
        raise SpecError(f"a net with lookahead={given[LOOKAHEAD]} has no counterpart; only 0 has")
    net = net_in(path, arrays, ROOT, given)
    fields = {name: value for name, value in given.items() if name not in (PREFIX, LOOKAHEAD)}
    assumed: Mapping[str, Any] = {}
    if embedded is not None:
        spec = check_tcn_hints(path, embedded, fields)
    else:
        spec, assumed = _inferred(path, net, fields)
        if spec.causal and LOOKAHEAD not in given and any(map(OLD_BUFFER.search, net.tensors)):
            assumed = {LOOKAHEAD: 0, **assumed}
    check_softmax(spec)
    return assign_tensors(path, net, spec, assumed, _neutral, _reason, LAYOUT)


def _inferred(path: Path, net: Net, hints: Mapping[str, Any]) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec that the shapes and the hints say, and the fields that were assumed."""
    facts = facts_of({current_name(name): array.shape for name, array in net.tensors.items()})
    try:
        return tcn_from_facts(path, facts, hints)
    except Undetermined as question:
        question.used = {
            net.prefix + name: _neutral(name) for name in net.tensors if _reason(name) is None
        }
        raise


def _neutral(name: str) -> str:
    """Neutral name of a tensor of any version."""
    return neutral_name(current_name(name))


def _reason(name: str) -> str | None:
    """Why a tensor of any version may be left out."""
    return reason_to_drop(current_name(name))
