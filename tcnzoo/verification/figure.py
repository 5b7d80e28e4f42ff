"""The chart of a comparison: bars for each measure, relative to the first model."""

from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import replacing
from tcnzoo.files.figures import check_figure
from tcnzoo.verification.compare import ComparisonTable, Row

# Okabe & Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#666666", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
# Label -> attribute of Row; the times are those of the table, relative already.
MEASURES = {
    "parameters": "parameters",
    "multiply-\naccumulates": "macs",
    "kept for\nbackward": "activations",
    "peak memory,\ntraining": "training_memory",
    "forward\ntime": "forward_ratio",
    "training\nstep time": "training_ratio",
}


def draw_comparison(path: Path, comparison: ComparisonTable) -> None:
    """Write the chart as a .png file.

    Args:
        path: of the file.
        found: what was measured.
    Raises:
        InputError: another ending, or a place where nothing can be written.
        BackendMissing: matplotlib is not installed.
    """
    check_figure(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row.form, row.backend) for row in comparison.rows))
    figure = Figure(figsize=(10, 3.4 * len(panels)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    shape = " x ".join(map(str, comparison.input_shape))
    figure.suptitle(f"Relative to {comparison.rows[0].model}; input {shape}", fontweight="bold")
    for index, panel in enumerate(panels):
        measured = [row for row in comparison.rows if (row.form, row.backend) == panel]
        axes = figure.add_subplot(len(panels), 1, index + 1)
        axes.set_title(", ".join(panel), loc="left")
        _draw_bars(axes, measured)
        if index == 0:
            axes.legend(frameon=False, ncols=len(measured), loc="upper right")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_bars(axes: Any, measured: list[Row]) -> None:
    """One group of bars for each measure that the backend has."""
    first = measured[0]
    measures = {label: name for label, name in MEASURES.items() if getattr(first, name)}
    width = 0.8 / len(measured)
    for index, row in enumerate(measured):
        shares = [getattr(row, name) / getattr(first, name) for name in measures.values()]
        offset = (index - (len(measured) - 1) / 2) * width
        bars = axes.bar(
            [group + offset for group in range(len(shares))],
            shares,
            width,
            label=row.model,
            color=COLOURS[index % len(COLOURS)],
        )
        axes.bar_label(bars, [f"{share:.2f}" for share in shares], fontsize=7)
    axes.axhline(1.0, color="#999999", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(measures)), list(measures))
    axes.set_yscale("log")
    axes.margins(y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
