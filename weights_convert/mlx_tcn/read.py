"""How a file of mlx-tcn is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import TcnSpec

from ..containers.state_dicts import Net, assign_tensors, net_in
from ..hints import parse_hints
from ..mlx import LAYOUT, contents
from ..pytorch_tcn.projects import ROOT
from ..pytorch_tcn.spec import embedded_tcn
from .detect import NAME
from .names import neutral_of, reason_to_drop
from .spec import HINTS, check_mlx_hints, spec_from_shapes


def tensors(path: Path) -> Weights:
    """Every tensor, channels last."""
    return contents(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a file: the spec from its shapes, and from the hints what they leave open.

    A file of our own making needs no hints.

    Raises:
        Undetermined: hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no file of this net.
    """
    arrays, beside = contents(path)
    embedded = embedded_tcn(NAME, path, beside)
    given = parse_hints(NAME, hints, HINTS)
    net = net_in(path, arrays, ROOT, given)
    assumed: Mapping[str, Any] = {}
    if embedded is not None:
        spec = check_mlx_hints(path, embedded, given)
    else:
        spec, assumed = _inferred(path, net, given)
    return assign_tensors(path, net, spec, assumed, neutral_of, reason_to_drop, LAYOUT)


def _inferred(path: Path, net: Net, hints: Mapping[str, Any]) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec that shapes and hints say; a question for more tells what is known of the names."""
    try:
        shapes = {name: array.shape for name, array in net.tensors.items()}
        return spec_from_shapes(path, shapes, hints)
    except Undetermined as question:
        question.used = {
            net.prefix + name: neutral_of(name)
            for name in net.tensors
            if reason_to_drop(name) is None
        }
        raise
