"""Progress of a run: with weights and optimiser state, all that a resumed run needs."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tcnzoo.errors import WeightError
from tcnzoo.training.schedule import PlateauState
from tcnzoo.training.stopping import Watch

VERSION = 1

Count = Annotated[int, Field(ge=0)]


class Progress(BaseModel):
    """The fields of `progress.json`.

    Data order, augmentation and dropout follow from the seed and these numbers, so that no
    generator has to be kept.

    Attributes:
        epoch: completed epochs.
        position: optimiser steps taken in the epoch after them.
        step: optimiser steps in all.
        loss_sum: sum of the loss over the examples of this epoch so far.
        examples: number of these examples.
        seconds: that the run has taken, in all sessions.
        plateau: of the schedule.
        best: of the metric that the best checkpoint goes by.
        patience: of the metric of early stopping.
        metrics: of the last evaluation.
        ended: why the run is over, None before its end.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    epoch: Count = 0
    position: Count = 0
    step: Count = 0
    loss_sum: float = 0.0
    examples: Count = 0
    seconds: float = 0.0
    plateau: PlateauState = Field(default_factory=PlateauState)
    best: Watch = Field(default_factory=Watch)
    patience: Watch = Field(default_factory=Watch)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    ended: Literal["finished", "stopped early"] | None = None

    @property
    def train_loss(self) -> float:
        """Mean over the examples of this epoch so far."""
        return self.loss_sum / max(self.examples, 1)

    def next_epoch(self) -> None:
        """Close an epoch."""
        self.epoch, self.position = self.epoch + 1, 0
        self.loss_sum, self.examples = 0.0, 0


def read_progress(text: str, source: str) -> Progress:
    """Read the text of a `progress.json` back.

    Raises:
        WeightError: no such document, or one of another version.
    """
    try:
        return Progress.model_validate_json(text)
    except ValidationError as error:
        problem: Any = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise WeightError(
            f"{source} is not the progress of a run (version {VERSION}): "
            f"{where + ': ' if where else ''}{problem['msg']}"
        ) from None
