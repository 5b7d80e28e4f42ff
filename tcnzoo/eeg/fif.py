"""FIF files, through MNE; acquisition skips are gaps."""

import gzip
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.montage import places
from tcnzoo.eeg.needs import needed
from tcnzoo.eeg.scales import check_rate
from tcnzoo.eeg.stretches import Contents, Stretch, cut, marks
from tcnzoo.errors import InputError

_MICROVOLTS = 1e6
# FIF's constants: the unit V, no unit at all (two ways), and the multiplier 10^0.
_VOLT, _NO_UNIT, _ONES = 107, (-1, 0), 0


def open_fif(path: Path, electrodes: Sequence[str]) -> Contents:
    """Find some electrodes in a file, and its acquisition skips.

    Args:
        path: .fif or .fif.gz.
        electrodes: wanted, in order.
    Raises:
        InputError: a damaged file, an electrode that is missing, there twice, no EEG, or not in V.
        BackendMissing: MNE is not installed.
    """
    mne = needed("mne", "reading recordings")
    where = repr(str(path))
    raw = _reading(path, partial(_opened, mne, path))
    chosen = places(raw.ch_names, where, electrodes)
    _check_channels(where, raw, chosen, _reading(path, raw.get_channel_types))
    rate = check_rate({name: float(raw.info["sfreq"]) for name in electrodes}, where)
    first, start = raw.first_samp / rate, raw.info["meas_date"]
    annotations = raw.annotations
    texts = zip(
        annotations.onset - first, annotations.duration, annotations.description, strict=True
    )
    return Contents(
        rate,
        None if start is None else start + timedelta(seconds=first),
        cut([Stretch(0, raw.n_times, 0.0)], marks(where, [*texts]), rate),
        partial(_samples, path, raw, list(chosen)),
    )


def _opened(mne: Any, path: Path) -> Any:
    """A file as MNE has it; remarks on names of files and missing dates are kept quiet."""
    # MNE knows a compressed file by `.gz`, but not by `.GZ`; of an open file it takes all at once.
    if path.suffix.lower() == ".gz" != path.suffix:
        with gzip.open(path) as file:
            return mne.io.read_raw_fif(file, preload=True, verbose="error")
    return mne.io.read_raw_fif(path, preload=False, verbose="error")


def _samples(path: Path, raw: Any, chosen: list[int], stretch: Stretch) -> Array:
    """(electrodes, time) in uV of a stretch."""
    span = {"start": stretch.first, "stop": stretch.stop}
    signal = _reading(path, partial(raw.get_data, picks=chosen, **span, verbose="error"))
    return np.asarray(signal, dtype=np.float64) * _MICROVOLTS


def _reading(path: Path, read: Callable[[], Any]) -> Any:
    """Call a reader, and make one sentence of its failure."""
    try:
        return read()
    # A damaged file breaks the reader in any way there is, with errors of any kind.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{str(path)!r} cannot be read: {reason}") from error


def _check_channels(where: str, raw: Any, chosen: Sequence[int], types: Sequence[str]) -> None:
    """Refuse a channel that has the name of an electrode and holds something else."""
    for index in chosen:
        name, channel = raw.ch_names[index], raw.info["chs"][index]
        if types[index] != "eeg":
            raise InputError(
                f"channel {name!r} of {where} must be EEG, but is of type {types[index]!r}"
            )
        unit, power = int(channel["unit"]), int(channel["unit_mul"])
        if unit not in (_VOLT, *_NO_UNIT) or power != _ONES:
            raise InputError(
                f"channel {name!r} of {where} must be in V, but its unit is number {unit} of FIF "
                f"times 10^{power}"
            )
