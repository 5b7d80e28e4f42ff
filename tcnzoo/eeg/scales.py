"""Rates and units of a recording's channels: errors and warnings for implausible ones."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

# "µ" (micro sign) and "μ" (Greek) in UTF-8, GBK and Shift-JIS, Latin-1, and code page 437.
_MICRO = (b"\xc2\xb5", b"\xce\xbc", b"\xa6\xcc", b"\x83\xca", b"\xb5", b"\xe6")
_PREFIXES = {"": 1e6, "m": 1e3, "milli": 1e3, "u": 1.0, "micro": 1.0, "n": 1e-3, "nano": 1e-3}
# A field of 8 bytes cuts longer words: `microvol`.
_VOLTS = ("v", "vo", "vol", "volt", "volts")
_UNITS = {prefix + volts: size for prefix, size in _PREFIXES.items() for volts in _VOLTS}
# An EEG varies by some tens of uV; outside of this, in uV, its unit is hardly right.
_DEVIATIONS = (1e-2, 1e5)
_SHOWN = 6


def microvolts(field: bytes) -> float | None:
    """How many uV one unit is, in any case and the usual encodings; None if it is no voltage.

    `MV` is read as mV: no electrode gives megavolts.
    """
    for micro in _MICRO:
        field = field.replace(micro, b"u")
    text = field.decode("latin-1").lower().replace(" ", "").strip("[]().")
    return _UNITS.get(text)


def microvolts_of(channel: str, field: bytes, where: str) -> float:
    """How many uV one unit of a channel is; 1 where the field is empty.

    Raises:
        InputError: the unit is no voltage.
    """
    size = microvolts(field) if field else 1.0
    if size is None:
        raise InputError(
            f"channel {channel!r} of {where} must be in uV, mV, nV or V, but is in "
            f"{field.decode('utf-8', 'backslashreplace')!r}"
        )
    return size


def warn_without_unit(channels: Sequence[str], where: str) -> None:
    """Name the channels whose unit is empty, and are therefore taken for uV."""
    if channels:
        more = f" and {len(channels) - _SHOWN} more" if len(channels) > _SHOWN else ""
        warnings.warn(
            f"{where} does not say the unit of {', '.join(channels[:_SHOWN])}{more}, "
            "so it is taken for uV",
            stacklevel=2,
        )


def warn_of_size(signal: Array, where: str) -> None:
    """Warn of a signal that is too large or too small for an EEG in uV."""
    # One channel after the other, since a copy of a long recording may not fit.
    finite = (channel[np.isfinite(channel)] for channel in signal)
    deviation = float(np.median([channel.std() if channel.size else 0.0 for channel in finite]))
    low, high = _DEVIATIONS
    if deviation > 0.0 and not low <= deviation <= high:
        warnings.warn(
            f"{where} varies by {deviation:.2g} uV, where an EEG varies by some tens of uV; "
            "check the unit that its channels say",
            stacklevel=2,
        )


def check_rate(rates: Mapping[str, float], where: str) -> float:
    """The sampling rate that all channels share, in Hz.

    Raises:
        InputError: different rates, or one below 1 Hz.
    """
    low, high = min(rates, key=lambda name: rates[name]), max(rates, key=lambda name: rates[name])
    if rates[low] != rates[high]:
        raise InputError(
            f"the channels of {where} must have one sampling rate, but {high} has "
            f"{rates[high]:g} Hz and {low} {rates[low]:g} Hz"
        )
    if not 1.0 <= rates[low] < float("inf"):
        raise InputError(
            f"the sampling rate of {where} must be at least 1 Hz, but is {rates[low]:g} Hz"
        )
    return rates[low]
