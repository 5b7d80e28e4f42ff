"""Time stamps, annotations and samples of an EDF or BDF file; only what is used is read."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.eeg.edf import EdfHeader, EdfSignal, field_float, field_text, read_header
from tcnzoo.eeg.montage import places
from tcnzoo.eeg.scales import check_rate, microvolts_of, warn_without_unit
from tcnzoo.eeg.stretches import Contents, Stretch, cut, marks, runs
from tcnzoo.errors import InputError

# Onset and duration of an annotation, before its texts, which are bytes in any encoding. The format
# has no exponents, but some programs write them.
_TIME = rb"\d{1,15}(?:\.\d*)?(?:[eE][+-]?\d{1,2})?"
_ANNOTATION = re.compile(rb"([+-]" + _TIME + rb")(?:\x15(" + _TIME + rb"))?\x14")
# No electrode gives more, in uV; models take float32.
_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
# Bytes of records that are read at once.
_BLOCK = 2**24


def open_edf(path: Path, electrodes: Sequence[str]) -> Contents:
    """Find some electrodes in a file, and the gaps between its records.

    Args:
        path: .edf, .bdf, or .rec, which is an EDF.
        electrodes: wanted, in order.
    Raises:
        InputError: a damaged file, an electrode that is missing or there twice, or whose unit or
            limits cannot be used, electrodes of different rates, or records that overlap.
    """
    header = read_header(path)
    chosen = places([signal.label for signal in header.signals], header.where, electrodes)
    signals = [header.signals[index] for index in chosen]
    rate = _rate(header, signals, electrodes)
    scales = _scales(header, signals)
    stamps, texts = _times(header)
    begin = stamps[0] or 0.0
    each = signals[0].samples
    stretches = [
        Stretch(first * each, stop * each, onset - begin)
        for first, stop, onset in runs(header.where, stamps, header.seconds, rate)
    ]
    marked = marks(
        header.where, [(onset - begin, duration, text) for onset, duration, text in texts]
    )
    return Contents(
        rate,
        None if header.start is None else header.start + timedelta(seconds=begin),
        cut(stretches, marked, rate),
        partial(_samples, header, signals, scales),
    )


class Scale(NamedTuple):
    """uV = (digital - `zero`) * `gain` + `lowest`."""

    zero: float
    gain: float
    lowest: float


def _scales(header: EdfHeader, signals: Sequence[EdfSignal]) -> list[Scale]:
    """From digital values to uV, by the limits and the unit of each signal.

    Physical limits may be in either order (an inverted electrode), digital ones may not.
    """
    scales = []
    for signal in signals:
        low, high, zero, last = map(field_float, signal.limits)
        texts = [field_text(limit) for limit in signal.limits]
        if not np.isfinite([low, high]).all() or abs(high - low) < _SMALLEST:
            raise InputError(
                f"channel {signal.label!r} of {header.where} must have two different physical "
                f"limits, but they are {texts[0]!r} and {texts[1]!r}"
            )
        if not np.isfinite([zero, last]).all() or zero >= last:
            raise InputError(
                f"channel {signal.label!r} of {header.where} must have a digital minimum below its "
                f"digital maximum, but they are {texts[2]!r} and {texts[3]!r}"
            )
        size = microvolts_of(signal.label, signal.unit, header.where)
        if max(abs(low), abs(high)) * size > _LARGEST:
            raise InputError(
                f"channel {signal.label!r} of {header.where} must have physical limits within "
                f"float32, but they are {texts[0]!r} and {texts[1]!r}"
            )
        if max(abs(zero), abs(last)) > 2 ** (8 * header.width):
            raise InputError(
                f"channel {signal.label!r} of {header.where} must have digital limits within "
                f"{8 * header.width} bits, but they are {texts[2]!r} and {texts[3]!r}"
            )
        scales.append(Scale(zero, (high - low) / (last - zero) * size, low * size))
    warn_without_unit([signal.label for signal in signals if not signal.unit], header.where)
    return scales


def _rate(header: EdfHeader, signals: Sequence[EdfSignal], electrodes: Sequence[str]) -> float:
    """The sampling rate that all the signals share, in Hz."""
    seconds = Fraction(repr(header.seconds))
    rates = [float(signal.samples / seconds) for signal in signals]
    return check_rate(dict(zip(electrodes, rates, strict=True)), header.where)


class Text(NamedTuple):
    """An annotation; times in s, on the clock of the header."""

    onset: float
    duration: float
    text: str


def _times(header: EdfHeader) -> tuple[list[float | None], list[Text]]:
    """When each record begins, None where it does not say, and all annotations.

    The first annotation of a record has no text and says when the record begins. Files that have
    no such stamps are taken as continuous, unless they say that they are not.
    """
    stamps: list[float | None] = []
    texts: list[Text] = []
    with header.path.open("rb") as file:
        for record in range(header.records):
            stamp = None
            for signal in header.annotations:
                annotations = list(_annotations(_piece(file, header, record, signal)))
                if stamp is None and annotations and not annotations[0].text:
                    stamp = annotations[0].onset
                texts += annotations
            stamps.append(stamp)
    if header.discontinuous and None in stamps:
        raise InputError(
            f"{header.where} calls itself discontinuous, but its record {stamps.index(None) + 1} "
            "has no time stamp, so its gaps are unknown"
        )
    return stamps, texts


def _piece(file: BinaryIO, header: EdfHeader, record: int, signal: EdfSignal) -> bytes:
    """The bytes of a signal in a record."""
    file.seek(header.length + record * header.record_bytes + signal.first_byte)
    return file.read(signal.samples * header.width)


def _annotations(piece: bytes) -> Iterator[Text]:
    """The annotations in some bytes; texts may be in any encoding, marks are ASCII."""
    # By the end of each first, since a search for both in a long piece without an end is quadratic.
    for entry in piece.split(b"\0"):
        match = _ANNOTATION.search(entry[:-1]) if entry.endswith(b"\x14") else None
        if match is None:
            continue
        onset, duration = match.groups()
        for text in entry[match.end() : -1].split(b"\x14"):
            yield Text(float(onset), float(duration or 0), text.decode("latin-1"))


def _samples(
    header: EdfHeader, signals: Sequence[EdfSignal], scales: Sequence[Scale], stretch: Stretch
) -> Array:
    """(signals, time) in uV of a stretch."""
    each = signals[0].samples
    record, last = stretch.first // each, -(-stretch.stop // each)
    digital = np.empty((len(signals), (last - record) * each))
    step, filled = max(1, _BLOCK // header.record_bytes), 0
    with header.path.open("rb") as file:
        file.seek(header.length + record * header.record_bytes)
        for begin in range(record, last, step):
            count = min(step, last - begin)
            block = np.frombuffer(file.read(count * header.record_bytes), dtype=np.uint8)
            for row, signal in zip(digital, signals, strict=True):
                first, width = signal.first_byte, header.width
                part = block.reshape(count, -1)[:, first : first + each * width]
                row[filled : filled + count * each] = _integers(part, width).reshape(-1)
            filled += count * each
    for row, (zero, gain, lowest) in zip(digital, scales, strict=True):
        row -= zero
        row *= gain
        row += lowest
    return digital[:, stretch.first - record * each : stretch.stop - record * each]


def _integers(part: Array, width: int) -> Array:
    """Rows of bytes as little-endian integers of 2 or 3 bytes each."""
    if width == 2:
        return part.view("<i2")
    low, middle, high = (part[:, byte::width] for byte in range(width))
    # The highest byte has the sign.
    whole: Array = low | middle.astype("<i4") << 8 | high.view("i1").astype("<i4") << 16
    return whole
