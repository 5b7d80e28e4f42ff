"""The progress of a run on a terminal."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Numbers of an evaluation that fit into a line.
MOST = 5


class Display:
    """A log on stderr: a bar of optimiser steps, and a line for each evaluation."""

    def __init__(self, total: int, done: int, notes: Iterable[str] = ()) -> None:
        """Show `notes`, and a bar: `total` steps of the run, and those that have been taken."""
        self.console = Console(stderr=True, highlight=False, markup=False)
        columns = TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn()
        loss = TextColumn("loss {task.fields[loss]}")
        self.bar = Progress(*columns, loss, TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task("", total=total, completed=done, epoch=0, loss="-")
        for note in notes:
            self.console.print(note)
        self.bar.start()

    def write(self, kind: str, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Advance the bar, and print the first numbers of an evaluation."""
        self.bar.update(self.task, completed=step, epoch=epoch)
        if kind == "step":
            self.bar.update(self.task, loss=f"{values['loss']:.4g}")
            return
        shown = [f"{name} {value:.4g}" for name, value in values.items() if value is not None]
        self.console.print(f"step {step}, epoch {epoch}: {', '.join(shown[:MOST])}")

    def close(self) -> None:
        """Stop the bar where it is."""
        self.bar.stop()
