"""The order of examples in an epoch, from the seed and the number of the epoch."""

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.training.data.config import DataConfig
from tcnzoo.training.data.dataset import Dataset


def epoch_order(dataset: Dataset, config: DataConfig, seed: int, epoch: int) -> Array:
    """Numbers of the examples of one epoch, in the order in which they are seen.

    The same arguments give the same order, so that a run can be resumed in the middle of an epoch.

    Args:
        dataset: the training part.
        config: `shuffle`, `balance` and `epoch_size` are used. With a balance, examples are drawn
            with replacement; else each comes once, or, of a longer epoch, once in each round.
        seed: of the run.
        epoch: counted from 0.
    Returns:
        (epoch_size,) int64.
    Raises:
        InputError: a balance over labels or groups that the data do not have.
    """
    rng = np.random.Generator(np.random.PCG64([seed, epoch]))
    count, size = len(dataset), config.epoch_size or len(dataset)
    if config.balance != "none":
        drawn: Array = rng.choice(count, size, p=shares(dataset, config.balance))
        return drawn.astype(np.int64)
    rounds = -(-size // count)
    pieces = [rng.permutation(count) if config.shuffle else np.arange(count) for _ in range(rounds)]
    return np.concatenate(pieces)[:size].astype(np.int64)


def shares(dataset: Dataset, balance: str) -> Array:
    """Probability of each example.

    Args:
        dataset: the training part.
        balance: `label` and `group` make each of these equally likely; `both` makes each label
            within each group so, of those that there are.
    Returns:
        (examples,), of sum 1.
    Raises:
        InputError: the data have no labels or groups.
    """
    columns = {"label": dataset.labels, "group": dataset.groups}
    wanted = ("label", "group") if balance == "both" else (balance,)
    kinds = np.zeros(len(dataset), np.int64)
    for name in wanted:
        column = columns[name]
        if column is None:
            raise InputError(f"the data have no {name} for each example to balance by")
        values, places = np.unique(column, return_inverse=True)
        kinds = kinds * len(values) + places
    _, places, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    chances: Array = 1.0 / (counts[places] * len(counts))
    chances /= chances.sum()
    return chances
