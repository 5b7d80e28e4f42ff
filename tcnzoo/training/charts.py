"""Figures as .png files: one look for all of them."""

from pathlib import Path
from typing import Any

from tcnzoo.files.atomic import replacing
from tcnzoo.training.needs import needed

# Okabe & Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999"
DOTS_PER_INCH = 120


def sheet(width: float, height: float, title: str) -> Any:
    """An empty figure with a title.

    Args:
        width, height: in inches.
        title: above everything; empty for none.
    Raises:
        BackendMissing: matplotlib is not installed.
    """
    agg = needed("matplotlib.backends.backend_agg", "drawing figures")
    figures = needed("matplotlib.figure", "drawing figures")
    figure = figures.Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    agg.FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontweight="bold")
    return figure


def plain(axes: Any) -> None:
    """A panel with two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def write_figure(path: Path, figure: Any) -> None:
    """Write a .png file, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
