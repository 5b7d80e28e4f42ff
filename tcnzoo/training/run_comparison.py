"""Several runs: how far their numbers differ, and one picture of their curves."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.errors import InputError, suggestion
from tcnzoo.training.charts import BLUE, GREEN, GREY, ORANGE, PINK, plain, sheet, write_figure
from tcnzoo.training.config import CONFIG, load_config
from tcnzoo.training.curves import COLUMNS, DECADE, Curve, read_curves
from tcnzoo.training.logs import METRICS, read_lines

DEFAULT = ("loss", "val_loss")
# Points of a curve up to which each is marked.
FEW = 40
COLOURS = (BLUE, ORANGE, GREEN, PINK, GREY)
# Later runs are drawn in shorter dashes over earlier ones, so that equal curves are all seen.
DASHES = ("-", (0, (6, 3)), (0, (2, 2)), (0, (1, 3)), (0, (1, 5)))


@dataclass(frozen=True)
class RunCurves:
    """Numbers that one run has logged.

    Attributes:
        name: its directory, as it was given.
        backend, precision: of its configuration.
        curves: (steps, values) by the name of the number.
    """

    name: str
    backend: str
    precision: str
    curves: Mapping[str, Curve]


@dataclass(frozen=True)
class Gap:
    """How far one number of a run is from that of the first run.

    Attributes:
        run: name of the run.
        metric: name of the number.
        steps: that both have logged.
        largest: relative difference where it is largest, |a - b| / max(|a|, |b|).
        step: where that is.
        last: values at the last step of both, the first run's and this one's.
    """

    run: str
    metric: str
    steps: int
    largest: float
    step: int
    last: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def read_run(folder: str | os.PathLike[str]) -> RunCurves:
    """Read the directory of a run.

    Raises:
        InputError: no such directory, an invalid configuration, or nothing logged yet.
    """
    path = Path(folder)
    if not (path / CONFIG).is_file():
        raise InputError(f"{str(path)!r} is not the directory of a run: it has no {CONFIG}")
    config = load_config(path)
    curves = read_curves(read_lines(path / METRICS)) if (path / METRICS).is_file() else {}
    if not curves:
        raise InputError(f"the run {str(path)!r} has logged nothing yet")
    return RunCurves(str(folder), config.backend, config.training.precision, curves)


def gaps(runs: Sequence[RunCurves], metrics: Sequence[str] = DEFAULT) -> list[Gap]:
    """Compare every run with the first.

    Args:
        runs: two or more.
        metrics: names of numbers; an unknown one is refused, unless it is a default.
    Raises:
        InputError: fewer runs, a number that is not there, or runs without a step in common.
    """
    if len(runs) < 2:
        raise InputError(f"there is nothing to compare: two runs are needed, but got {len(runs)}")
    first, *others = runs
    return [_gap(first, other, name) for other in others for name in logged(runs, metrics)]


def logged(runs: Sequence[RunCurves], metrics: Sequence[str]) -> list[str]:
    """The metrics, which all runs must have; of the defaults, those that all have.

    Raises:
        InputError: one that a run has not logged.
    """
    common = []
    for name in metrics:
        lacking = [run for run in runs if name not in run.curves]
        if not lacking:
            common.append(name)
        elif tuple(metrics) != DEFAULT:
            known = sorted(lacking[0].curves)
            raise InputError(
                f"the run {lacking[0].name!r} has logged no {name!r}{suggestion(name, known)}"
            )
    if not common:
        raise InputError(f"the runs have none of {', '.join(metrics)} in common")
    return common


def _gap(first: RunCurves, other: RunCurves, metric: str) -> Gap:
    """One number of a run against that of the first."""
    expected, actual = (_by_step(run.curves[metric]) for run in (first, other))
    steps = sorted(expected.keys() & actual.keys())
    if not steps:
        raise InputError(
            f"{first.name!r} and {other.name!r} have logged {metric!r} at no step in common"
        )
    a, b = (np.array([values[step] for step in steps]) for values in (expected, actual))
    sizes = np.maximum(np.abs(a), np.abs(b))
    apart = np.abs(a - b) / np.where(sizes == 0.0, 1.0, sizes)
    worst = int(np.argmax(apart))
    return Gap(
        other.name,
        metric,
        len(steps),
        float(apart[worst]),
        int(steps[worst]),
        (float(a[-1]), float(b[-1])),
    )


def _by_step(curve: Curve) -> dict[float, float]:
    """The values of a curve by their steps."""
    steps, values = curve
    return dict(zip(steps, values, strict=True))


def draw_runs(
    runs: Sequence[RunCurves], path: Path, metrics: Sequence[str] = DEFAULT, title: str = ""
) -> None:
    """Draw the curves of runs over each other, a panel for each number.

    Args:
        runs: one or more; the first ones lie below.
        path: of the .png file.
        metrics: as in `gaps`.
        title: above everything.
    Raises:
        BackendMissing: matplotlib is not installed.
        InputError: as `logged`, or more runs than can be told apart.
    """
    if len(runs) > len(COLOURS):
        raise InputError(f"one picture holds up to {len(COLOURS)} runs, but got {len(runs)}")
    names = logged(runs, metrics)
    columns = min(COLUMNS, len(names))
    figure = sheet(4.8 * columns, 3.2 * -(-len(names) // columns), title)
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(-(-len(names) // columns), columns, number)
        _draw(axes, name, runs)
    write_figure(path, figure)


def _draw(axes: Any, name: str, runs: Sequence[RunCurves]) -> None:
    """One number of all runs."""
    plain(axes)
    axes.set_title(name.replace("_", " "), loc="left", fontsize=10)
    axes.set_xlabel("optimiser step")
    for index, run in enumerate(runs):
        steps, values = run.curves[name]
        axes.plot(
            steps,
            values,
            color=COLOURS[index],
            linestyle=DASHES[index],
            linewidth=1.6,
            marker="o" if len(values) <= FEW else "",
            markersize=3,
            label=f"{run.name} ({run.backend}, {run.precision})",
        )
    whole = np.concatenate([np.array(run.curves[name][1]) for run in runs])
    if whole.min() > 0.0 and whole.max() > DECADE * whole.min():
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
