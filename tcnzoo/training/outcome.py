"""The result of a training run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcnzoo.training.progress import Progress
from tcnzoo.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Outcome:
    """The result of a training run.

    Attributes:
        directory: of the run.
        steps: optimiser steps taken, in all sessions.
        epochs: completed ones.
        ended: `finished` or `stopped early`.
        seconds: of training, in all sessions.
        metrics: of the last evaluation.
        best: value of the metric that the best checkpoint goes by, or None.
        best_step: optimiser steps that it had taken.
        report: of the best checkpoint on test data; empty without test data.
        model: the native module, with the last weights.
    """

    directory: Path
    steps: int
    epochs: int
    ended: str
    seconds: float
    metrics: dict[str, float | None]
    best: float | None
    best_step: int
    report: dict[str, Any] = field(default_factory=dict)
    model: Any = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the model, as plain values."""
        plain = {name: value for name, value in vars(self).items() if name != "model"}
        return plain | {"directory": str(self.directory)}

    @classmethod
    def of(
        cls, directory: RunDirectory, model: Any, progress: Progress, report: dict[str, Any]
    ) -> "Outcome":
        """The result of a run that has ended."""
        return cls(
            directory=directory.folder,
            steps=progress.step,
            epochs=progress.epoch,
            ended=progress.ended or "",
            seconds=progress.seconds,
            metrics=progress.metrics,
            best=progress.best.best,
            best_step=progress.best.step,
            report=report,
            model=model,
        )
