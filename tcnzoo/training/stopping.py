"""When a run is better than before, and when it stops early."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tcnzoo.training.schedule import Mode


class EarlyStopping(BaseModel):
    """Ends a run whose metric gets no better.

    Attributes:
        metric: its name among those of an evaluation.
        mode: whether less or more of it is better.
        patience: evaluations without a gain after which the run ends.
        min_delta: a gain is more than this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = "val_loss"
    mode: Mode = "min"
    patience: Annotated[int, Field(ge=1)] = 5
    min_delta: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0


class Watch(BaseModel):
    """The best value of a metric so far.

    Attributes:
        best: that value, None before the first.
        step: optimiser steps that had been taken then.
        bad: evaluations since then.
    """

    model_config = ConfigDict(extra="forbid")

    best: float | None = None
    step: int = 0
    bad: int = 0

    def seen(self, value: float, step: int, mode: Mode, min_delta: float = 0.0) -> bool:
        """Update with a value; return whether it is the best so far. NaN never is."""
        if self.best is None:
            better = not math.isnan(value)
        elif mode == "min":
            better = value < self.best - min_delta
        else:
            better = value > self.best + min_delta
        if better:
            self.best, self.step, self.bad = value, step, 0
        else:
            self.bad += 1
        return better
