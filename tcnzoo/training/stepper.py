"""What a backend answers when it trains: a plan goes in, a step comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tcnzoo.arrays import Array
from tcnzoo.backend import Output
from tcnzoo.training.losses import Loss
from tcnzoo.training.optimizers import Optimizer

# "x" (batch, channels, time), "y", and optional "mask", "weight", "group" ...: neutral numpy.
Batch = dict[str, Array]


@dataclass(frozen=True)
class Plan:
    """What a backend needs to make its step.

    Attributes:
        optimizer: kind and constants; the rate comes with each step.
        losses: whose weighted sum is differentiated.
        clip_norm: largest Euclidean norm of all gradients together, or None.
        clip_value: largest size of each single gradient value, or None.
        precision: `32-true`, and `16-mixed` or `bf16-mixed` where the backend has it.
        frozen: dotted names of parameters that get no update, no decay and no moments.
        devices: that one process deals each batch out to, where the backend can.
    """

    optimizer: Optimizer
    losses: tuple[Loss, ...]
    clip_norm: float | None = None
    clip_value: float | None = None
    precision: str = "32-true"
    frozen: frozenset[str] = field(default_factory=frozenset)
    devices: int = 1


class Stepper(Protocol):
    """One model in training. Made by `stepper(model, plan)` of `backends/<name>/training.py`."""

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
        """Give these parameters no update from now on, and every other one its updates."""

    def state(self) -> dict[str, Array]:
        """Optimiser state: `exp_avg.<param>`, `exp_avg_sq.<param>`, `momentum.<param>`, `step`.

        Moments are float32 in neutral layout, and named alike in every backend.
        """

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a `state()` of this or another backend."""


class World(Protocol):
    """The processes that train one model together. A stepper that has some holds it as `world`."""

    rank: int
    size: int

    def agree(self, values: Sequence[float]) -> list[float]:
        """The values of the first process, in every process."""


class Alone:
    """A world of one process."""

    rank = 0
    size = 1

    def agree(self, values: Sequence[float]) -> list[float]:
        """Return them as they are."""
        return list(values)


def world_of(stepper: Stepper) -> World:
    """The processes that a stepper trains with; it is alone where it says nothing."""
    world: World = getattr(stepper, "world", None) or Alone()
    return world
