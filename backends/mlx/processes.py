"""The processes that train an MLX model together, by mx.distributed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from tcnzoo.errors import InputError

# Variables of the environment that mlx.launch, or mpirun, sets for each process, by MLX's backend.
LAUNCHED = {
    "ring": ("MLX_RANK", "MLX_HOSTFILE"),
    "jaccl": ("MLX_RANK", "MLX_IBV_DEVICES"),
    "nccl": ("MLX_RANK", "MLX_WORLD_SIZE"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
}

Arrays = dict[str, mx.array]
# Of weights: a loss and its parts; the same and the gradients.
Objective = Callable[[Arrays], tuple[mx.array, Arrays]]
Differentiated = Callable[[Arrays], tuple[tuple[mx.array, Arrays], Arrays]]


def processes() -> "Processes | None":
    """The processes that mlx.launch has started, once all are there; None for one alone.

    Raises:
        InputError: they were started for a backend that MLX does not have here.
    """
    backend = _launched()
    if backend is None:
        return None
    try:
        group = mx.distributed.init(strict=True, backend=backend)
    except RuntimeError as error:
        raise InputError(
            f"this process was started as one of several, but MLX cannot join them by {backend!r}: "
            f"{error}"
        ) from error
    return Processes(group.rank(), group.size()) if group.size() > 1 else None


def _launched() -> str | None:
    """MLX's backend for the processes started with this one; None where there are no others."""
    for backend, names in LAUNCHED.items():
        if not all(name in os.environ for name in names):
            continue
        value = os.environ[names[1]]
        # One host has an empty file, which the ring does not read.
        if backend == "ring" and Path(value).is_file() and not Path(value).read_text().strip():
            return None
        return None if value == "1" else backend
    return None


class Processes:
    """The processes that mlx.launch has started, two or more."""

    def __init__(self, rank: int, size: int) -> None:
        """Wait until each of them is here, and so has looked for what the first will write."""
        self.rank, self.size = rank, size
        self._sums: list[mx.array] | None = None
        self.agree([0.0])

    def agree(self, values: Sequence[float]) -> list[float]:
        """The values of the first process, in every process."""
        # Halves of the bits, because not every device has float64; those of the others are 0.
        halves = np.array(values, np.float64).view(np.uint32)
        mine = halves if self.rank == 0 else np.zeros_like(halves)
        sums = np.array(mx.distributed.all_sum(mx.array(mine)))
        return [float(value) for value in sums.view(np.float64)]

    def leave(self) -> None:
        """Nothing to give back: each process holds the whole model."""

    def value_and_grad(self, objective: Objective, examples: int) -> Differentiated:
        """As mx.value_and_grad, where statistics tie the batches of all processes together.

        Args:
            objective: of weights: the mean loss over this process's examples, and its parts.
            examples: how many there are.
        """

        def weighted(weights: Arrays) -> tuple[mx.array, Arrays]:
            loss, parts = objective(weights)
            # Before it meets the gradients of the others: it counts as its examples do.
            return loss * examples, parts

        def differentiated(weights: Arrays) -> tuple[tuple[mx.array, Arrays], Arrays]:
            (loss, parts), slopes = mx.value_and_grad(weighted)(weights)
            slopes = {name: slope / examples for name, slope in slopes.items()}
            return (loss / examples, parts), slopes

        return self.in_order(differentiated)

    def in_order(self, differentiated: Differentiated) -> Differentiated:
        """Let each sum of a function wait for the one before, and its loss for the last.

        MLX may compute in any order what does not depend on each other, and processes that sum in
        different orders would add one thing to another.
        """

        def ordered(weights: Arrays) -> tuple[tuple[mx.array, Arrays], Arrays]:
            self._sums = []
            try:
                (loss, parts), slopes = differentiated(weights)
                return (self._after_sums(loss), parts), slopes
            finally:
                self._sums = None

        return ordered

    def _after_sums(self, x: mx.array) -> mx.array:
        """An array that waits for the last sum, where they are in order."""
        return mx.depends(x, self._sums[-1]) if self._sums else x

    def _sum(self, x: mx.array) -> mx.array:
        """The sum of an array over all processes."""
        total = mx.distributed.all_sum(self._after_sums(x))
        if self._sums is not None:
            self._sums.append(total)
        return total

    def gathered(self, vector: mx.array) -> mx.array:
        """The vectors of all processes, (processes, n), differentiated in all of them at once."""
        # MLX hands the slope of a sum on as that of each process's own term, and leaves out what
        # the other processes' losses owe to it.
        joint: Any = mx.custom_function(self._sum)
        joint.vjp(lambda _, slope, __: self._sum(slope))
        here = mx.arange(self.size)[:, None] == self.rank
        vectors: mx.array = joint(mx.where(here, vector, mx.zeros_like(vector)))
        return vectors

    def of_first(self, x: mx.array) -> mx.array:
        """The first process's array, in every process."""
        return self._sum(mx.zeros_like(x) if self.rank else x)

    def together(
        self, examples: int, means: Sequence[Arrays], of_first: Arrays
    ) -> tuple[list[Arrays], Arrays]:
        """Join what the processes have computed, each on its own examples.

        Args:
            examples: of this process.
            means: arrays by name, means over the examples.
            of_first: arrays by name that become those of the first process.
        Returns:
            both, the means over the examples of all processes.
        """
        sums = [{name: array * examples for name, array in tree.items()} for tree in means]
        if self.rank:
            of_first = {name: mx.zeros_like(array) for name, array in of_first.items()}
        counted = {"examples": mx.array(float(examples))}
        *sums, of_first, counted = self._sums_of([*sums, of_first, counted])
        total = counted["examples"]
        return [{name: array / total for name, array in tree.items()} for tree in sums], of_first

    def totals(self, arrays: Arrays) -> Arrays:
        """The sums of arrays over all processes, without gradient."""
        (sums,) = self._sums_of([arrays])
        return {name: mx.stop_gradient(total) for name, total in sums.items()}

    def _sums_of(self, trees: Sequence[Arrays]) -> list[Arrays]:
        """Sums over all processes, of all arrays at once."""
        arrays = [array for tree in trees for array in tree.values()]
        total = self._sum(mx.concatenate([array.reshape(-1) for array in arrays]))
        ends = np.cumsum([array.size for array in arrays])[:-1].tolist()
        parts = iter(mx.split(total, ends))
        return [
            {
                name: next(parts).reshape(like.shape).astype(like.dtype)
                for name, like in tree.items()
            }
            for tree in trees
        ]
