"""The loop: it owns order, schedule, stopping, logs and files; a backend takes the steps."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcnzoo.models.calls import get_weights
from tcnzoo.training.batches import Batches, Step
from tcnzoo.training.config import TrainConfig
from tcnzoo.training.failing import check_finite, check_losses, check_tensors, not_finite
from tcnzoo.training.freezing import frozen_in
from tcnzoo.training.logs import Log
from tcnzoo.training.metric_names import best_by
from tcnzoo.training.prefetch import prefetched
from tcnzoo.training.progress import Progress
from tcnzoo.training.run import Run
from tcnzoo.training.schedule import Plateau
from tcnzoo.training.stepper import Stepper, world_of


@dataclass
class Loop:
    """A run that is going on.

    Attributes:
        config: of the run.
        run: its directory.
        model: native module.
        stepper: of the model, with what this epoch freezes frozen.
        batches: of the train part.
        validate: gives numbers of the model on what is set aside; None where nothing is.
        progress: where the run stands; changed as it goes on.
        trial: optimiser steps to stop after, as if they were all; None for the whole run.
        logs: what takes numbers down; none in processes after the first.
        total: optimiser steps of the whole run.
    """

    config: TrainConfig
    run: Run
    model: Any
    stepper: Stepper
    batches: Batches
    validate: Callable[[], Mapping[str, float]] | None
    progress: Progress
    trial: int | None = None
    logs: Sequence[Log] = ()
    total: int = field(init=False)
    _pending: tuple[Step, Mapping[str, Any], float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Count the steps of the run, and hold the configuration against model and data.

        Raises:
            InputError: a schedule that is longer than the run.
        """
        told = self.config.training
        self.total = told.steps or (told.epochs or 0) * self.batches.in_epoch
        told.schedule.check(self.total)
        self._frozen = self._rests()
        self._allowed = not_finite(get_weights(self.model))
        self._begin = time.perf_counter()

    def go(self) -> None:
        """Train to the end.

        Raises:
            InputError: a loss, gradients, weights or moments that are not finite.
        """
        if self.progress.step < self.end and self.progress.ended == "finished":
            self.progress.ended = None  # it has been made longer
        while self.progress.ended is None:
            if self.progress.step < self.end:
                self._epoch()
            else:
                self.progress.ended = "finished"
                self._save(best=False)

    @property
    def end(self) -> int:
        """The step that is the last."""
        return self.total if self.trial is None else min(self.trial, self.total)

    def _epoch(self) -> None:
        """Take the rest of an epoch's steps."""
        progress = self.progress
        self._freeze()
        with prefetched(self.batches.of(progress.epoch, progress.position)) as steps:
            for step in steps:
                self._step(step)
                over = progress.position == self.batches.in_epoch
                self._after(over, progress.step == self.end)
                if progress.ended is not None or progress.step == self.end:
                    return

    def _rests(self) -> frozenset[str]:
        """What is frozen in this epoch."""
        return frozen_in(self.config.training, self.model.tcnzoo.params, self.progress.epoch)

    def _freeze(self) -> None:
        """Freeze and thaw as the epoch wants it."""
        wanted = self._rests()
        if wanted != self._frozen:
            self.stepper.freeze(wanted)
            self._frozen = wanted

    def _step(self, step: Step) -> None:
        """Take a step, and take in what the one before came to, which may have run meanwhile."""
        config, progress = self.config, self.progress
        factor = config.training.schedule.at(progress.step, self.total)
        rate = config.optimizer.lr * factor * progress.plateau.factor
        seed = np.random.SeedSequence([config.seed, progress.step, world_of(self.stepper).rank])
        values = self.stepper.step(step.batches, rate, int(seed.generate_state(1)[0]))
        self._settle()
        self._pending = (step, values, rate)
        progress.step += 1
        progress.position += 1

    def _settle(self) -> None:
        """Fetch the numbers of the step that is under way."""
        if self._pending is None:
            return
        step, native, rate = self._pending
        self._pending = None
        progress = self.progress
        # Called while the next step is under way, or before anything is done with this one's.
        number = progress.step
        values = check_finite(
            native,
            step,
            number,
            progress.epoch,
            self.run.folder,
            world_of(self.stepper).rank,
            self.config.training.precision,
        )
        progress.loss_sum += values["loss"] * step.examples
        progress.examples += step.examples
        if number % self.config.training.log_every == 0:
            self._log("step", {**values, "rate": rate})

    def _log(self, kind: str, values: Mapping[str, float | None]) -> None:
        """Take numbers down."""
        for log in self.logs:
            log.write(kind, self.progress.step, self.progress.epoch, values)

    def _after(self, over: bool, last: bool) -> None:
        """Evaluate and save, where it is time to."""
        told, progress = self.config.training, self.progress
        every = told.evaluate_every
        due = over if every is None else progress.step % every == 0
        better = False
        if due or last:
            self._settle()
            better = self._evaluate()
        steps = told.checkpoint.every_steps
        save = better or last or progress.ended is not None
        save |= steps is not None and progress.step % steps == 0
        if over:
            self._settle()
            progress.next_epoch()
            save |= progress.epoch % told.checkpoint.every == 0
        if save:
            self._settle()
            if last and progress.ended is None:
                progress.ended = "finished"
            self._save(better)

    def _evaluate(self) -> bool:
        """Evaluate, and take it into account; return whether the model is the best so far."""
        progress, told = self.progress, self.config.training
        values: dict[str, float] = {"train_loss": progress.train_loss}
        if self.validate is not None:
            values |= {f"val_{name}": value for name, value in self.validate().items()}
        agreed = world_of(self.stepper).agree(list(values.values()))
        values = dict(zip(values, agreed, strict=True))
        check_losses(values, progress.step)
        progress.metrics = dict(values)
        self._log("evaluation", values)
        if isinstance(told.schedule, Plateau):
            value = values.get(told.schedule.metric, math.nan)
            progress.plateau.seen(told.schedule, value)
        stop = told.early_stopping
        if stop is not None:
            value = values.get(stop.metric, math.nan)
            progress.patience.seen(value, progress.step, stop.mode, stop.min_delta)
            if progress.patience.bad >= stop.patience:
                progress.ended = "stopped early"
        name, mode = best_by(told, self.validate is not None)
        return progress.best.seen(values.get(name, math.nan), progress.step, mode)

    def _save(self, best: bool) -> None:
        """Write a checkpoint, in the first process, of what all processes hold together."""
        now = time.perf_counter()
        self.progress.seconds += now - self._begin
        self._begin = now
        spec, weights = self.model.tcnzoo.spec, get_weights(self.model)
        state = self.stepper.state()
        check_tensors(weights, state, self.progress.step, self._allowed)
        if world_of(self.stepper).rank == 0:
            self.run.checkpoints.save(spec, weights, state, self.progress, best)
