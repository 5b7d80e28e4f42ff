"""Pictures of a segmentation: the ethogram, durations against their laws, and the transitions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.behaviour.scores import durations
from tcnzoo.behaviour.segmenting import Segmentation
from tcnzoo.errors import InputError
from tcnzoo.files.figures import check_figure
from tcnzoo.inference.hsmm.tables import Tables
from tcnzoo.training.charts import GREY, plain, sheet, write_figure

# Okabe & Ito's palette and Paul Tol's muted one, which colour-blind readers can tell apart.
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288",
    "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
)  # fmt: skip
# Lines of a signal that are drawn, the liveliest ones, and points across the picture.
_LINES, _POINTS = 6, 4000


def colour(state: int) -> str:
    """That of a state, the same in every picture."""
    return COLOURS[state % len(COLOURS)]


def ethogram(
    path: Path,
    signal: Array,
    found: Segmentation,
    *,
    rate: float | None = None,
    truth: Array | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw the signal, the states over time, their probability, and the truth where it is known.

    Args:
        path: .png.
        signal: (channels, time) or (channels, devices, time); its liveliest lines are drawn.
        found: by `segment`.
        rate: steps a second; None for an axis in steps.
        truth: labels (time,), drawn below the states.
        names: of the labels.
        title: above everything.
    Raises:
        InputError: another ending than .png.
        BackendMissing: matplotlib is not installed.
    """
    check_figure(path)
    used = np.flatnonzero(np.bincount(found.path, minlength=len(found.posterior)))
    heights = (3.0, 0.22 * len(used) + 0.5, 1.1, *((0.5,) if truth is not None else ()))
    figure = sheet(13.0, 1.3 + sum(heights), title)
    panels = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    time = np.arange(signal.shape[-1]) / (rate or 1.0)
    _signal(panels[0], time, signal.reshape(-1, signal.shape[-1]), found)
    _states(panels[1], time, found, used)
    _probabilities(panels[2], time, found, used)
    if truth is not None:
        _truth(panels[3], time, truth, names)
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel("time (s)" if rate else "time (steps)")
    panels[-1].set_xlim(time[0], time[-1] + (1.0 / rate if rate else 1.0))
    write_figure(path, figure)


def _signal(axes: Any, time: Array, lines: Array, segmentation: Segmentation) -> None:
    """The liveliest lines above each other, on a ground of the states' colours."""
    liveliest = np.sort(np.argsort(-lines.std(axis=1), kind="stable")[:_LINES])
    shown = lines[liveliest] - np.median(lines[liveliest], axis=1, keepdims=True)
    gap = 5.0 * float(np.median(shown.std(axis=1))) or 1.0
    every = max(1, len(time) // _POINTS)
    for row, line in enumerate(shown[::-1]):
        axes.plot(time[::every], line[::every] + row * gap, color="0.2", lw=0.6)
    step = time[1] - time[0] if len(time) > 1 else 1.0
    for segment in segmentation.segments:
        start, stop = time[0] + segment.start * step, time[0] + segment.stop * step
        axes.axvspan(start, stop, color=colour(segment.state), alpha=0.18, lw=0)
    axes.set_yticks(gap * np.arange(len(shown)), [f"line {row}" for row in liveliest[::-1]])
    _style(axes, "Signal")


def _states(axes: Any, time: Array, segmentation: Segmentation, used: Array) -> None:
    """One row for each state that occurs: the ethogram proper."""
    step = time[1] - time[0] if len(time) > 1 else 1.0
    for row, state in enumerate(used[::-1]):
        bars = [
            (time[0] + segment.start * step, (segment.stop - segment.start) * step)
            for segment in segmentation.segments
            if segment.state == state
        ]
        axes.broken_barh(bars, (row - 0.4, 0.8), color=colour(int(state)))
    axes.set_yticks(range(len(used)), [f"state {state}" for state in used[::-1]])
    axes.set_ylim(-0.6, len(used) - 0.4)
    _style(axes, "States")


def _probabilities(axes: Any, time: Array, segmentation: Segmentation, used: Array) -> None:
    """Probabilities of the states that occur, stacked."""
    every = max(1, len(time) // _POINTS)
    axes.stackplot(
        time[::every],
        segmentation.posterior[used][:, ::every],
        colors=[colour(int(state)) for state in used],
        lw=0,
    )
    axes.set_ylim(0.0, 1.0)
    _style(axes, "Probability")


def _truth(axes: Any, time: Array, truth: Array, names: Sequence[str]) -> None:
    """True labels as one row of bars, with their names."""
    step = time[1] - time[0] if len(time) > 1 else 1.0
    edges = [0, *(np.flatnonzero(np.diff(truth)) + 1).tolist(), len(truth)]
    greys = ("0.85", "0.6", "0.35", "0.1")
    labels = np.unique(truth)
    for index, label in enumerate(labels):
        bars = [
            (time[0] + start * step, (stop - start) * step)
            for start, stop in zip(edges[:-1], edges[1:], strict=True)
            if truth[start] == label
        ]
        name = names[label] if label < len(names) else f"label {label}"
        axes.broken_barh(bars, (0.0, 1.0), color=greys[index % len(greys)], label=name)
    axes.set_yticks([])
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.3), frameon=False)
    _style(axes, "Truth")


def duration_histograms(path: Path, found: Segmentation, tables: Tables) -> None:
    """Draw how long the segments of each state lasted, beside the law that was fitted.

    Args:
        path: .png.
        found: by `segment`.
        tables: of the model's hsmm, by `tcnzoo.inference.hsmm.tables.tables_of`.
    Raises:
        InputError: another ending, or no segment that lies whole in the recording.
    """
    check_figure(path)
    lengths = durations(found.path, len(found.posterior))
    used = [state for state, steps in enumerate(lengths) if len(steps)]
    if not used:
        raise InputError("no segment lies whole in the recording, so there are no durations")
    columns = min(3, len(used))
    lines = -(-len(used) // columns)
    figure = sheet(4.2 * columns, 0.6 + 2.4 * lines, "Durations of segments and their laws")
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    longest = tables.durations.shape[1]
    for axes, state in zip(panels, used, strict=False):
        axes.hist(
            lengths[state], bins=np.arange(0.5, longest + 1, max(1, longest // 25)),
            density=True, color=colour(state), alpha=0.55,
        )  # fmt: skip
        law = np.exp(tables.durations[state])
        axes.plot(np.arange(1, longest + 1), law, color="black", lw=1.2)
        mean = float(np.exp(tables.log_mean[state]))
        _style(axes, f"state {state}: {len(lengths[state])} segments, law's mean {mean:.1f} steps")
    for axes in panels[len(used) :]:
        axes.set_visible(False)
    figure.supxlabel("duration (steps)")
    write_figure(path, figure)


def transition_graph(path: Path, found: Segmentation) -> None:
    """Draw the states on a circle, with an arrow for each change, as thick as it is frequent.

    Args:
        path: .png.
        found: by `segment`; a state's disc is as large as its share of the time.
    Raises:
        InputError: another ending than .png.
    """
    check_figure(path)
    states = len(found.posterior)
    counts = np.zeros((states, states), dtype=np.int64)
    order = [segment.state for segment in found.segments]
    np.add.at(counts, (order[:-1], order[1:]), 1)
    share = np.bincount(found.path, minlength=states) / len(found.path)
    used = np.flatnonzero(share)
    turn = 2 * np.pi * np.arange(len(used)) / max(len(used), 1) + np.pi / 2
    places = dict(zip(used.tolist(), np.stack([np.cos(turn), np.sin(turn)], 1), strict=True))
    figure = sheet(7.0, 7.0, "Changes of state, as shares of those that leave each state")
    axes = figure.subplots()
    for before in used:
        left = counts[before].sum()
        for after in np.flatnonzero(counts[before]):
            _arrow(axes, places[int(before)], places[int(after)], counts[before, after] / left)
    for state, position in places.items():
        axes.scatter(*position, s=500 + 6000 * share[state], color=colour(state), zorder=3)
        text = f"{state}\n{share[state]:.0%}"
        axes.text(*position, text, ha="center", va="center", zorder=4, fontweight="bold")
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.5, 1.5)
    axes.set_aspect("equal")
    axes.axis("off")
    write_figure(path, figure)


def _arrow(axes: Any, start: Array, stop: Array, share: float) -> None:
    """A bent arrow with its share beside it."""
    axes.annotate(
        "", xy=stop, xytext=start, zorder=2,
        arrowprops={
            "arrowstyle": "-|>", "color": GREY, "lw": 0.6 + 4.0 * share,
            "shrinkA": 26, "shrinkB": 30, "connectionstyle": "arc3,rad=0.18",
        },
    )  # fmt: skip
    across = np.array([stop[1] - start[1], start[0] - stop[0]])
    middle = (start + stop) / 2 + 0.13 * across
    axes.text(*middle, f"{share:.0%}", fontsize=8, ha="center", va="center", zorder=4)


def _style(axes: Any, title: str) -> None:
    """Title at the left, and no more lines than needed."""
    axes.set_title(title, loc="left", fontsize=10)
    plain(axes)
