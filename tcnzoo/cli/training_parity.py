"""`tcnzoo parity --train N`: backends that take the same steps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from tcnzoo.cli import console
from tcnzoo.errors import InputError

# Steps that the table shows; JSON has them all.
SHOWN = 12


class Precision(StrEnum):
    """Of weights and arithmetic."""

    SINGLE = "32-true"
    DOUBLE = "64-true"


@dataclass(frozen=True)
class Asked:
    """Options of a training parity.

    Attributes:
        optimizer, schedule: a kind, or a configuration as YAML.
    """

    steps: int
    optimizer: str
    schedule: str
    clip_norm: float | None
    clip_value: float | None
    precision: Precision
    batch_size: int

    def check(self) -> None:
        """Refuse options that could not be trained with, before any framework is imported."""
        from tcnzoo.training.parity import check_options

        check_options(
            _option_value("--optimizer", self.optimizer),
            _option_value("--schedule", self.schedule),
            self.steps,
            self.clip_norm,
            self.clip_value,
        )


def show_training(
    title: str,
    subject: Any,
    backends: list[str] | None,
    asked: Asked,
    *,
    input_length: int | None,
    seed: int,
    as_json: bool,
) -> bool:
    """Compare how backends train, print it, and return whether they agree.

    Args:
        title: what the user calls the model.
        subject: the model itself.
    """
    from tcnzoo.training.parity import training_parity

    with console.working("starting") as tell:
        report = training_parity(
            subject,
            asked.steps,
            backends,
            optimizer=_option_value("--optimizer", asked.optimizer),
            schedule=_option_value("--schedule", asked.schedule),
            clip_norm=asked.clip_norm,
            clip_value=asked.clip_value,
            precision=asked.precision.value,
            batch_size=asked.batch_size,
            input_length=input_length,
            seed=seed,
            progress=tell,
        )
    if as_json:
        console.show_json({**report.to_dict(), "subject": title})
    else:
        _show(title, report)
    return report.passed


def _option_value(option: str, text: str) -> Any:
    """A kind, or fields."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, str | dict):
        raise InputError(f"{option} takes a kind or {{kind: ..., ...}}, but got {text!r}")
    return value


def _show(title: str, report: Any) -> None:
    """Print losses, errors, and what diverges first."""
    shape = " x ".join(str(size) for size in report.input_shape)
    others = report.rows[1:]
    first = report.rows[0].backend
    names = [row.backend for row in others] + ["1 rounding"]
    measured = [*others, report.yardstick]
    headings = {"step": "right", f"loss, {first}": "right"} | dict.fromkeys(names, "right")
    table = [
        (
            step + 1,
            f"{loss:.6g}",
            *(console.error_text(_gap(row.losses[step], loss)) for row in measured),
        )
        for step, loss in enumerate(report.rows[0].losses)
        if step in _shown(report.steps)
    ]
    kind, rate = report.optimizer["kind"], report.optimizer["lr"]
    setting = f"{report.precision}, {kind} at {rate:g}"
    console.table(headings, table, f"{title}: input {shape}, {setting}")
    console.show()
    headings = {"against " + first: "left", "losses": "right", "weights": "right"}
    headings |= {"statistics": "right", "of the way": "right", "": "left"}
    errors = [
        (
            name,
            console.error_text(row.loss_error),
            console.error_text(row.weight_error),
            console.error_text(row.statistic_error),
            console.error_text(row.way_error),
            console.mark(row.passed) if row is not report.yardstick else "yardstick",
        )
        for name, row in zip(names, measured, strict=True)
    ]
    console.table(headings, errors, f"after {report.steps} steps, tolerance {report.tolerance:g}")
    for row in others:
        if row.parameter is not None:
            console.show(f"{row.backend}: {row.parameter} diverges first, after step {row.step}")
    if not report.passed and not report.yardstick.passed:
        console.show(
            f"{first} itself drifts as far when its weights are off by one rounding: at this rate "
            f"{report.precision} cannot tell more; --precision 64-true, or a smaller lr, can"
        )


def _gap(loss: float, expected: float) -> float:
    """Relative difference of two losses."""
    return abs(loss - expected) / max(abs(expected), 1e-30)


def _shown(steps: int) -> set[int]:
    """Numbers of the steps to show, from 0: evenly spread, the first and last among them."""
    count = min(steps, SHOWN)
    return {round(index * (steps - 1) / max(count - 1, 1)) for index in range(count)}
