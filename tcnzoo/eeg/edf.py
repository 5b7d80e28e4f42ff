"""The header of an EDF or BDF file, checked with the length of the file."""

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tcnzoo.errors import InputError

# Bytes of a sample, and what the file begins with.
KINDS = {".edf": (2, b"0"), ".bdf": (3, b"\xffBIOSEMI")}
# Old EDF files end with this.
_EDF_AS_WELL = ".rec"
EDF_SUFFIXES = (*KINDS, _EDF_AS_WELL)
_ANNOTATIONS = ("edf annotations", "bdf annotations")
_FIXED = 256
# Of a record, in s; outside of this the field is damaged.
_SHORTEST, _LONGEST = 1e-6, 1e8
# Bytes of each signal's fields: label, transducer, unit, the lower and upper physical limit, the
# lower and upper digital limit, prefiltering, samples in a record, reserved.
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class EdfSignal(NamedTuple):
    """A signal's fields as they stand in the header, and where its bytes lie in a record."""

    label: str
    unit: bytes
    limits: tuple[bytes, bytes, bytes, bytes]
    samples: int
    first_byte: int


@dataclass(frozen=True)
class EdfHeader:
    """What is needed to read a file.

    Attributes:
        path: of the file.
        signals: without the annotations.
        annotations: the signals that hold annotations.
        records: how many there are.
        seconds: duration of a record.
        discontinuous: whether the file calls itself EDF+D or BDF+D.
        start: date and time of the header, in whole seconds; None if it is invalid.
        length: bytes of the header.
        record_bytes: bytes of a record.
        width: bytes of a sample.
    """

    path: Path
    signals: tuple[EdfSignal, ...]
    annotations: tuple[EdfSignal, ...]
    records: int
    seconds: float
    discontinuous: bool
    start: datetime | None
    length: int
    record_bytes: int
    width: int

    @property
    def where(self) -> str:
        """The file as the subject of a sentence."""
        return repr(str(self.path))


def read_header(path: Path) -> EdfHeader:
    """Read the header, and check that the file holds all the records that it promises.

    Numbers may be padded with blanks or NUL and have a decimal comma.

    Raises:
        InputError: not such a file, cut short, or empty.
    Source:
        Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003 (EDF+),
        doi:10.1016/S1388-2457(03)00123-8.
    """
    suffix = path.suffix.lower()
    width, magic = KINDS[".edf" if suffix == _EDF_AS_WELL else suffix]
    size, kind = path.stat().st_size, "BDF" if width == 3 else "EDF"
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
        if len(fixed) < _FIXED or field_bytes(fixed[:8]) != magic:
            raise InputError(
                f"{str(path)!r} is no {kind} file: its {size:,} bytes have no such header"
            )
        count = _number(path, fixed[252:256], "number of signals")
        length = _FIXED * (1 + count)
        if count < 1 or size < length:
            raise InputError(
                f"{str(path)!r} is cut short: the header of {count} signals takes {length:,} "
                f"bytes, but the file has {size:,}"
            )
        signals = _signals(path, file.read(length - _FIXED), count, width)
    if (promised := _number(path, fixed[184:192], "number of bytes")) != length:
        raise InputError(
            f"{str(path)!r} has a damaged header: it says that it takes {promised:,} bytes, but "
            f"that of {count} signals takes {length:,}"
        )
    record_bytes = width * sum(signal.samples for signal in signals)
    marked = [signal.label.lower() in _ANNOTATIONS for signal in signals]
    return EdfHeader(
        path,
        tuple(signal for signal, is_text in zip(signals, marked, strict=True) if not is_text),
        tuple(signal for signal, is_text in zip(signals, marked, strict=True) if is_text),
        _records(path, fixed, size - length, record_bytes),
        _seconds(path, fixed[244:252]),
        fixed[192:197].upper() in (b"EDF+D", b"BDF+D"),
        _start(fixed),
        length,
        record_bytes,
        width,
    )


def field_bytes(field: bytes) -> bytes:
    """A field without its padding: blanks, or NUL and what may stand behind it."""
    return field.partition(b"\0")[0].strip()


def field_text(field: bytes) -> str:
    """The same as text."""
    return field_bytes(field).decode("latin-1").strip()


def field_float(field: bytes) -> float:
    """A number, with a point or a comma; NaN if the field is no number."""
    try:
        return float(field_text(field).replace(",", "."))
    except ValueError:
        return float("nan")


def _signals(path: Path, block: bytes, count: int, width: int) -> list[EdfSignal]:
    """The signals; each field stands for all of them before the next field begins."""
    columns, begin = [], 0
    for size in _FIELDS:
        columns.append([block[begin + size * index :][:size] for index in range(count)])
        begin += size * count
    labels, _, units, *limits, _, samples, _ = columns
    parsed, first_byte = [], 0
    for label, unit, four, text in zip(
        labels, units, zip(*limits, strict=True), samples, strict=True
    ):
        size = _number(path, text, "samples a record")
        if size < 0:
            raise InputError(
                f"{str(path)!r} has a damaged header: its samples a record is '{size}'"
            )
        parsed.append(EdfSignal(field_text(label), field_bytes(unit), four, size, first_byte))
        first_byte += width * size
    return parsed


def _records(path: Path, fixed: bytes, there: int, each: int) -> int:
    """Number of records, of `each` bytes, of which the file holds `there` bytes."""
    promised = _number(path, fixed[236:244], "number of records")
    whole = there // max(each, 1)
    records = whole if promised == -1 else promised  # -1: never closed
    if records < 1 or each < 1:
        raise InputError(f"{str(path)!r} is empty: it holds no samples")
    if there < records * each:
        raise InputError(
            f"{str(path)!r} is cut short: its header promises {records} records of {each:,} bytes, "
            f"but there are {10 * there // each / 10}"
        )
    if records < whole:
        warnings.warn(
            f"{str(path)!r} holds {whole} records, but its header says {records}; all are read",
            stacklevel=2,
        )
    return whole


def _number(path: Path, field: bytes, what: str) -> int:
    """A whole number of the header."""
    try:
        number = int(field_text(field))
    except ValueError:
        number = -2
    if number < -1:
        raise InputError(f"{str(path)!r} has a damaged header: its {what} is {field_text(field)!r}")
    return number


def _seconds(path: Path, field: bytes) -> float:
    """The duration of a record."""
    seconds = field_float(field)
    if not _SHORTEST <= seconds <= _LONGEST:
        raise InputError(
            f"{str(path)!r} has a damaged header: its duration of a record is {field_text(field)!r}"
        )
    return seconds


def _start(fixed: bytes) -> datetime | None:
    """Date and time; EDF+ has the century in a field of its own."""
    date = re.split(r"[.:/-]", field_text(fixed[168:176]))
    time = re.split(r"[.:/-]", field_text(fixed[176:184]))
    plus = re.match(
        r"Startdate (\d\d?)-([A-Za-z]{3})-([12]\d{3})(?: |$)", field_text(fixed[88:168])
    )
    try:
        if plus is not None:
            day, year = int(plus[1]), int(plus[3])
            month = 1 + _MONTHS.index(plus[2].upper())
        else:
            day, month, year = map(int, date)
            year += 1900 if year >= 85 else 2000
        hour, minute, second = map(int, time)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
