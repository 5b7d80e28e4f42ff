"""Windows of longer recordings: only where each begins is stored, samples are not copied."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.signals import read_signal
from tcnzoo.training.data.augment import Augment, augmenter, largest_shift, refuse, shifts
from tcnzoo.training.data.config import RecordingConfig, WindowsData
from tcnzoo.training.data.dataset import Batch, counts_of


def unchanged(x: Array) -> Array:
    """Leave the samples as they are."""
    return x


def zscore(x: Array) -> Array:
    """Each channel of each window less its mean, over its deviation; of a constant one, only that.

    Computed in float64; what varies by less than a millionth is rounding of a constant.
    """
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    deviation = centred.std(axis=-1, keepdims=True)
    constant = deviation <= 1e-6 * np.abs(wide).max(axis=-1, keepdims=True)
    scaled: Array = (centred / np.where(constant, 1.0, deviation)).astype(np.float32)
    return scaled


@dataclass
class WindowDataset:
    """Windows of equal length, out of recordings.

    Attributes:
        signals: (channels, time) each; mapped files stay on disk.
        source: (windows,), number of the recording.
        start: (windows,), its first step there.
        length: steps of a window.
        targets: (windows,) classes, or the classes (time,) of each recording's steps.
        names: (windows,), name of each one's group.
        classes: names of the classes, where they are known.
        scale: of the windows, after augmentation.
        augment: of the windows' values in training.
        phase: steps by which a window may begin earlier in training.
        room: (windows,), steps that a window may begin earlier without passing a gap of the
            recording; None for all that are before it.
        run: (windows,), number of the part without a gap that each window lies in; None where
            recordings have no gaps.
        facts: for `describe`.
        seconds: from one window to the next of a recording, where that is known, in s.
    """

    signals: Sequence[Array]
    source: Array
    start: Array
    length: int
    targets: Array | Sequence[Array]
    names: Array
    classes: tuple[str, ...] | None = None
    scale: Callable[[Array], Array] = unchanged
    augment: Augment | None = None
    phase: int = 0
    room: Array | None = None
    run: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.start)

    def batch(self, indices: Array, rng: np.random.Generator | None = None) -> Batch:
        """Cut windows out.

        Beside `x` and `y` there is `event`, the number of the recording that each comes from, and
        where recordings have gaps `run`, the number of the part without one.
        """
        source, start = self.source[indices], self.start[indices]
        if rng is not None and self.phase:
            room = start if self.room is None else self.room[indices]
            start = start - shifts(self.phase, room, rng)
        x = np.stack(
            [self._cut(self.signals, *window) for window in zip(source, start, strict=True)]
        )
        x = x.astype(np.float32)
        if rng is not None and self.augment is not None:
            x = self.augment(x, rng)
        if isinstance(self.targets, np.ndarray):
            y = self.targets[indices]
        else:
            windows = zip(source, start, strict=True)
            y = np.stack([self._cut(self.targets, *window) for window in windows])
        batch = {"x": self.scale(x), "y": y.astype(np.int64), "event": source.astype(np.int64)}
        return batch if self.run is None else batch | {"run": self.run[indices]}

    def _cut(self, arrays: Sequence[Array], source: int, start: int) -> Array:
        """The steps of one window."""
        return arrays[source][..., start : start + self.length]

    @property
    def groups(self) -> Array:
        """Name of each window's group."""
        return self.names

    @property
    def labels(self) -> Array | None:
        """One class a window, or None where each step has its own."""
        return self.targets if isinstance(self.targets, np.ndarray) else None

    def describe(self) -> dict[str, Any]:
        """Window and counts."""
        shape = [self.signals[0].shape[0], self.length] if self.signals else []
        return (
            {"shapes": {"x": shape}, "recordings": len(self.signals)} | self.facts | counts_of(self)
        )


def window_dataset(config: WindowsData) -> WindowDataset:
    """Map the recordings of a configuration and compute where the windows begin.

    Raises:
        InputError: an invalid file, labels that do not fit their recording, or a recording
            shorter than a window.
    """
    refuse(config.augment, config.kind, "transpose")
    pairs = [_mapped(recording, config) for recording in config.recordings]
    hop = config.hop or config.window
    starts = [np.arange(0, x.shape[1] - config.window + 1, hop) for x, _ in pairs]
    source = np.concatenate([np.full(len(s), number) for number, s in enumerate(starts)])
    start = np.concatenate(starts)
    names = [recording.group or Path(recording.x).stem for recording in config.recordings]
    steps = [y for _, y in pairs]
    targets: Array | list[Array] = steps
    if config.label != "steps":
        targets = _single(steps, source, start, config)
    return WindowDataset(
        signals=[x for x, _ in pairs],
        source=source,
        start=start,
        length=config.window,
        targets=targets,
        names=np.array(names)[source],
        classes=None if config.classes is None else tuple(map(str, range(config.classes))),
        scale=zscore if config.scale == "zscore" else unchanged,
        augment=augmenter(config.augment),
        phase=largest_shift(config.augment),
    )


def _single(steps: list[Array], source: Array, start: Array, config: WindowsData) -> Array:
    """One label for each window."""
    windows = (steps[i][at : at + config.window] for i, at in zip(source, start, strict=True))
    return np.array([row.max() if config.label == "any" else row[-1] for row in windows], np.int64)


def _mapped(recording: RecordingConfig, config: WindowsData) -> tuple[Array, Array]:
    """A recording and its labels, of equal length."""
    x, y = (read_signal(Path(name)) for name in (recording.x, recording.y))
    if x.ndim != 2:
        raise InputError(f"{recording.x!r} must be (channels, time), but has shape {x.shape}")
    if y.shape != x.shape[1:] or y.dtype.kind not in "iu":
        raise InputError(
            f"{recording.y!r} must hold one whole number for each of {x.shape[1]} steps, but has "
            f"shape {y.shape} of {y.dtype}"
        )
    if x.shape[1] < config.window:
        raise InputError(
            f"{recording.x!r} has {x.shape[1]} steps, fewer than a window of {config.window}"
        )
    if config.classes is not None and (y.min() < 0 or y.max() >= config.classes):
        worst = y.min() if y.min() < 0 else y.max()
        raise InputError(
            f"labels must be 0 to {config.classes - 1}, one of {config.classes} classes, but "
            f"{recording.y!r} holds {worst}"
        )
    return x, y
