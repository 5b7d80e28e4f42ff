"""How a net of braindecode is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import WeightError
from tcnzoo.files.documents import read_mapping
from tcnzoo.formats.report import Converted

from ..containers.own import check_mark
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict
from ..hints import parse_hints
from .arguments import CONFIG as CONFIG_HINT, NAMES, arguments_in, config_from
from .detect import CONFIG, NAME, weights_in
from .nets import NetKind, net_of
from .nets.plan import COUNTER, Plan
from .nets.views import VIEWS

HINTS = (CONFIG_HINT, PREFIX, *NAMES)
# Names of weight norm before torch 2.0.
_OLD = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}


def tensors(path: Path) -> Weights:
    """Every tensor of the net."""
    return open_state_dict(weights_in(path))[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a hub folder, or a state_dict whose arguments are hints where it does not say them.

    Raises:
        Undetermined: several nets in a file, or arguments that nothing says.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of the net.
        SpecError: a net that cannot be had here; the sentence names the argument.
    """
    given = parse_hints(NAME, hints, HINTS)
    config = read_mapping(path / CONFIG) if path.is_dir() else config_from(given)
    arrays, notes = open_state_dict(weights_in(path))
    check_mark(NAME, path, notes)
    kind = net_of(arrays)
    if kind is None:
        raise WeightError(f"{str(path)!r} holds no net of braindecode that is known here")
    net = net_in(path, arrays, kind.root, given)
    names = {_current(kind, name): name for name in net.tensors}
    shapes = {name: tuple(net.tensors[old].shape) for name, old in names.items()}
    arguments = {name: value for name, value in given.items() if name in NAMES}
    known = arguments_in(path, kind, config, arguments, shapes)
    return _assigned(path, net, names, kind.plan_of(known.arguments), known.assumed)


def _current(kind: NetKind, name: str) -> str:
    """The name that a tensor has in braindecode 1.8."""
    for old, new in kind.renamed.items():
        if name.startswith(old):
            name = new + name.removeprefix(old)
    for old, new in _OLD.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name


def _assigned(
    path: Path, net: Net, names: Mapping[str, str], plan: Plan, assumed: Mapping[str, Any]
) -> Converted:
    """The tensors of a net under their neutral names.

    Raises:
        WeightError: one that is missing, of another shape, or no part of the net.
    """
    spec = plan.spec()
    weights: Weights = {}
    used: dict[str, str] = {}
    dropped = dict(net.beside)
    for neutral, row in spec.params().items():
        source = plan.sources[neutral]
        view, name = VIEWS[source.view], names.get(source.name)
        wanted = view.shape(row.shape)
        if name is None:
            raise WeightError(f"{str(path)!r} must hold {net.prefix + source.name!r}, but does not")
        array = net.tensors[name]
        if array.shape != wanted:
            raise WeightError(
                f"tensor {net.prefix + name!r} of {str(path)!r} must have the shape {wanted}, as "
                f"the net's arguments say, but has {array.shape}"
            )
        if source.limit is not None:
            array = source.limit.effective(array)
        weights[neutral] = view.neutral(array, row.shape)
        used[net.prefix + name] = neutral
    counters = set(plan.counters)
    for current, name in names.items():
        if net.prefix + name in used:
            continue
        if current not in counters:
            raise WeightError(
                f"tensor {net.prefix + name!r} of {str(path)!r} is no part of the net"
            )
        dropped[net.prefix + name] = f"{COUNTER}: a counter that no output depends on"
    return Converted(spec, weights, used, dropped, assumed)
