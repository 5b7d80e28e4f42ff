"""The synthetic tasks of the TCN paper, made from a seed.

Source: Bai, Kolter, Koltun 2018, arXiv:1803.01271, section 5 and appendix A; numbers of examples as
in the authors' code.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.training.data.augment import augmenter, refuse
from tcnzoo.training.data.config import AddingData, CopyMemoryData, Part
from tcnzoo.training.data.dataset import Batch, Dataset, MadeDataset

PLACES: dict[Part, int] = {"train": 0, "val": 1, "test": 2}
# Copy memory: symbols 1 to 8, 0 for blank, 9 for the order to repeat.
SYMBOLS, BLANK, ORDER = 8, 0, 9


def adding_datasets(config: AddingData, seed: int) -> dict[Part, Dataset]:
    """Sequences of numbers in [0, 1), two of them marked; the target is the sum of the two.

    `x` is (batch, 2, steps): numbers, and 1 at the two places; `y` is (batch, 1). The first place
    is drawn from the first half, the second from the rest.
    """
    refuse(config.augment, config.kind, "phase", "transpose")

    def arrays(rng: np.random.Generator, count: int) -> dict[str, Array]:
        half = config.steps // 2
        first = rng.integers(0, half, count)
        second = rng.integers(half, config.steps, count)
        return {
            "numbers": rng.random((count, config.steps), np.float32),
            "places": np.stack([first, second], axis=1),
        }

    def make(examples: Mapping[str, Array]) -> Batch:
        numbers, places = examples["numbers"], examples["places"]
        marks = np.zeros_like(numbers)
        np.put_along_axis(marks, places, np.float32(1.0), axis=1)
        total = np.take_along_axis(numbers, places, axis=1).sum(axis=1, keepdims=True)
        return {"x": np.stack([numbers, marks], axis=1), "y": total}

    return _parts(config, seed, arrays, make)


def copy_memory_datasets(config: CopyMemoryData, seed: int) -> dict[Part, Dataset]:
    """Symbols at the start that are to be repeated after `steps` blanks, once the order comes.

    `x` is (batch, 1, steps + 2 * symbols): the symbols as numbers 1 to 8, steps - 1 blanks (0), and
    the order (9) from there on; `y` (batch, time) is blank but for the last `symbols` steps.
    """
    refuse(config.augment, config.kind, "phase", "transpose")

    def arrays(rng: np.random.Generator, count: int) -> dict[str, Array]:
        return {"symbols": rng.integers(1, SYMBOLS + 1, (count, config.symbols), np.uint8)}

    def make(examples: Mapping[str, Array]) -> Batch:
        symbols = examples["symbols"]
        count, kept = symbols.shape
        total = config.steps + 2 * kept
        x = np.full((count, 1, total), BLANK, np.float32)
        y = np.full((count, total), BLANK, np.int64)
        x[:, 0, :kept], x[:, 0, kept + config.steps - 1 :] = symbols, ORDER
        y[:, total - kept :] = symbols
        return {"x": x, "y": y}

    return _parts(config, seed, arrays, make)


def _parts(
    config: AddingData | CopyMemoryData,
    seed: int,
    arrays: Callable[[np.random.Generator, int], dict[str, Array]],
    make: Callable[[Mapping[str, Array]], Batch],
) -> dict[Part, Dataset]:
    """Each part, from a generator of its own."""
    augment = augmenter(config.augment)
    datasets: dict[Part, Dataset] = {}
    for part, stream in PLACES.items():
        rng = np.random.Generator(np.random.PCG64([seed, stream]))
        datasets[part] = MadeDataset(arrays(rng, getattr(config, part)), make, augment)
    return datasets
