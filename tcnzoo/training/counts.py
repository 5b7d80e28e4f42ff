"""How often an optimiser has moved each parameter, and the scalars that follow from it."""

from collections.abc import Iterable, Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError, suggestion
from tcnzoo.specs.params import Param
from tcnzoo.training.optimizers import (
    Adam,
    Sgd,
    check_state,
    counts_of_state,
    counts_to_state,
    trained_names,
)


class Counts:
    """Which parameters of a model move, and how often each has.

    Attributes:
        optimizer: of the plan.
        table: the spec's `params()`.
        counts: steps of every parameter that can be trained.
        moving: names of those that are not frozen, in table order.
        groups: for each moving one, its row in `factors`: those of one count share a row.
    """

    def __init__(
        self, optimizer: Sgd | Adam, table: Mapping[str, Param], frozen: Iterable[str] = ()
    ) -> None:
        """Start before the first step."""
        self.optimizer = optimizer
        self.table = table
        self.counts = dict.fromkeys(trained_names(table), 0)
        self.freeze(frozen)

    def freeze(self, names: Iterable[str]) -> None:
        """Freeze these parameters from now on, and train every other one.

        Raises:
            InputError: a name that is not of the model, or nothing left to train.
        """
        frozen = set(names)
        for name in sorted(frozen - self.table.keys()):
            raise InputError(
                f"{name!r} cannot be frozen: no such parameter{suggestion(name, self.table)}"
            )
        moving = tuple(name for name in self.counts if name not in frozen)
        if not moving:
            raise InputError("every parameter is frozen: there is nothing left to train")
        self.moving = moving
        self._regroup()

    def _regroup(self) -> None:
        """Assign a row of factors to each count."""
        counts = sorted({self.counts[name] for name in self.moving}, reverse=True)
        self.groups = {name: counts.index(self.counts[name]) for name in self.moving}
        self._heads = {self.groups[name]: name for name in self.moving}

    def advance(self, rate: float, dtype: str = "float32") -> Array:
        """Count a step, and return its scalars.

        Returns:
            (groups, 3), of `dtype`: `Factors` of each group.
        """
        for name in self.moving:
            self.counts[name] += 1
        factors = [
            self.optimizer.factors(rate, self.counts[self._heads[row]])
            for row in range(len(self._heads))
        ]
        return np.array(factors, dtype=dtype)

    def slots(self) -> list[tuple[str, str]]:
        """(slot, parameter) of everything that has been kept since the first step."""
        return [
            (slot, name)
            for slot in self.optimizer.slots
            for name, count in self.counts.items()
            if count
        ]

    def state(self) -> dict[str, Array]:
        """The counts as entries of a neutral state."""
        return counts_to_state(self.counts)

    def load(self, state: Mapping[str, Array]) -> None:
        """Take the counts of a neutral state, after a check of all of it.

        Raises:
            WeightError: as `check_state`.
        """
        check_state(self.optimizer, self.table, state)
        self.counts = counts_of_state(state, self.table)
        self._regroup()
