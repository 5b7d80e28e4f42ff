"""Which parameters patterns of names mean, and which parts rest with them."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs import Spec
from tcnzoo.specs.params import Param
from tcnzoo.training.config import Training
from tcnzoo.training.optimizers import trained_names


def matching(patterns: Sequence[str], table: Mapping[str, Param]) -> frozenset[str]:
    """Names of the parameters and running statistics that any of some patterns matches.

    Args:
        patterns: as of a shell: `encoder.*`, `*.bias`.
        table: of the model.
    Raises:
        InputError: a pattern without a match, or nothing left to train.
    """
    names, trained = list(table), set(trained_names(table))
    found: set[str] = set()
    for pattern in patterns:
        some = {name for name in names if fnmatchcase(name, pattern)}
        if not some:
            near = suggestion(pattern, names)
            raise InputError(
                f"training.freeze: no parameter is called {pattern!r}"
                f"{near if 'did you mean' in near else f'; the first is {names[0]!r}'}"
            )
        found |= some
    if trained <= found:
        raise InputError("training.freeze matches every parameter, which leaves nothing to train")
    return frozenset(found)


def resting(spec: Spec, names: Collection[str]) -> frozenset[str]:
    """Paths of the parts that rest whole: each parameter and statistic in them is frozen.

    They run as in evaluation while the rest of the model is trained: batch norm by its running
    statistics, a codebook as it is, without dropout.

    Args:
        spec: of the model.
        names: what is frozen.
    """
    frozen, found = frozenset(names), set[str]()
    for path, part in spec.walk():
        inside = any(path.startswith(f"{whole}.") for whole in found)
        held = {f"{path}.{name}" if path else name for name in part.params()}
        if inside or (held and held <= frozen):
            found.add(path)
    return frozenset(found)


def frozen_in(told: Training, table: Mapping[str, Param], epoch: int) -> frozenset[str]:
    """Names of the parameters that rest in an epoch, counted from 0; raises as `matching`."""
    found = matching(told.freeze, table)
    rests = told.freeze_epochs is None or epoch < told.freeze_epochs
    return found if rests else frozenset()
