"""A picture of a channel adapter: what it makes of noise, electrode by electrode, on the head."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcnzoo.errors import InputError
from tcnzoo.files.atomic import replacing
from tcnzoo.files.figures import check_figure
from tcnzoo.specs import ChannelAdapterSpec, Spec
from tcnzoo.specs.channel_adapter import FAR
from tcnzoo.specs.montages import places_of

if TYPE_CHECKING:
    from tcnzoo.arrays import Array

# So many targets of the largest gain are named.
NAMED = 6


def draw_head_map(path: Path, spec: Spec) -> None:
    """Draw the noise gain of each target of a channel adapter, seen from above, as a .png file.

    Args:
        path: of the file.
        spec: an adapter of electrodes whose places are known, or a model with one.
    Raises:
        InputError: no such adapter in the model, one that is learned, or a place where nothing can
            be written.
        BackendMissing: matplotlib is not installed.
    """
    adapter = next((part for _, part in spec.walk() if isinstance(part, ChannelAdapterSpec)), None)
    if adapter is None:
        raise InputError(f"a head map shows a channel_adapter, but this {spec.kind} has none")
    if not adapter.mixes:
        raise InputError(
            f"a head map shows the noise gain of a fixed adapter, but {adapter.method!r} is learned"
        )
    check_figure(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 7), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure, figure.add_subplot(), adapter)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(figure: Any, axes: Any, adapter: ChannelAdapterSpec) -> None:
    """Targets coloured by their gain, sources as rings, what is not covered as crosses."""
    import numpy as np

    try:
        for montage in (adapter.source, adapter.target):
            places_of(montage)
    except ValueError as error:
        raise InputError(f"a head map needs places: {error}") from None
    sources, targets = (
        _from_above(units) for units in (adapter.source_directions(), adapter.target_directions())
    )
    gain, covered = adapter.noise_gain(), np.array(adapter.covered())
    edge = np.radians(90.0)
    circle = np.linspace(0.0, 2.0 * np.pi, 200)
    axes.plot(edge * np.cos(circle), edge * np.sin(circle), color="#999999", lw=1)
    nose = np.array([[-0.12, edge * 0.995], [0.0, edge * 1.1], [0.12, edge * 0.995]])
    axes.plot(*nose.T, color="#999999", lw=1)
    dots = axes.scatter(
        *targets[covered].T, c=gain[covered], s=150, cmap="viridis", edgecolors="none", zorder=2
    )
    figure.colorbar(
        dots, ax=axes, shrink=0.75, label="noise gain (deviation out / deviation in)"
    ).ax.yaxis.label.set_size(12)
    if not covered.all():
        axes.scatter(
            *targets[~covered].T, marker="x", s=60, c="#D55E00", lw=1.8, zorder=2,
            label=f"target not covered ({(~covered).sum()})",
        )  # fmt: skip
    elif adapter.method == "spline" and (far := adapter.angles() > FAR).any():
        axes.scatter(
            *targets[far].T, marker="x", s=60, c="#D55E00", lw=1.8, zorder=3,
            label=f"extrapolated, over {FAR:g} degrees from all sources ({far.sum()})",
        )  # fmt: skip
    axes.scatter(
        *sources.T, s=330, facecolors="none", edgecolors="black", lw=1.6, zorder=3,
        label=f"source ({len(sources)})",
    )  # fmt: skip
    names = adapter.targets
    for index in np.argsort(-np.where(covered, gain, -1.0))[:NAMED]:
        above = 16 if targets[index, 1] >= 0.0 else -17
        axes.annotate(
            f"{names[index]} {gain[index]:.2f}", targets[index], xytext=(0, above),
            ha="center", va="center", textcoords="offset points", fontsize=11, fontweight="bold",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(
        f"{adapter.method}: {len(sources)} to {len(names)} electrodes, median gain "
        f"{np.median(gain[covered]):.2f}\n(from above, nose up; the circle is the equator)",
        fontsize=13, pad=18,
    )  # fmt: skip
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=11)


def _from_above(units: "Array") -> "Array":
    """Azimuthal equidistant projection: angles from the top of the head stay true."""
    import numpy as np

    x, y, z = units.T
    angle = np.arccos(np.clip(z, -1.0, 1.0))
    level = np.maximum(np.hypot(x, y), 1e-12)
    return np.column_stack([angle * x / level, angle * y / level])
