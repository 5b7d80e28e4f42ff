"""Rates and units of a recording's channels: errors and warnings for implausible ones."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.specs.input_unit import InputUnit

# "µ" (micro sign) and "μ" (Greek) in UTF-8, GBK and Shift-JIS, Latin-1, and code page 437.
_MICRO = (b"\xc2\xb5", b"\xce\xbc", b"\xa6\xcc", b"\x83\xca", b"\xb5", b"\xe6")
_PREFIXES = {"": 1e6, "m": 1e3, "milli": 1e3, "u": 1.0, "micro": 1.0, "n": 1e-3, "nano": 1e-3}
_NAMES = {"": "V", "m": "mV", "u": "uV", "n": "nV"}
# A field of 8 bytes cuts longer words: `microvol`.
_VOLTS = ("v", "vo", "vol", "volt", "volts")
_UNITS = {prefix + volts: size for prefix, size in _PREFIXES.items() for volts in _VOLTS}
# An EEG varies by some tens of uV; outside of this, in uV, its unit is hardly right.
_DEVIATIONS = (1e-2, 1e5)
_SHOWN = 6
# Deviations, in uV, of EEG channels that electrodes on a head can have, and a usual one.
_LIKELY, _USUAL = (0.5, 1e3), 30.0


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


def size_remark(x: Array, unit: InputUnit) -> str | None:
    """A sentence on a signal that cannot be in the unit that a model takes; None if it can.

    The size is robust: 1.4826 times the median distance from the median of each channel, which is
    the deviation of normal values, and of these the median over the channels that vary.

    Args:
        x: (..., channels, time).
        unit: of the model's signal, with its scale.
    """
    sizes = [_deviation(channel) for channel in x.reshape(-1, x.shape[-1])]
    varying = [size for size in sizes if size > 0.0]
    size = float(np.median(varying)) if varying else 0.0
    low, high = _LIKELY
    if not varying or low <= size / unit.scale <= high:
        return None
    sentence = (
        f"the model takes {unit.unit} x {unit.scale:g}, but the signal varies by {size:.2g}, which "
        f"would be {size / unit.scale:.2g} {unit.unit}, where an EEG varies by some tens"
    )
    factors = {name: _PREFIXES[prefix] * unit.scale for prefix, name in _NAMES.items()}
    away = {name: abs(np.log10(size * f / unit.scale / _USUAL)) for name, f in factors.items()}
    name = min(away, key=lambda one: away[one])
    if low <= size * factors[name] / unit.scale <= high:
        sentence += f"; if it is in {name}, multiply it by {factors[name]:g}"
    return sentence


def _deviation(channel: Array) -> float:
    """Robust deviation of the finite values of a channel."""
    finite = channel[np.isfinite(channel)].astype(np.float64)
    if not finite.size:
        return 0.0
    return 1.4826 * float(np.median(np.abs(finite - np.median(finite))))


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
