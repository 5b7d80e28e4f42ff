"""Recordings from EDF, BDF and FIF files, through MNE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.edf import KINDS, EdfHeader, check_edf
from tcnzoo.eeg.montage import TEN_TWENTY, places
from tcnzoo.eeg.needs import needed
from tcnzoo.errors import InputError

SUFFIXES = (*KINDS, ".fif")
_MICROVOLTS = 1e6


@dataclass(frozen=True)
class Recording:
    """An EEG.

    Attributes:
        signal: (channels, time), float64, in uV.
        names: of the channels.
        sampling_rate: in Hz.
        start: date and time of the first sample, None where nobody knows.
        path: of the file, None for a signal from elsewhere.
    """

    signal: Array
    names: tuple[str, ...]
    sampling_rate: float
    start: datetime | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what is no signal."""
        if self.signal.ndim != 2 or len(self.names) != self.signal.shape[0]:
            raise InputError(
                f"a recording must be (channels, time) with a name for each channel, but has shape "
                f"{self.signal.shape} and {len(self.names)} names"
            )
        if not 0.0 < self.sampling_rate < float("inf"):
            raise InputError(
                f"the sampling rate of {self.where} must be above 0 Hz, but is {self.sampling_rate}"
            )
        if self.signal.shape[1] == 0:
            raise InputError(f"{self.where} is empty: it holds no samples")

    @property
    def where(self) -> str:
        """The recording as the subject of a sentence."""
        return "the recording" if self.path is None else repr(str(self.path))

    @property
    def duration(self) -> float:
        """Length in s."""
        return float(self.signal.shape[1] / self.sampling_rate)


def is_recording(path: Path) -> bool:
    """Whether the ending of a file is that of a recording."""
    return path.suffix.lower() in SUFFIXES


def read_recording(path: Path, electrodes: Sequence[str] = TEN_TWENTY) -> Recording:
    """Read the channels of some electrodes; no others are taken into memory.

    Args:
        path: .edf, .bdf or .fif.
        electrodes: wanted, in order; their synonyms and the usual prefixes and references are
            understood (`EEG T7-REF` is T3).
    Raises:
        InputError: no such file, one that is damaged, cut short or empty, an electrode that is
            missing, there twice, or no EEG channel, or electrodes of different sampling rates.
        BackendMissing: MNE is not installed.
    """
    if not is_recording(path):
        raise InputError(f"a recording is one of {', '.join(SUFFIXES)}, but got {str(path)!r}")
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    header = check_edf(path) if path.suffix.lower() in KINDS else None
    raw = _opened(path)
    chosen = places(raw.ch_names, repr(str(path)), electrodes)
    _check_types(path, raw, chosen)
    if header is not None:
        _check_rates(path, header, electrodes)
    signal = _reading(path, lambda: raw.get_data(picks=list(chosen), verbose="error"))
    return Recording(
        np.asarray(signal, dtype=np.float64) * _MICROVOLTS,
        tuple(electrodes),
        float(raw.info["sfreq"]),
        raw.info["meas_date"],
        path,
    )


def arranged(recording: Recording, electrodes: Sequence[str] = TEN_TWENTY) -> Recording:
    """Put the channels of a recording into the order of some electrodes, and leave out the rest.

    Raises:
        InputError: an electrode is missing or there twice.
    """
    if recording.names == tuple(electrodes):
        return recording
    chosen = list(places(recording.names, recording.where, electrodes))
    return replace(recording, signal=recording.signal[chosen], names=tuple(electrodes))


def _opened(path: Path) -> Any:
    """Open a file with MNE; its remarks on filters and missing dates are kept quiet."""
    mne = needed("mne", "reading recordings")
    readers = {
        ".edf": lambda: mne.io.read_raw_edf(path, preload=False, verbose="error"),
        ".bdf": lambda: mne.io.read_raw_bdf(path, preload=False, verbose="error"),
        ".fif": lambda: mne.io.read_raw_fif(path, preload=False, verbose="error"),
    }
    return _reading(path, readers[path.suffix.lower()])


def _reading(path: Path, read: Callable[[], Any]) -> Any:
    """Call a reader, and make one sentence of its failure."""
    try:
        return read()
    # A damaged file breaks the reader in any way there is, with errors of any kind.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{str(path)!r} cannot be read: {reason}") from error


def _check_types(path: Path, raw: Any, chosen: Sequence[int]) -> None:
    """Refuse a channel that has the name of an electrode and holds something else."""
    types = raw.get_channel_types()
    for index in chosen:
        if types[index] != "eeg":
            raise InputError(
                f"channel {raw.ch_names[index]!r} of {str(path)!r} must be EEG, but is of type "
                f"{types[index]!r}"
            )


def _check_rates(path: Path, header: EdfHeader, electrodes: Sequence[str]) -> None:
    """Refuse electrodes of different rates, which MNE would bring to one without a word."""
    chosen = places(header.names, repr(str(path)), electrodes)
    counts = {electrodes[place]: header.samples[index] for place, index in enumerate(chosen)}
    low, high = min(counts, key=lambda name: counts[name]), max(counts, key=lambda n: counts[n])
    if counts[low] != counts[high]:
        raise InputError(
            f"the channels of {str(path)!r} must have one sampling rate, but {high} has "
            f"{counts[high] / header.seconds:g} Hz and {low} {counts[low] / header.seconds:g} Hz"
        )
