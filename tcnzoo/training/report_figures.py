"""The figures of a test report: the confusion, and the scores at each threshold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.training.charts import BLUE, GREEN, GREY, ORANGE, plain, sheet, write_figure
from tcnzoo.training.event_metrics import EventScores

# Classes above which the cells of a confusion carry no numbers.
READABLE = 12
LINE = np.linspace(0.0, 1.0, 201)


def draw_confusion(path: Path, table: Array, classes: Sequence[str], title: str) -> None:
    """Write a confusion matrix: counts, and colours by the share of each true class.

    Args:
        path: .png to write.
        table: (true, predicted) counts.
        classes: their names.
        title: above it.
    """
    count = len(classes)
    size = max(3.6, min(9.0, 1.1 * count + 1.6))
    figure = sheet(size + 0.8, size, title)
    axes = figure.add_subplot()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    axes.set_xticks(range(count), classes, rotation=45 if max(map(len, classes)) > READABLE else 0)
    axes.set_yticks(range(count), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row in range(count if count <= READABLE else 0):
        for column in range(count):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{table[row, column]:,}\n{share:.1%}",
                ha="center",
                va="center",
                color="white" if share > 0.55 else "black",
            )
    write_figure(path, figure)


def draw_thresholds(
    path: Path,
    labels: Array,
    positive: Array,
    operations: Sequence[Mapping[str, Any]],
    events: EventScores | None,
    classes: Sequence[str],
    title: str,
) -> None:
    """Write the scores of windows at each threshold, and of events if there are any.

    Args:
        path: .png to write.
        labels: (n,), 0 or 1.
        positive: (n,), probability of class 1.
        operations: of `scores.sweep`.
        events: scores of events, or None.
        classes: names of the two.
        title: above it.
    """
    panels = 3 if events is not None else 2
    figure = sheet(4.2 * panels, 3.6, title)
    _distribution(figure.add_subplot(1, panels, 1), labels, positive, classes)
    _sweep(figure.add_subplot(1, panels, 2), operations)
    if events is not None:
        _events(figure.add_subplot(1, panels, 3), events)
    write_figure(path, figure)


def _distribution(axes: Any, labels: Array, positive: Array, classes: Sequence[str]) -> None:
    """Histograms of the probability, for each true class."""
    plain(axes)
    edges = np.linspace(0.0, 1.0, 26)
    for value, colour in ((0, GREY), (1, ORANGE)):
        chosen = positive[labels == value]
        if chosen.size:
            weights = np.full(chosen.size, 1.0 / chosen.size)
            axes.hist(
                chosen, edges, weights=weights, color=colour, alpha=0.65, label=classes[value]
            )
    axes.set_yscale("log")
    axes.set_xlabel(f"probability of {classes[1]}")
    axes.set_ylabel("share of the class")
    axes.set_title("distribution", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _sweep(axes: Any, operations: Sequence[Mapping[str, Any]]) -> None:
    """Measures against the threshold."""
    plain(axes)
    thresholds = [row["threshold"] for row in operations]
    for name, colour in (
        ("sensitivity", ORANGE),
        ("specificity", BLUE),
        ("precision", GREY),
        ("f1", GREEN),
    ):
        values = [np.nan if row[name] is None else row[name] for row in operations]
        axes.plot(thresholds, values, color=colour, label=name, linewidth=1.4)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("threshold")
    axes.set_title("windows", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _events(axes: Any, events: EventScores) -> None:
    """Event sensitivity, and false alarms in a share or an hour."""
    plain(axes)
    operations = [events.at(threshold) for threshold in LINE]
    hourly = events.hours is not None
    name = "false_per_hour" if hourly else "false_share"
    sensitivities = [_number(operation.sensitivity) for operation in operations]
    axes.plot(LINE, sensitivities, color=ORANGE, linewidth=1.4, label="sensitivity")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("threshold")
    axes.set_ylabel("events found", color=ORANGE)
    axes.set_title("events", loc="left", fontsize=10)
    twin = axes.twinx()
    twin.spines["top"].set_visible(False)
    twin.plot(
        LINE,
        [_number(getattr(operation, name)) for operation in operations],
        color=BLUE,
        linewidth=1.4,
    )
    twin.set_ylabel("false alarms per hour" if hourly else "other events alarmed", color=BLUE)
    twin.set_ylim(bottom=0.0)


def _number(value: float | None) -> float:
    """NaN, a gap in the line, for None."""
    return np.nan if value is None else value
