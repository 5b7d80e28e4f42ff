"""Learning rates: each step's factor on the optimiser's rate, as a function of its number.

Only `plateau` depends on evaluations; its state is saved with checkpoints.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcnzoo.errors import InputError

Steps = Annotated[int, Field(ge=0)]
Factor = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Mode = Literal["min", "max"]


class _Schedule(BaseModel):
    """Fields of every schedule.

    Attributes:
        warmup_steps: over which the factor rises in a line; step s has (s + 1) / warmup_steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    warmup_steps: Steps = 0

    def at(self, step: int, total: int) -> float:
        """The factor of a step.

        Args:
            step: number of the step, from 0.
            total: steps of the whole run.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self._after(step - self.warmup_steps, total - self.warmup_steps)

    def _after(self, step: int, total: int) -> float:
        """The factor once it has warmed up, counted from there."""
        return 1.0

    def check(self, total: int) -> None:
        """Raise InputError if a run of `total` steps is over before its rate has risen."""
        if total <= self.warmup_steps:
            raise InputError(
                f"the rate rises over {self.warmup_steps} steps (training.schedule.warmup_steps), "
                f"but the run has {total} in all"
            )


class Constant(_Schedule):
    """The optimiser's rate throughout."""

    kind: Literal["constant"] = "constant"

    def check(self, total: int) -> None:
        """A run may end at any time."""


class Cosine(_Schedule):
    """Down along half a cosine, from the optimiser's rate to a part of it.

    Attributes:
        final: factor at the end.
    Source:
        Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts.
    """

    kind: Literal["cosine"] = "cosine"
    final: Factor = 0.0

    def _after(self, step: int, total: int) -> float:
        return _cosine(step / total, 1.0, self.final)


class ThreePhase(_Schedule):
    """Up in a line, down along half a cosine, and to zero in a line.

    Attributes:
        start: factor of the first step.
        main_end: factor where the cosine ends.
        cooldown_steps: of the last line, which would reach zero at the step after the last.
    Source:
        OpenSeizureDetector's nnTraining2, its learning-rate schedule of three phases.
    """

    kind: Literal["three_phase"] = "three_phase"
    start: Factor = 0.0
    main_end: Factor = 0.1
    cooldown_steps: Steps = 0

    def at(self, step: int, total: int) -> float:
        """The factor of a step."""
        if step < self.warmup_steps:
            return self.start + (1.0 - self.start) * step / self.warmup_steps
        main = total - self.warmup_steps - self.cooldown_steps
        step -= self.warmup_steps
        if step < main:
            return _cosine(step / main, 1.0, self.main_end)
        return self.main_end * max(0.0, 1.0 - (step - main) / max(self.cooldown_steps, 1))

    def check(self, total: int) -> None:
        """Raise InputError unless something is left between the two lines."""
        if total <= self.warmup_steps + self.cooldown_steps:
            raise InputError(
                f"training.schedule rises over {self.warmup_steps} steps and cools down over "
                f"{self.cooldown_steps}, but the run has {total} in all"
            )


class Plateau(_Schedule):
    """Down by a factor whenever a metric has stopped getting better.

    Attributes:
        metric: its name among those of an evaluation.
        mode: whether less or more of it is better.
        factor: of each reduction.
        patience: evaluations without a gain that pass before that.
        threshold: a gain is more than this part of the best value.
        cooldown: evaluations after a reduction that do not count.
        final: the factor goes no lower.
    Source:
        torch.optim.lr_scheduler.ReduceLROnPlateau, with threshold_mode `rel`.
    """

    kind: Literal["plateau"] = "plateau"
    metric: str = "val_loss"
    mode: Mode = "min"
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    patience: Steps = 10
    threshold: Factor = 1e-4
    cooldown: Steps = 0
    final: Factor = 0.0

    def check(self, total: int) -> None:
        """A run may end at any time."""


Schedule = Annotated[Constant | Cosine | ThreePhase | Plateau, Field(discriminator="kind")]


def _cosine(part: float, high: float, low: float) -> float:
    """Half a cosine from `high` at 0 to `low` at 1 and after."""
    return low + (high - low) * (1.0 + math.cos(math.pi * min(part, 1.0))) / 2.0


class PlateauState(BaseModel):
    """State of a plateau schedule.

    Attributes:
        factor: by which the rate is reduced now.
        best: the best value of the metric so far.
        bad: evaluations since then, or since the last reduction.
        cooling: evaluations that do not count yet.
    """

    model_config = ConfigDict(extra="forbid")

    factor: float = 1.0
    best: float | None = None
    bad: int = 0
    cooling: int = 0

    def seen(self, plateau: Plateau, value: float) -> bool:
        """Update with a value of the metric; return whether the rate goes down."""
        if self._is_gain(plateau, value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad <= plateau.patience:
            return False
        self.factor = max(self.factor * plateau.factor, plateau.final)
        self.cooling, self.bad = plateau.cooldown, 0
        return True

    def _is_gain(self, plateau: Plateau, value: float) -> bool:
        """Whether a value is better by the threshold; NaN never is."""
        if self.best is None:
            return not math.isnan(value)
        if plateau.mode == "min":
            return value < self.best * (1.0 - plateau.threshold)
        return value > self.best * (1.0 + plateau.threshold)
