"""A recording cut into segments by a trained model."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.arrays import Array, to_real
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import replacing
from tcnzoo.inference import hsmm
from tcnzoo.inference.hsmm.calls import current_tables
from tcnzoo.inference.hsmm.tables import Tables, tables_of
from tcnzoo.models.backend import handle_of
from tcnzoo.models.calls import get_weights, predict
from tcnzoo.specs import HsmmSpec, Spec, VqHdpHsmmSpec

HEADER = ("start", "stop", "state", "probability")


class Labelled(NamedTuple):
    """A segment: steps start .. stop - 1, its state, and the mean probability of that state."""

    start: int
    stop: int
    state: int
    probability: float


@dataclass(frozen=True)
class Segmentation:
    """The likeliest segmentation of a recording.

    Attributes:
        segments: in order, without gaps.
        path: (time,), state of each step.
        posterior: (states, time), probability of each state given the whole recording.
        log_likelihood: of the recording, in nats.
        outputs: all outputs of a `vq_hdp_hsmm`; empty for an `hsmm`.
    """

    segments: tuple[Labelled, ...]
    path: Array
    posterior: Array
    log_likelihood: float
    outputs: dict[str, Array]


def segment(model: Any, signal: Array) -> Segmentation:
    """Cut a recording into segments.

    Args:
        model: of kind `vq_hdp_hsmm` or `hsmm`, in any backend.
        signal: (channels, time), or (channels, devices, time) where the model has devices; for it,
            (channels * devices, time) is taken, too, all channels of the first device first.
    Raises:
        InputError: a model of another kind, or a signal that does not fit it or is not finite.
    """
    spec = handle_of(model).spec
    x = shaped(spec, signal)[None]
    if isinstance(spec, HsmmSpec):
        decoded = hsmm.viterbi(model, x)
        after = hsmm.posteriors(model, x)
        outputs: dict[str, Array] = {}
        path, posterior = decoded.path[0], after.posterior[0]
        log_likelihood = float(after.log_likelihood[0])
    else:
        outputs = dict(predict(model, x))
        path, posterior = outputs["state_path"][0], outputs["state_posterior"][0]
        log_likelihood = float(outputs["log_likelihood"][0])
    parts = tuple(
        Labelled(*segment, float(posterior[segment.state, segment.start : segment.stop].mean()))
        for segment in hsmm.segments(path)
    )
    return Segmentation(parts, path, posterior, log_likelihood, outputs)


def tables_in(model: Any) -> Tables:
    """The normalised tables of the model's hsmm, float64.

    Args:
        model: of kind `vq_hdp_hsmm` or `hsmm`.
    Raises:
        WeightError: a row that cannot be normalised.
    """
    spec, weights = handle_of(model).spec, get_weights(model)
    if isinstance(spec, VqHdpHsmmSpec):
        inside = {name.removeprefix("hsmm."): array for name, array in weights.items()}
        return tables_of(spec.hsmm, inside)
    return current_tables(model)


def shaped(spec: Spec, signal: Array) -> Array:
    """The signal as the model takes it, without the batch axis.

    Raises:
        InputError: a model that makes no segments, or a signal that does not fit it.
    """
    if not isinstance(spec, HsmmSpec | VqHdpHsmmSpec):
        raise InputError(
            "segments need a model of kind 'vq_hdp_hsmm' or 'hsmm', but the model is a "
            f"{spec.kind!r}"
        )
    signal = to_real(signal, "float64", "the signal")
    devices, channels = spec.input_devices, spec.input_channels
    if devices is not None and channels is not None and signal.ndim == 2:
        if len(signal) != devices * channels:
            raise InputError(
                f"the signal must have {devices} x {channels} columns, all {channels} channels of "
                f"the first device first, but has {len(signal)}"
            )
        signal = signal.reshape(devices, channels, -1).swapaxes(0, 1)
    wanted = 3 if devices is not None else 2
    if signal.ndim != wanted:
        axes = "(channels, devices, time)" if wanted == 3 else "(channels, time)"
        raise InputError(f"the signal must be {axes}, but has shape {signal.shape}")
    if not np.isfinite(signal).all():
        where = np.argwhere(~np.isfinite(signal))[0]
        raise InputError(
            f"the signal must be finite, but channel {where[0]} is not at step {where[-1]}"
        )
    return signal


def write_segments(path: Path, found: Segmentation, rate: float | None = None) -> None:
    """Write segments as .csv: start, stop, state, probability.

    Args:
        path: of the file, which is written whole or not at all.
        found: by `segment`.
        rate: steps a second, for starts and stops in seconds; None for steps.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(HEADER)
        for segment in found.segments:
            edges = (segment.start, segment.stop)
            if rate is not None:
                edges = tuple(f"{edge / rate:.6g}" for edge in edges)  # type: ignore[assignment]
            lines.writerow((*edges, segment.state, f"{segment.probability:.6f}"))
