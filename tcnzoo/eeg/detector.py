"""A detector for a signal that comes in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.annotations import Event
from tcnzoo.eeg.filters import Preprocessing
from tcnzoo.eeg.logits import Logits, check_detector, to_probabilities
from tcnzoo.eeg.online import OnlinePreprocessor
from tcnzoo.eeg.postprocess import PostProcessing, PostProcessor
from tcnzoo.eeg.recordings import Recording, arranged
from tcnzoo.errors import InputError
from tcnzoo.models.backend import handle_of
from tcnzoo.models.streaming import check_policy
from tcnzoo.specs.montages import TEN_TWENTY

# Steps for which the shape of a model's output is asked: a minute at 256 Hz.
_PROBE = 15360


@dataclass(frozen=True)
class Latency:
    """How long after a sample its consequences are known, in s.

    Attributes:
        preprocessing: the resampler's reach.
        model: the steps that the model waits for.
        events: from the last sample of an event until it is given out, if nothing follows it.
        events_at_most: the same, for any signal that follows.
    """

    preprocessing: float
    model: float
    events: float
    events_at_most: float

    @property
    def total(self) -> float:
        """From the last sample of an event until it is given out, if nothing follows it."""
        return self.preprocessing + self.model + self.events

    @property
    def total_at_most(self) -> float:
        """From the last sample of an event until it is returned, for any signal that follows."""
        return self.preprocessing + self.model + self.events_at_most


class Step(NamedTuple):
    """What one chunk has brought: probabilities (time,), and events that are certain now."""

    probabilities: Array
    events: list[Event]


class Detector:
    """Finds events in a signal as it comes, by a model that can stream.

    Events are those of `detect` with the same settings, for any chunks, as long as no
    probability lies within the rounding of float32 from a threshold.

    Attributes:
        latency: see Latency.
    """

    def __init__(
        self,
        model: Any,
        sampling_rate: float = 256.0,
        *,
        preprocessing: Preprocessing | None = None,
        postprocessing: PostProcessing | None = None,
        nonfinite: str = "raise",
    ) -> None:
        """Start before the first sample.

        Args:
            model: takes 19 channels, gives one logit for each sample, and can stream.
            sampling_rate: of the chunks, in Hz.
            preprocessing: of mode `causal`.
            postprocessing: see PostProcessing.
            nonfinite: as in `tcnzoo.step`; samples without an output have the probability 0 under
                `hold` and `reset`.
        Raises:
            InputError: a model that cannot stream or is no detector, another mode or policy, or a
                rate that cannot be brought to the model's.
            BackendMissing: scipy is not installed.
        """
        check_policy(nonfinite)
        handle_of(model).check_streamable()
        check_detector(model, _PROBE)
        settings = preprocessing or Preprocessing(mode="causal")
        after = postprocessing or PostProcessing()
        rate = settings.sampling_rate
        self._before = OnlinePreprocessor(settings, sampling_rate, len(TEN_TWENTY))
        self._logits = Logits(model, nonfinite)
        self._after = PostProcessor(after, rate)
        self._broken = False
        self.latency = Latency(
            self._before.latency, self._logits.delay / rate, *after.latency(rate)
        )

    def push(self, chunk: Array) -> Step:
        """Take the next samples.

        Args:
            chunk: (19, time) in uV, the electrodes in the order of `TEN_TWENTY`, of any number of
                steps; NaN and infinity count as the last good sample of their channel.
        Raises:
            InputError: another shape; an output that is not finite, or a part that would keep such
                values, under `raise`: the chunk is lost then, so this detector takes no more.
        """
        self._check_whole()
        x = self._before.push(chunk)
        self._broken = True  # until the chunk has passed all stages
        step = self._stepped(self._logits.push(x))
        self._broken = False
        return step

    def finish(self) -> Step:
        """End the signal; return what waited for more."""
        self._check_whole()
        logits = np.concatenate([self._logits.push(self._before.finish()), self._logits.finish()])
        probabilities, events = self._stepped(logits)
        return Step(probabilities, [*events, *self._after.finish()])

    @property
    def ongoing(self) -> float | None:
        """Start in s of an event that is certain but may still grow, None without one."""
        return self._after.ongoing

    def _check_whole(self) -> None:
        """Raise InputError if a chunk was lost, after which all times would be too early."""
        if self._broken:
            raise InputError(
                "this detector lost a chunk to an error, so that the times of later events would "
                "be wrong; start a new one, or make it with nonfinite='hold' or 'reset'"
            )

    def _stepped(self, logits: Array) -> Step:
        """Post-process what the model has given."""
        probabilities = to_probabilities(logits)
        return Step(probabilities, self._after.push(probabilities))


def stream(detector: Detector, recording: Recording, chunk: int) -> Iterator[Step]:
    """Feed a recording to a detector as it would come in.

    Events count from its own first sample, also where it is a part of a recording with gaps.

    Args:
        detector: at its start, made for the recording's rate.
        recording: with the 19 electrodes, in any order.
        chunk: samples of each chunk.
    """
    signal = arranged(recording).signal
    for start in range(0, signal.shape[1], chunk):
        yield detector.push(signal[:, start : start + chunk])
    yield detector.finish()
