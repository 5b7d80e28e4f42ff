"""What a backend that trains provides: a stepper for a model and a plan."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.models.outputs import Output
from tcnzoo.training.losses import Loss
from tcnzoo.training.optimizers import Optimizer

# "x" (batch, channels, time), "y", and optional "mask", "weight", "group" ...: neutral numpy.
Batch = dict[str, Array]


@dataclass(frozen=True)
class Plan:
    """What to train with: optimiser, losses and limits.

    Attributes:
        optimizer: kind and constants; the rate comes with each step.
        losses: whose weighted sum is differentiated.
        clip_norm: largest Euclidean norm of all gradients together, or None.
        clip_value: largest size of each single gradient value, or None.
        precision: `32-true`, `64-true`, and `16-mixed` or `bf16-mixed` where the backend has it.
        frozen: dotted names of parameters that get no update, no decay and no moments.
        strategy: of several processes, `ddp` or `fsdp`; one alone has none.
        devices: of one process, which share each batch, where the backend can.
    """

    optimizer: Optimizer
    losses: tuple[Loss, ...]
    clip_norm: float | None = None
    clip_value: float | None = None
    precision: str = "32-true"
    frozen: frozenset[str] = field(default_factory=frozenset)
    strategy: str = "ddp"
    devices: int = 1

    @property
    def dtype(self) -> str:
        """Float type of the weights, the moments and the running statistics."""
        return "float64" if self.precision == "64-true" else "float32"

    def check(
        self,
        backend: str,
        dtype: str,
        precisions: Collection[str],
        launcher: str | None = None,
        strategies: Collection[str] = ("ddp",),
    ) -> None:
        """Check precision, devices and strategy with a backend and the weights of a model.

        Args:
            backend: name of the backend.
            dtype: float type of the model's weights.
            precisions: those that the backend trains in.
            launcher: what starts the processes of a backend that takes one for each device; None
                for one that takes several devices in a process.
            strategies: of several processes, those that the backend has.
        Raises:
            InputError: another precision or strategy, weights of another type, or devices that it
                cannot take.
        """
        if self.strategy not in strategies:
            raise InputError(
                f"backend {backend!r} trains by strategy {', '.join(strategies)}, not by "
                f"{self.strategy!r}"
            )
        if self.devices > 1 and launcher is not None:
            raise InputError(
                f"backend {backend!r} trains on one device in each process, so training.devices "
                f"must be 1, not {self.devices}; {launcher} starts several processes"
            )
        if self.precision not in precisions:
            raise InputError(
                f"backend {backend!r} trains in {', '.join(precisions)}, not in {self.precision!r}"
            )
        if dtype != self.dtype:
            raise InputError(
                f"training in {self.precision} takes {self.dtype} weights, but the model is {dtype}"
            )


class World(Protocol):
    """The processes that train one model together."""

    rank: int
    size: int

    def agree(self, values: Sequence[float]) -> list[float]:
        """The values of the first process, in every process."""

    def leave(self) -> None:
        """Make the model whole again in every process; none of them trains it any more."""


class SingleProcess:
    """A world of one process."""

    rank = 0
    size = 1

    def agree(self, values: Sequence[float]) -> list[float]:
        """The values as they are."""
        return list(values)

    def leave(self) -> None:
        """Do nothing: the model is whole."""


class Stepper(Protocol):
    """One model in training. Made by `stepper(model, plan)` of `backends/<name>/training.py`.

    A class that inherits from this one trains in a single process, unless it overrides `world`.
    """

    @property
    def world(self) -> World:
        """The processes that train the model together."""
        return SingleProcess()

    def step(self, batches: Sequence[Batch], rate: float, seed: int) -> Mapping[str, Any]:
        """Take one optimiser step in training mode over accumulated micro-batches.

        Args:
            batches: their gradients are weighted by their numbers of examples.
            rate: the learning rate of this step.
            seed: of dropout in this step, so that no generator has to survive a restart.
        Returns:
            native scalars: `loss`, each loss by its name, and `gradient_norm` before clipping.
            Nothing is synchronised; `float()` does so when a value is wanted.
        """

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], Output]:
        """Losses and neutral outputs in evaluation mode; nothing is updated."""

    def freeze(self, names: frozenset[str]) -> None:
        """Freeze these parameters from now on, and train every other one."""

    def state(self) -> dict[str, Array]:
        """Optimiser state: `exp_avg.<param>`, `exp_avg_sq.<param>`, `momentum.<param>`, `step`.

        Moments have the type of the weights and neutral layout, and are named alike in every
        backend. They may be sharded over the processes that train together, so each of these must
        call.
        """

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from a `state()` of this or another backend."""
