"""Which examples each optimiser step takes, and the batches of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data import Dataset, epoch_order
from tcnzoo.training.data.config import DataConfig
from tcnzoo.training.data.sampling import shares
from tcnzoo.training.stepper import Batch, World


@dataclass(frozen=True)
class Step:
    """The examples of one optimiser step, in this process.

    Attributes:
        batches: micro-batches.
        indices: numbers of the examples of each.
    """

    batches: tuple[Batch, ...]
    indices: tuple[Array, ...]

    @property
    def examples(self) -> int:
        """Number of examples."""
        return sum(len(indices) for indices in self.indices)


class Batches:
    """The steps of each epoch: the same numbers in every backend, and after every restart.

    With several processes each micro-batch is that many times as large, and each process takes its
    part. The same holds for several devices of a process, which splits the micro-batch itself.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: DataConfig,
        seed: int,
        accumulate: int,
        world: World,
        devices: int = 1,
    ) -> None:
        """Keep all that determines the order.

        Raises:
            InputError: too few examples for one step, or a balance that the data cannot give.
        """
        self.dataset, self.config, self.seed = dataset, config, seed
        self.accumulate, self.world = accumulate, world
        self.size = config.batch_size * world.size * devices
        if not self.in_epoch:
            raise InputError(
                f"the train part has {len(dataset)} examples, but a batch takes {self.size} and an "
                "incomplete one is left out"
            )
        if config.balance != "none":
            shares(dataset, config.balance)

    @property
    def micro(self) -> int:
        """Micro-batches of an epoch. One with fewer examples than processes is left out."""
        examples = self.config.epoch_size or len(self.dataset)
        full, rest = divmod(examples, self.size)
        return full if self.config.drop_last or rest < self.world.size else full + 1

    @property
    def in_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return -(-self.micro // self.accumulate)

    @property
    def smallest(self) -> int:
        """Examples of the smallest micro-batch, of all processes and devices together."""
        examples = self.config.epoch_size or len(self.dataset)
        rest = examples % self.size
        return rest if rest and self.micro * self.size > examples else self.size

    def of(self, epoch: int, position: int = 0) -> Iterator[Step]:
        """Make the steps of an epoch.

        Args:
            epoch: from 0.
            position: steps of it that have been taken.
        """
        order = epoch_order(self.dataset, self.config, self.seed, epoch)
        for step in range(position, self.in_epoch):
            first = step * self.accumulate
            places = range(first, min(first + self.accumulate, self.micro))
            parts = [self._part(order, micro) for micro in places]
            batches = [
                self.dataset.batch(part, self._generator(epoch, micro))
                for part, micro in zip(parts, places, strict=True)
            ]
            yield Step(tuple(batches), tuple(parts))

    def _part(self, order: Array, micro: int) -> Array:
        """This process's examples of a micro-batch."""
        whole = order[micro * self.size : (micro + 1) * self.size]
        return np.array_split(whole, self.world.size)[self.world.rank]

    def _generator(self, epoch: int, micro: int) -> np.random.Generator:
        """The generator for the augmentation of a micro-batch, another one in each process."""
        key = [self.seed, epoch, micro] + [self.world.rank] * (self.world.rank > 0)
        return np.random.Generator(np.random.PCG64(key))
