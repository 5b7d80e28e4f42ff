"""The training loop: order, schedule, stopping, logs and files; a backend takes the steps."""

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
from tcnzoo.training.run_directory import RunDirectory
from tcnzoo.training.schedule import Plateau
from tcnzoo.training.stepper import Stepper


@dataclass(frozen=True)
class Due:
    """What to do after an optimiser step.

    Attributes:
        evaluate: evaluate the model.
        close_epoch: the epoch is over.
        save: write a checkpoint, also where no evaluation asks for one.
        last: this was the last step of the run.
    """

    evaluate: bool
    close_epoch: bool
    save: bool
    last: bool


@dataclass
class Loop:
    """A run in progress.

    Attributes:
        config: of the run.
        directory: of the run.
        model: native module.
        stepper: of the model, with what this epoch freezes frozen.
        batches: of the train part.
        validate: returns losses and metrics on the validation data; None without such data.
        progress: of the run; updated in place.
        trial: optimiser steps of a trial run; None for the whole run.
        logs: of steps and evaluations; empty in processes after the first.
        total: optimiser steps of the whole run.
    """

    config: TrainConfig
    directory: RunDirectory
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
        """Count the steps of the run.

        Raises:
            InputError: a schedule that is longer than the run.
        """
        training = self.config.training
        self.total = training.steps or (training.epochs or 0) * self.batches.in_epoch
        training.schedule.check(self.total)
        self._frozen = self._frozen_now()
        self._allowed = not_finite(get_weights(self.model))
        self._begin = time.perf_counter()

    def run(self) -> None:
        """Train to the end.

        Raises:
            InputError: a loss, gradients, weights or moments that are not finite.
        """
        if self.progress.step < self.end and self.progress.ended == "finished":
            self.progress.ended = None  # the run has been made longer
        while self.progress.ended is None:
            if self.progress.step < self.end:
                self._epoch()
            else:
                self.progress.ended = "finished"
                self._save(best=False)

    @property
    def end(self) -> int:
        """Number of the last step."""
        return self.total if self.trial is None else min(self.trial, self.total)

    def _epoch(self) -> None:
        """Take the rest of an epoch's steps."""
        progress = self.progress
        self._freeze()
        with prefetched(self.batches.of(progress.epoch, progress.position)) as steps:
            for step in steps:
                self._step(step)
                self._follow_up(self._due())
                if progress.ended is not None or progress.step == self.end:
                    return

    def _frozen_now(self) -> frozenset[str]:
        """Names of the parameters that are frozen in this epoch."""
        return frozen_in(self.config.training, self.model.tcnzoo.params, self.progress.epoch)

    def _freeze(self) -> None:
        """Freeze what is frozen in this epoch, and train the rest."""
        frozen = self._frozen_now()
        if frozen != self._frozen:
            self.stepper.freeze(frozen)
            self._frozen = frozen

    def _step(self, step: Step) -> None:
        """Start a step, then fetch the numbers of the one before, which may have run meanwhile."""
        config, progress = self.config, self.progress
        factor = config.training.schedule.at(progress.step, self.total)
        rate = config.optimizer.lr * factor * progress.plateau.factor
        seed = np.random.SeedSequence([config.seed, progress.step, self.stepper.world.rank])
        values = self.stepper.step(step.batches, rate, int(seed.generate_state(1)[0]))
        self._fetch_pending()
        self._pending = (step, values, rate)
        progress.step += 1
        progress.position += 1

    def _fetch_pending(self) -> None:
        """Fetch the numbers of the step that is under way; they count towards its epoch."""
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
            self.directory.folder,
            self.stepper.world.rank,
            self.config.training.precision,
        )
        progress.loss_sum += values["loss"] * step.examples
        progress.examples += step.examples
        if number % self.config.training.log_every == 0:
            self._log("step", {**values, "rate": rate})

    def _log(self, kind: str, values: Mapping[str, float | None]) -> None:
        """Write numbers to every log."""
        for log in self.logs:
            log.write(kind, self.progress.step, self.progress.epoch, values)

    def _due(self) -> Due:
        """What to do after the step that was just taken."""
        training, progress = self.config.training, self.progress
        last = progress.step == self.end
        close_epoch = progress.position == self.batches.in_epoch
        every, every_steps = training.evaluate_every, training.checkpoint.every_steps
        save = last or (every_steps is not None and progress.step % every_steps == 0)
        if close_epoch:
            save |= (progress.epoch + 1) % training.checkpoint.every == 0
        evaluate = close_epoch if every is None else progress.step % every == 0
        return Due(evaluate or last, close_epoch, save, last)

    def _follow_up(self, due: Due) -> None:
        """Evaluate, close the epoch and save a checkpoint, in this order, as far as it is due."""
        if not (due.evaluate or due.close_epoch or due.save):
            return
        # First of all: the mean loss of this epoch has the step, and a loss of NaN ends the run.
        self._fetch_pending()
        best = due.evaluate and self._evaluate()
        if due.close_epoch:
            self.progress.next_epoch()
        if due.save or best or self.progress.ended is not None:
            if due.last and self.progress.ended is None:
                self.progress.ended = "finished"
            self._save(best)

    def _evaluate(self) -> bool:
        """Evaluate, update schedule and stopping; return whether the model is the best so far."""
        progress, training = self.progress, self.config.training
        values: dict[str, float] = {"train_loss": progress.train_loss}
        if self.validate is not None:
            values |= {f"val_{name}": value for name, value in self.validate().items()}
        agreed = self.stepper.world.agree(list(values.values()))
        values = dict(zip(values, agreed, strict=True))
        check_losses(values, progress.step)
        progress.metrics = dict(values)
        self._log("evaluation", values)
        if isinstance(training.schedule, Plateau):
            value = values.get(training.schedule.metric, math.nan)
            progress.plateau.seen(training.schedule, value)
        stop = training.early_stopping
        if stop is not None:
            value = values.get(stop.metric, math.nan)
            progress.patience.seen(value, progress.step, stop.mode, stop.min_delta)
            if progress.patience.bad >= stop.patience:
                progress.ended = "stopped early"
        name, mode = best_by(training, self.validate is not None)
        return progress.best.seen(values.get(name, math.nan), progress.step, mode)

    def _save(self, best: bool) -> None:
        """Collect weights and state from all processes; the first one writes the checkpoint."""
        now = time.perf_counter()
        self.progress.seconds += now - self._begin
        self._begin = now
        spec, weights = self.model.tcnzoo.spec, get_weights(self.model)
        state = self.stepper.state()
        check_tensors(weights, state, self.progress.step, self._allowed)
        if self.stepper.world.rank == 0:
            self.directory.checkpoints.save(spec, weights, state, self.progress, best)
