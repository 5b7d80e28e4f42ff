"""Examples split into train, val and test so that no group is in two of them."""

from collections.abc import Iterable, Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError, suggestion
from tcnzoo.training.data.config import Part, SplitConfig
from tcnzoo.training.data.dataset import Dataset, Subset

PARTS: tuple[Part, ...] = ("train", "val", "test")


def split(
    dataset: Dataset, config: SplitConfig, seed: int, parts: Iterable[Part] = PARTS
) -> dict[Part, Dataset]:
    """Split a data set.

    Args:
        dataset: all examples.
        config: how.
        seed: of the draw.
        parts: those wanted; the shares of others go to train.
    Returns:
        the parts; one whose share is 0 is left out.
    Raises:
        InputError: a part without examples, or groups that are assigned twice or not at all.
    """
    wanted = tuple(parts)
    groups = dataset.groups if config.by == "group" else None
    names = np.arange(len(dataset)).astype(str) if groups is None else groups.astype(str)
    if config.assign is not None:
        chosen = _assigned(config.assign, names)
    else:
        chosen = _drawn(_strata(names, dataset.labels), config, seed, wanted)
    indices = {part: np.flatnonzero(np.isin(names, list(chosen[part]))) for part in chosen}
    subsets: dict[Part, Dataset] = {
        part: Subset(dataset, indices[part]) for part in PARTS if part in chosen
    }
    check_parts(subsets, config)
    return subsets


def check_parts(parts: Mapping[Part, Dataset], config: SplitConfig) -> None:
    """Check that every part has examples, and, in a split by group, that no group is in two parts.

    Raises:
        InputError: an empty part, or a group in two.
    """
    for part, dataset in parts.items():
        if not len(dataset):
            raise InputError(f"the {part} part of the data is empty: give it more groups or share")
    if config.by != "group":
        return
    owner: dict[str, Part] = {}
    for part, dataset in parts.items():
        for name in [] if dataset.groups is None else np.unique(dataset.groups.astype(str)):
            if owner.setdefault(str(name), part) != part:
                raise InputError(f"group {str(name)!r} is both in {owner[str(name)]} and in {part}")


def _strata(names: Array, labels: Array | None) -> list[list[str]]:
    """Names of groups, in one list for each largest label that a group has."""
    groups, places = np.unique(names, return_inverse=True)
    largest = np.zeros(len(groups), np.int64)
    if labels is not None:
        largest[:] = np.iinfo(np.int64).min
        np.maximum.at(largest, places, labels)
    return [[str(name) for name in groups[largest == value]] for value in np.unique(largest)]


def _drawn(
    strata: list[list[str]], config: SplitConfig, seed: int, wanted: tuple[Part, ...]
) -> dict[Part, set[str]]:
    """Shares or folds of each stratum."""
    if config.folds is not None and set(wanted) != set(PARTS):
        raise InputError("folds part all of the data, but val or test has a file of its own")
    rng = np.random.Generator(np.random.PCG64(seed))
    shares = {"val": config.val, "test": config.test}
    chosen: dict[Part, set[str]] = {
        part: set()
        for part in PARTS
        if part == "train" or (part in wanted and (config.folds or shares[part]))
    }
    dealt = 0
    for stratum in strata:
        order = [stratum[index] for index in rng.permutation(len(stratum))]
        if config.folds is not None:
            for name in order:
                chosen[_fold_part(dealt % config.folds, config)].add(name)
                dealt += 1
            continue
        for part in ("val", "test"):
            if part in chosen:
                count = _count(shares[part], len(stratum))
                chosen[part].update(order[:count])
                order = order[count:]
        chosen["train"].update(order)
    return chosen


def _fold_part(number: int, config: SplitConfig) -> Part:
    """The part that a fold is."""
    folds = config.folds or 1
    if number == config.fold:
        return "test"
    return "val" if number == (config.fold + 1) % folds else "train"


def _count(share: float, groups: int) -> int:
    """How many of a stratum's groups a share is: at least one of three or more."""
    return max(round(share * groups), 1 if groups >= 3 else 0)


def _assigned(assign: Mapping[Part, tuple[str, ...]], names: Array) -> dict[Part, set[str]]:
    """Groups by name; those without a part go to train, unless train has a list of its own."""
    known = {str(name) for name in np.unique(names)}
    owner: dict[str, Part] = {}
    for part, members in assign.items():
        for name in members:
            if name not in known:
                raise InputError(f"the data have no group {name!r}{suggestion(name, known)}")
            if owner.setdefault(name, part) != part:
                raise InputError(f"group {name!r} is both in {owner[name]} and in {part}")
    rest = sorted(known - set(owner))
    if rest and "train" in assign:
        raise InputError(f"group {rest[0]!r} is assigned to no part of the data")
    chosen = {
        part: {name for name, assigned in owner.items() if assigned == part} for part in assign
    }
    chosen.setdefault("train", set()).update(rest)
    return chosen
