"""The demo's figure: signal, offline and streamed output, their difference, errors by layer."""

from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import replacing
from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.demo.recording import Recording
from tcnzoo.demo.relay import Relay
from tcnzoo.verification.parity import TOLERANCE

# Okabe & Ito's palette, which colour-blind readers can tell apart.
COLOURS = {"numpy": "#666666", "torch": "#D55E00", "mlx": "#009E73", "keras": "#0072B2"}
OTHER = "#8C564B"
BURST, OFFLINE, STREAMED = "#F0E442", "#E59FC6", "#222222"
MARKERS = "osD^v"
MOST_CHANNELS = 8
# A layer's error of exactly zero is drawn here, since a logarithmic axis has no zero.
FLOOR = 1e-9


def draw(
    path: Path,
    title: str,
    recording: Recording,
    offline: Array,
    relayed: Relay,
    layers: ParityReport,
) -> None:
    """Write the figure as a .png file.

    Args:
        path: of the file.
        title: of the figure.
        recording: the signal.
        offline: the library's output for all of it, (time,).
        relayed: the stream that goes through all backends.
        layers: errors of each backend after each layer.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 13), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(4, 1, height_ratios=(2.2, 2.2, 1.4, 2.6))
    signal = figure.add_subplot(grid[0])
    output = figure.add_subplot(grid[1], sharex=signal)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    _draw_signal(signal, recording)
    _draw_output(output, recording, offline, relayed)
    _draw_difference(figure.add_subplot(grid[2], sharex=signal), recording, offline, relayed)
    _draw_layers(figure.add_subplot(grid[3]), layers)
    for axes in (signal, output):
        axes.tick_params(labelbottom=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_signal(axes: Any, recording: Recording) -> None:
    """Channels one above the other, with a bar for scale, bursts shaded."""
    shown, time = recording.samples[:MOST_CHANNELS], recording.seconds
    gap = 1.1 * float(np.ptp(shown, axis=1).max()) or 1.0
    offsets = gap * np.arange(len(shown))[::-1]
    for first, last in _runs(recording.bursts):
        label = "3 Hz spike-and-wave burst"
        axes.axvspan(time[first], time[last - 1], color=BURST, alpha=0.35, lw=0, label=label)
    axes.plot(time, (shown + offsets[:, None]).T, color="0.25", lw=0.7)
    axes.set_yticks(offsets, [f"channel {index + 1}" for index in range(len(shown))])
    axes.set_xlim(0.0, len(time) / recording.rate)
    unit = (recording.unit or "").replace("uV", "\u00b5V")
    _draw_scale(axes, offsets[-1], 10.0 ** np.floor(np.log10(gap / 2)), unit)
    _style(axes, "Signal", f"signal ({unit or 'unit of the file'})")


def _draw_scale(axes: Any, bottom: float, size: float, unit: str) -> None:
    """A bar of `size` units on the right of the panel."""
    beside = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    axes.plot([1.01, 1.01], [bottom, bottom + size], color="black", lw=2, **beside)
    axes.text(1.02, bottom + size / 2, f"{size:g} {unit}", va="center", **beside)


def _draw_output(axes: Any, recording: Recording, offline: Array, relayed: Relay) -> None:
    """Both outputs, over the colours of the backends that computed the streamed one."""
    for backend, first, last in relayed.stays:
        begin, end, colour = first / recording.rate, last / recording.rate, _colour(backend)
        axes.axvspan(begin, end, color=colour, alpha=0.16, lw=0, label=backend)
        if first:
            axes.axvline(begin, color=colour, lw=1.0, ls=":")
    axes.plot(recording.seconds, offline, color=OFFLINE, lw=5, label="offline, pytorch-tcn")
    streamed = relayed.output[0, 0]
    axes.plot(
        recording.seconds, streamed, color=STREAMED, lw=0.9, label="streamed in ragged chunks"
    )
    axes.axhline(0.0, color="0.5", lw=0.8, ls="--")
    title = "Output; the background is the backend that holds the streaming state"
    _style(axes, title, "burst score (logit)")


def _draw_difference(axes: Any, recording: Recording, offline: Array, relayed: Relay) -> None:
    """Absolute difference of the two outputs, coloured by backend."""
    gap = np.abs(relayed.output[0, 0] - offline)
    gap[gap == 0.0] = np.nan
    spans = zip(relayed.turns, relayed.cuts[:-1], relayed.cuts[1:], strict=True)
    for backend, first, last in spans:
        piece, colour = gap[first:last], _colour(backend)
        axes.plot(recording.seconds[first:last], piece, ".", color=colour, alpha=0.4, ms=2.5)
        worst = np.nan_to_num(piece).max() or np.nan
        axes.plot(np.array([first, last]) / recording.rate, [worst, worst], color=colour, lw=2.0)
    limit = TOLERANCE * max(1.0, float(np.abs(offline).max()))
    axes.axhline(limit, color="black", lw=1.0, ls="--", label=f"tolerance {limit:.1e}")
    axes.plot([], [], color="0.5", lw=2.0, label="largest in each chunk")
    axes.plot([], [], ".", color="0.5", label="each sample (zeros left out)")
    axes.set_yscale("log")
    axes.set_xlabel("time (s)")
    _style(axes, "Difference of streamed and offline output", "|difference| (logit)")


def _draw_layers(axes: Any, report: ParityReport) -> None:
    """Error of each backend after each layer, in order of computation."""
    places = np.arange(len(report.layers))
    for marker, row in zip(MARKERS, report.rows, strict=False):
        errors = [max(layer.errors.get(row.backend, np.nan), FLOOR) for layer in report.layers]
        look = {"marker": marker, "ms": 4.5, "lw": 1.0, "color": _colour(row.backend)}
        axes.plot(places, errors, label=row.backend, **look)
    axes.axhline(TOLERANCE, color="black", lw=1.0, ls="--", label=f"tolerance {TOLERANCE:g}")
    axes.set_yscale("log")
    axes.set_xticks(places, [layer.path for layer in report.layers], rotation=90, fontsize=7)
    axes.margins(x=0.01)
    _style(axes, "Each layer against the float64 reference", "relative error")


def _colour(backend: str) -> str:
    """A backend's colour, the same in every panel."""
    return COLOURS.get(backend, OTHER)


def _style(axes: Any, title: str, ylabel: str) -> None:
    """Title, label, no more lines than needed, and a legend beside the panel, one entry a name."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", lw=0.8)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        legend = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
        axes.legend(once.values(), once.keys(), **legend)


def _runs(mask: Array | None) -> list[tuple[int, int]]:
    """First and past-the-last place of each run of true values."""
    if mask is None:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
