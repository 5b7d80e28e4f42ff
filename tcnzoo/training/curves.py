"""Loss and metric curves of a run, from its metrics.jsonl."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.training.charts import BLUE, GREY, ORANGE, plain, sheet, write_figure
from tcnzoo.training.logs import METRICS, read_lines

CURVES = "curves.png"
# Fields of a line that are no curves.
PLACES = ("kind", "step", "epoch")
TRAIN, VAL = "train_", "val_"
# Panels come in this order; of others, and of more than fit, the first by name.
FIRST = (
    *("loss", "nll", "accuracy", "sensitivity", "specificity", "f1", "auroc"),
    *("event_sensitivity", "event_false_share", "rate", "gradient_norm"),
)
RATE = "rate"
LAST_PANELS = (RATE, "gradient_norm")
MOST = 12
COLUMNS = 3
# A loss that falls by more than this factor is drawn on a logarithmic axis.
DECADE = 20.0
# Points of a training curve above which its moving mean is drawn over it.
DENSE = 100

Curve = tuple[list[float], list[float]]


def draw_curves(folder: Path) -> Path | None:
    """Draw every number that a run has logged, and write `curves.png` beside its metrics.jsonl.

    A name without prefix, or with `train_`, is of training; one with `val_` is of validation.

    Args:
        folder: of the run.
    Returns:
        the file; None, and no file, where nothing has been logged.
    Raises:
        BackendMissing: matplotlib is not installed.
    """
    curves = read_curves(read_lines(folder / METRICS))
    panels = _panels(curves)
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = sheet(4.2 * columns, 2.9 * lines, "")
    for number, name in enumerate(panels, start=1):
        axes = figure.add_subplot(lines, columns, number)
        _draw(axes, name, curves)
        if number > len(panels) - columns:
            axes.set_xlabel("optimiser step")
    path = folder / CURVES
    write_figure(path, figure)
    return path


def read_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Steps and values of each name; only finite numbers."""
    curves: dict[str, Curve] = {}
    for line in lines:
        for name, value in line.items():
            if name in PLACES or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(line["step"]))
                values.append(float(value))
    return curves


def _base(name: str) -> str:
    """A name without the prefix `train_` or `val_`."""
    return name.removeprefix(TRAIN).removeprefix(VAL)


def _is_loss_again(name: str, curves: Mapping[str, Curve]) -> bool:
    """Whether a curve equals that of the loss, because the run has a single loss."""
    prefix = next((part for part in (TRAIN, VAL) if name.startswith(part)), "")
    return _base(name) != "loss" and curves[name] == curves.get(f"{prefix}loss")


def _panels(curves: Mapping[str, Curve]) -> list[str]:
    """Names of the panels, the loss first, rate and gradient last."""
    bases = {_base(name) for name in curves if not _is_loss_again(name, curves)}
    ordered = [name for name in FIRST if name in bases and name not in LAST_PANELS]
    ordered += sorted(bases - set(FIRST))
    last = [name for name in LAST_PANELS if name in bases]
    return ordered[: MOST - len(last)] + last


def _draw(axes: Any, name: str, curves: Mapping[str, Curve]) -> None:
    """One panel: training and validation of one number."""
    plain(axes)
    axes.set_title(name.replace("_", " "), loc="left", fontsize=10)
    train = name if name in curves else TRAIN + name
    shown = {train: (BLUE, "training"), VAL + name: (ORANGE, "validation")}
    series = {key: look for key, look in shown.items() if key in curves}
    for key, (colour, label) in series.items():
        _draw_curve(axes, curves[key], colour, label, smoothed=key == name and name != RATE)
    values = np.concatenate([np.array(curves[key][1]) for key in series])
    if values.min() > 0.0 and values.max() > DECADE * values.min():
        axes.set_yscale("log")
    elif np.ptp(values) <= 1e-6 * abs(values).max():
        axes.set_ylim(sorted((0.0, 2.0 * values[0])) if values[0] else (-1.0, 1.0))
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8)


def _draw_curve(axes: Any, curve: Curve, colour: str, label: str, smoothed: bool) -> None:
    """One curve; a dense one that is to be smoothed is faint, below its moving mean."""
    steps, values = np.array(curve[0]), np.array(curve[1])
    if smoothed and len(values) > DENSE:
        axes.plot(steps, values, color=GREY, linewidth=0.5, alpha=0.6)
        width = max(2, len(values) // 50)
        sums = np.cumsum(np.insert(values, 0, 0.0))
        values = (sums[width:] - sums[:-width]) / width
        steps = steps[width - 1 :]
    points = "o" if len(values) <= 40 else ""
    axes.plot(steps, values, points + "-", color=colour, linewidth=1.4, markersize=3, label=label)
