"""Which parameters are frozen, by patterns of their names, and which whole parts with them."""

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
    frozen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            near = suggestion(pattern, names)
            raise InputError(
                f"training.freeze: no parameter is called {pattern!r}"
                f"{near if 'did you mean' in near else f'; the first is {names[0]!r}'}"
            )
        frozen |= matches
    if trained <= frozen:
        raise InputError("training.freeze matches every parameter, which leaves nothing to train")
    return frozenset(frozen)


def frozen_parts(spec: Spec, names: Collection[str]) -> frozenset[str]:
    """Paths of the parts that are frozen whole: each of their parameters and statistics is.

    They run as in evaluation while the rest of the model is trained: batch norm by its running
    statistics, a codebook as it is, without dropout.

    Args:
        spec: of the model.
        names: of the frozen parameters and statistics.
    """
    frozen, paths = frozenset(names), set[str]()
    for path, part in spec.walk():
        inside = any(path.startswith(f"{whole}.") for whole in paths)
        own = {f"{path}.{name}" if path else name for name in part.params()}
        if inside or (own and own <= frozen):
            paths.add(path)
    return frozenset(paths)


def frozen_in(training: Training, table: Mapping[str, Param], epoch: int) -> frozenset[str]:
    """Names of the parameters that are frozen in an epoch, from 0; raises as `matching`."""
    names = matching(training.freeze, table)
    freezes = training.freeze_epochs is None or epoch < training.freeze_epochs
    return names if freezes else frozenset()
