"""Recordings from EDF, BDF and FIF files."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tcnzoo.arrays import Array
from tcnzoo.eeg.edf import EDF_SUFFIXES
from tcnzoo.eeg.edf_data import open_edf
from tcnzoo.eeg.fif import open_fif
from tcnzoo.eeg.montage import places
from tcnzoo.eeg.scales import warn_of_size
from tcnzoo.eeg.stretches import Contents, Stretch
from tcnzoo.errors import InputError
from tcnzoo.files.bounds import listed
from tcnzoo.specs.montages import TEN_TWENTY

_FIF_SUFFIXES = (".fif", ".fif.gz")
SUFFIXES = (*EDF_SUFFIXES, *_FIF_SUFFIXES)
# What can be preprocessed, in s.
SHORTEST = 1.0


@dataclass(frozen=True)
class Recording:
    """An EEG, or a part of one that has gaps.

    Attributes:
        signal: (channels, time), float64, in uV.
        names: of the channels.
        sampling_rate: in Hz.
        start: date and time of the first sample, None where nobody knows.
        path: of the file, None for a signal from elsewhere.
        offset: time of the first sample, in s after that of the whole recording; 0 unless this is
            a part.
    """

    signal: Array
    names: tuple[str, ...]
    sampling_rate: float
    start: datetime | None = None
    path: Path | None = None
    offset: float = 0.0

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
        if not 0.0 <= self.offset < float("inf"):
            raise InputError(f"the offset of a part must be 0 s or more, but is {self.offset}")
        if self.signal.shape[1] == 0:
            raise InputError(f"{self.where} is empty: it holds no samples")

    @property
    def where(self) -> str:
        """The recording as the subject of a sentence."""
        whole = "the recording" if self.path is None else repr(str(self.path))
        return f"{whole} from {self.offset:g} s on" if self.offset else whole

    @property
    def duration(self) -> float:
        """Length in s."""
        return float(self.signal.shape[1] / self.sampling_rate)

    @property
    def name(self) -> str:
        """Of the file, without its ending; empty for a signal from elsewhere."""
        return "" if self.path is None else self.path.name.removesuffix(_suffix(self.path))

    @property
    def origin(self) -> datetime | None:
        """Date and time of the first sample of the whole recording, from which events count."""
        return None if self.start is None else self.start - timedelta(seconds=self.offset)


def is_recording(path: Path) -> bool:
    """Whether the ending of a file is that of a recording, in any case."""
    return path.name.lower().endswith(SUFFIXES)


def read_recording(path: Path | str, electrodes: Sequence[str] = TEN_TWENTY) -> Recording:
    """Read the channels of some electrodes; no others are read.

    Args:
        path: .edf, .bdf, .rec (an EDF), .fif or .fif.gz.
        electrodes: wanted, in order; their synonyms, the usual prefixes, and one common reference
            under any name are understood (`EEG T7-REF` is T3).
    Raises:
        InputError: no such file; one that is damaged, cut short, empty, or has a gap in time; an
            electrode that is missing, there twice, no EEG channel, or whose unit or limits cannot
            be used; electrodes of different references or sampling rates.
        BackendMissing: a FIF, and MNE is not installed.
    """
    path = Path(path)
    contents = _opened(path, electrodes)
    gaps = [gap for gap in contents.missing() if gap[1] > 0.0]
    if gaps:
        end, length = gaps[0]
        more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        raise InputError(
            f"{str(path)!r} has a gap in time of {length:.6g} s at {end:.6g} s{more}; ask for the "
            "parts between the gaps, by --gaps parts or tcnzoo.eeg.read_parts"
        )
    if joins := contents.missing():
        times = listed([f"{end:g} s" for end, _ in joins])
        warnings.warn(
            f"{str(path)!r} was put together from pieces, with joins at {times}; it is read as if "
            "no time had passed there",
            stacklevel=2,
        )
    whole = Stretch(contents.stretches[0].first, contents.stretches[-1].stop, 0.0)
    recording = _part(path, electrodes, contents, whole)
    warn_of_size(recording.signal, recording.where)
    return recording


def read_parts(path: Path | str, electrodes: Sequence[str] = TEN_TWENTY) -> tuple[Recording, ...]:
    """Read a recording that may have gaps as the parts between them, in order of time.

    Gaps are where the time stamps of an EDF+ or BDF+ jump, even if its header says EDF+C, and
    where any file marks samples as not recorded (`BAD_ACQ_SKIP`) or as a join of pieces.

    Args:
        path, electrodes: as of `read_recording`.
    Returns:
        One recording a part, each with its `offset`; a single one where there is no gap.
    Raises:
        InputError, BackendMissing: as `read_recording`, apart from gaps.
    """
    path = Path(path)
    contents = _opened(path, electrodes)
    parts = [_part(path, electrodes, contents, stretch) for stretch in contents.stretches]
    longest = max(parts, key=lambda part: part.duration)
    warn_of_size(longest.signal, longest.where)
    return tuple(parts)


def arranged(recording: Recording, electrodes: Sequence[str] = TEN_TWENTY) -> Recording:
    """Put the channels of a recording into the order of some electrodes, and leave out the rest.

    Raises:
        InputError: an electrode is missing or there twice, or has another reference.
    """
    if recording.names == tuple(electrodes):
        return recording
    chosen = list(places(recording.names, recording.where, electrodes))
    return replace(recording, signal=recording.signal[chosen], names=tuple(electrodes))


def _opened(path: Path, electrodes: Sequence[str]) -> Contents:
    """Open a file of any kind."""
    if not is_recording(path):
        raise InputError(f"a recording is one of {', '.join(SUFFIXES)}, but got {str(path)!r}")
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    is_fif = path.name.lower().endswith(_FIF_SUFFIXES)
    contents = (open_fif if is_fif else open_edf)(path, electrodes)
    if not contents.stretches:
        raise InputError(f"{str(path)!r} is empty: all of it is marked as not recorded")
    return contents


def _part(path: Path, electrodes: Sequence[str], contents: Contents, stretch: Stretch) -> Recording:
    """Read a stretch."""
    start = None if contents.start is None else contents.start + timedelta(seconds=stretch.offset)
    return Recording(
        contents.read(stretch), tuple(electrodes), contents.rate, start, path, stretch.offset
    )


def _suffix(path: Path) -> str:
    """The ending of the name as it is written, `.fif.gz` being one."""
    ends = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[-max(map(len, ends)) :] if ends else path.suffix
