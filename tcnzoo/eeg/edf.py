"""The header of an EDF or BDF file, held against the bytes that are there before it is read."""

from dataclasses import dataclass
from pathlib import Path

from tcnzoo.errors import InputError

# Bytes of a sample, and what the file begins with.
KINDS = {".edf": (2, b"0       "), ".bdf": (3, b"\xffBIOSEMI")}
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_FIXED = 256
# Label, transducer, unit, two physical and two digital limits, prefiltering: what each signal has
# in the header before its samples a record.
_BEFORE_SAMPLES = 16 + 80 + 8 + 8 + 8 + 8 + 8 + 80


@dataclass(frozen=True)
class EdfHeader:
    """What the check of a file needs.

    Attributes:
        names: labels of the signals, annotations left out.
        samples: samples of each signal in a record.
        records: how many there are.
        seconds: duration of a record.
    """

    names: tuple[str, ...]
    samples: tuple[int, ...]
    records: int
    seconds: float


def check_edf(path: Path) -> EdfHeader:
    """Read the header, and see that the file holds all the records that it promises.

    Raises:
        InputError: not such a file, cut short, empty, or with gaps in time.
    Source:
        Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003 (EDF+),
        doi:10.1016/S1388-2457(03)00123-8.
    """
    width, magic = KINDS[path.suffix.lower()]
    size, kind = path.stat().st_size, path.suffix[1:].upper()
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
        if len(fixed) < _FIXED or not fixed.startswith(magic):
            raise InputError(
                f"{str(path)!r} is no {kind} file: its {size:,} bytes have no such header"
            )
        signals = _number(path, fixed[252:256], "number of signals")
        length = _FIXED * (1 + signals)
        if signals < 1 or size < length:
            raise InputError(
                f"{str(path)!r} is cut short: the header of {signals} signals takes {length:,} "
                f"bytes, but the file has {size:,}"
            )
        fields = file.read(length - _FIXED)
    if fixed[192:197] == b"EDF+D":
        raise InputError(f"{str(path)!r} has gaps in time (EDF+D), but must be without any (EDF+C)")
    labels = [_text(fields[16 * place :][:16]) for place in range(signals)]
    samples = [
        _number(path, fields[_BEFORE_SAMPLES * signals + 8 * place :][:8], "samples a record")
        for place in range(signals)
    ]
    records = _records(path, fixed, size - length, width * sum(samples))
    kept = [place for place, label in enumerate(labels) if label not in ANNOTATIONS]
    return EdfHeader(
        tuple(labels[place] for place in kept),
        tuple(samples[place] for place in kept),
        records,
        _seconds(path, fixed[244:252]),
    )


def _records(path: Path, fixed: bytes, there: int, each: int) -> int:
    """Number of records, of `each` bytes, of which the file holds `there` bytes."""
    promised = _number(path, fixed[236:244], "number of records")
    records = there // max(each, 1) if promised == -1 else promised  # -1: never closed
    if records < 1 or each < 1:
        raise InputError(f"{str(path)!r} is empty: it holds no samples")
    if there < records * each:
        raise InputError(
            f"{str(path)!r} is cut short: its header promises {records} records of {each:,} bytes, "
            f"but there are {there / each:.1f}"
        )
    return records


def _number(path: Path, field: bytes, what: str) -> int:
    """A whole number of the header."""
    try:
        number = int(_text(field))
    except ValueError:
        number = -2
    if number < -1:
        raise InputError(f"{str(path)!r} has a damaged header: its {what} is {_text(field)!r}")
    return number


def _seconds(path: Path, field: bytes) -> float:
    """The duration of a record."""
    try:
        seconds = float(_text(field))
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise InputError(
            f"{str(path)!r} has a damaged header: its duration of a record is {_text(field)!r}"
        )
    return seconds


def _text(field: bytes) -> str:
    """A field without its padding."""
    return field.decode("latin-1").strip()
