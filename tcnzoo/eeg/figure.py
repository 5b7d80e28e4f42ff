"""A picture of a detection: the signal, the probabilities with their thresholds, events, truth."""

from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import replacing
from tcnzoo.eeg.annotations import Annotations
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.parts import Detections
from tcnzoo.eeg.pipeline import Detection
from tcnzoo.files.figures import check_figure

# Okabe & Ito's palette, which colour-blind readers can tell apart.
FOUND, TRUE, LINE = "#0072B2", "#E69F00", "#D55E00"
# Points across the picture; a longer signal is drawn as the smallest and largest of each part.
_COLUMNS = 3000


def draw(path: Path, detection: Detection | Detections, truth: Annotations | None = None) -> None:
    """Write the picture.

    Args:
        path: .png.
        detection: by `detect` or `detect_parts`, whose gaps stay empty.
        truth: drawn beside the events, where it is known.
    Raises:
        InputError: another ending, or a folder that cannot be written to.
        BackendMissing: matplotlib is not installed.
    """
    check_figure(path, extra="eeg")
    agg = needed("matplotlib.backends.backend_agg", "drawing")
    figure = needed("matplotlib.figure", "drawing").Figure(
        figsize=(14, 9.5), dpi=110, layout="constrained"
    )
    agg.FigureCanvasAgg(figure)
    signal, probability, events = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": (5.0, 2.0, 0.9)}
    )
    _draw_signal(signal, detection)
    _draw_probability(probability, detection)
    _draw_events(events, detection, truth)
    for axes in (signal, probability):
        axes.tick_params(labelbottom=False)
        _shade(axes, detection.annotations, FOUND)
    name = detection.annotations.name or "recording"
    count = len(detection.events)
    figure.suptitle(f"{name}: {count} event{'' if count == 1 else 's'}", fontweight="bold")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_signal(axes: Any, detection: Detection | Detections) -> None:
    """Channels one above the other, each without its mean, with a bar for scale."""
    recordings = [part.recording for part in detection.parts]
    centred = [_centred(recording.signal) for recording in recordings]
    # Most of the signal lies within this; seizures may reach into the neighbour's space.
    gap = 6.0 * float(np.median([signal.std(axis=1) for signal in centred])) or 1.0
    names = recordings[0].names
    offsets = gap * np.arange(len(names))[::-1]
    for recording, shown in zip(recordings, centred, strict=True):
        time, drawn = _outline(shown, recording.sampling_rate)
        lifted = (drawn + offsets[:, None]).T
        axes.plot(recording.offset + time, lifted, color="0.25", lw=0.5)
    axes.set_yticks(offsets, names)
    axes.set_ylim(offsets[-1] - gap, offsets[0] + gap)
    axes.set_xlim(0.0, detection.annotations.duration)
    size = 10.0 ** np.floor(np.log10(gap))
    beside = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    axes.plot([1.008, 1.008], [0.0, size], color="black", lw=2, **beside)
    axes.text(1.013, size / 2, f"{size:g} \u00b5V", va="center", **beside)
    _style(axes, "Signal")


def _centred(signal: Array) -> Array:
    """Channels without their medians, and 0 for what is NaN or infinite."""
    shown = np.nan_to_num(signal, nan=0.0, posinf=0.0, neginf=0.0)
    centred: Array = shown - np.median(shown, axis=1, keepdims=True)
    return centred


def _draw_probability(axes: Any, detection: Detection | Detections) -> None:
    """Probabilities, and the two thresholds."""
    for part in detection.parts:
        time, drawn = _outline(part.probabilities[None], part.sampling_rate)
        axes.plot(part.recording.offset + time, drawn[0], color="black", lw=0.8)
    settings = detection.postprocessing
    for name, level, style in (("on", settings.tau_on, "-"), ("off", settings.tau_off, "--")):
        axes.axhline(level, color=LINE, lw=1.0, ls=style, label=f"{name} {level:g}")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    _style(axes, "Probability")


def _draw_events(axes: Any, detection: Detection | Detections, truth: Annotations | None) -> None:
    """One line of bars for the detected events, and one for the truth."""
    bars_of = [("found", detection.annotations, FOUND)]
    bars_of += [] if truth is None else [("truth", truth, TRUE)]
    for height, (_, annotations, colour) in enumerate(reversed(bars_of)):
        bars = [(event.start, event.duration) for event in annotations.events]
        axes.broken_barh(bars, (height - 0.35, 0.7), color=colour)
    axes.set_yticks(range(len(bars_of)), [name for name, _, _ in reversed(bars_of)])
    axes.set_ylim(-0.6, len(bars_of) - 0.4)
    axes.set_xlabel("time (s)")
    _style(axes, "Events")


def _shade(axes: Any, annotations: Annotations, colour: str) -> None:
    """The events as a background."""
    for event in annotations.events:
        axes.axvspan(event.start, event.stop, color=colour, alpha=0.12, lw=0)


def _outline(signal: Array, rate: float) -> tuple[Array, Array]:
    """Times and values (channels, points) that look as the whole signal does."""
    steps = signal.shape[1]
    size = steps // _COLUMNS
    if size < 4:
        return np.arange(steps) / rate, signal
    parts = signal[:, : steps // size * size].reshape(len(signal), -1, size)
    both = np.stack([parts.min(axis=2), parts.max(axis=2)], axis=2)
    return np.arange(2 * parts.shape[1]) * size / 2 / rate, both.reshape(len(signal), -1)


def _style(axes: Any, title: str) -> None:
    """Title, and no more lines than needed."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
