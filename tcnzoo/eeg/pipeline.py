"""Recording -> preprocessing -> model -> probabilities -> events, for a whole recording."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.eeg.annotations import Annotations, Event
from tcnzoo.eeg.logits import Logits, check_detector, to_probabilities
from tcnzoo.eeg.postprocess import PostProcessing, postprocess
from tcnzoo.eeg.preprocess import Preprocessing, prepare
from tcnzoo.eeg.recordings import Recording, arranged
from tcnzoo.eeg.windows import Stitcher, Windows
from tcnzoo.errors import InputError
from tcnzoo.models.backend import handle_of
from tcnzoo.models.calls import predict

# Steps of one chunk for a model that can stream.
_BLOCK = 15360
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Detection:
    """The events of a recording.

    Attributes:
        recording: with the channels that the model takes.
        probabilities: (time,) at `sampling_rate`.
        sampling_rate: in Hz.
        events: in order of time, in s from the first sample of the whole recording, also where
            `recording` is a part of it.
        postprocessing: its settings.
    """

    recording: Recording
    probabilities: Array
    sampling_rate: float
    events: tuple[Event, ...]
    postprocessing: PostProcessing

    @property
    def annotations(self) -> Annotations:
        """The events with the facts of the recording, for `write_events`."""
        recording = self.recording
        return Annotations(
            self.events, recording.offset + recording.duration, recording.origin, recording.name
        )

    @property
    def parts(self) -> tuple["Detection", ...]:
        """This detection; a recording with gaps has several, see `tcnzoo.eeg.parts`."""
        return (self,)


def preprocessing_for(model: Any, settings: Preprocessing | None = None) -> Preprocessing:
    """The settings, or the default for a model: `causal` where it can stream, else `origin`."""
    if settings is not None:
        return settings
    return Preprocessing(mode="origin" if handle_of(model).obstacle else "causal")


def detect(
    model: Any,
    recording: Recording,
    *,
    preprocessing: Preprocessing | None = None,
    windows: Windows | None = None,
    postprocessing: PostProcessing | None = None,
    batch_size: int = 4,
    say: Say = lambda text: None,
) -> Detection:
    """Find the events of a whole recording.

    A model that can stream runs over all of the recording with its state; any other one takes it
    window by window, and the windows are stitched.

    Args:
        model: takes 19 channels, gives one logit for each sample.
        recording: with the 19 electrodes, in any order.
        preprocessing: None for the mode `causal` where the model can stream, else `origin`.
        windows: for a model that cannot stream.
        postprocessing: see PostProcessing.
        batch_size: windows that are computed at once.
        say: called with a line as the work goes on.
    Raises:
        InputError: another kind of model, or a recording that cannot be used.
        BackendMissing: scipy is not installed.
    """
    windows = windows or Windows()
    check_detector(model, windows.size)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, but is {batch_size}")
    settings = preprocessing_for(model, preprocessing)
    after = postprocessing or PostProcessing()
    recording = arranged(recording)
    say("preprocessing")
    x = prepare(recording, settings)
    if handle_of(model).obstacle is None:
        probabilities = _led_through(model, x, say)
    else:
        probabilities = _stitched(model, x, windows, batch_size, say)
    events = postprocess(probabilities, after, settings.sampling_rate)
    moved = tuple(after_gaps(events, recording))
    return Detection(recording, probabilities, settings.sampling_rate, moved, after)


def after_gaps(events: Sequence[Event], recording: Recording) -> list[Event]:
    """Events of a part, in s from the first sample of the whole recording."""
    moved = recording.offset
    return [replace(event, start=event.start + moved, stop=event.stop + moved) for event in events]


def _led_through(model: Any, x: Array, say: Say) -> Array:
    """Probabilities of a model that can stream."""
    stream = Logits(model)
    pieces = []
    for start in range(0, x.shape[1], _BLOCK):
        say(f"computing: sample {start:,} of {x.shape[1]:,}")
        pieces.append(stream.push(x[:, start : start + _BLOCK]))
    return to_probabilities(np.concatenate([*pieces, stream.finish()]))


def _stitched(model: Any, x: Array, windows: Windows, batch_size: int, say: Say) -> Array:
    """Probabilities of a model that sees windows."""
    starts = windows.starts(x.shape[1])
    stitcher = Stitcher(windows, x.shape[1])
    for first in range(0, len(starts), batch_size):
        say(f"computing: window {first:,} of {len(starts):,}")
        some = starts[first : first + batch_size]
        logits = to_numpy(predict(model, windows.cut(x, some)))[:, 0]
        for start, row in zip(some, to_probabilities(logits), strict=True):
            stitcher.add(int(start), row)
    return stitcher.result()
