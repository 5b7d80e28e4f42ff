"""Events in time, and the files that hold them: events.tsv, CSV_BI and JSON."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tcnzoo.checkpoints.directory import replacing
from tcnzoo.eeg import event_files as files
from tcnzoo.eeg.annotations import Annotations, Event
from tcnzoo.eeg.labels import checked_names
from tcnzoo.errors import InputError

__all__ = ["Annotations", "Event", "check_suffix", "read_events", "write_events"]

Reader = Callable[[str, str, frozenset[str]], Annotations]
Writer = Callable[[Annotations], str]
_FILES: dict[str, tuple[Reader, Writer]] = {
    ".tsv": (files.read_tsv, files.write_tsv),
    ".csv": (files.read_csv_bi, files.write_csv_bi),
    ".csv_bi": (files.read_csv_bi, files.write_csv_bi),
    ".json": (files.read_json, files.write_json),
}


def read_events(path: Path, seizures: Iterable[str] = ()) -> Annotations:
    """Read the seizures of a .tsv (BIDS, SzCORE), .csv or .csv_bi (NEDC), or .json.

    Labels of seizures are `sz`, alone or refined as in `sz_foc_ia` (SzCORE), `seiz`, `fnsz`,
    `gnsz`, `spsz`, `cpsz`, `absz`, `tnsz`, `cnsz`, `tcsz`, `atsz` and `mysz` (NEDC), and `seizure`,
    in any case. Other events are left out, with any times; a warning and `left_out` count
    them, but for `bckg`. Of a seizure that begins before the recording, what lies after 0 s is
    taken, with a warning. The text is UTF-8, else Latin-1.

    Args:
        path: of the file.
        seizures: further labels that stand for seizures.
    Raises:
        InputError: no such file, another ending, no table of events, or a seizure whose times or
            confidence cannot be.
    """
    read, _ = _functions(path)
    also = checked_names(seizures)
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    return read(_text(path), repr(str(path)), also)


def write_events(path: Path, annotations: Annotations) -> None:
    """Write .tsv, .csv, .csv_bi or .json, whole or not at all.

    Raises:
        InputError: another ending, or a .tsv or .csv without the duration of the recording.
    """
    _, write = _functions(path)
    text = write(annotations)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_suffix(path: Path) -> None:
    """Raise InputError for a file that could not be read or written, before the work starts."""
    _functions(path)


def _text(path: Path) -> str:
    """The text of a file, in UTF-8 or else in Latin-1."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{str(path)!r} is not a text file")
    return text


def _functions(path: Path) -> tuple[Reader, Writer]:
    """The reader and the writer of a kind of file."""
    if path.suffix.lower() not in _FILES:
        raise InputError(f"events are one of {', '.join(_FILES)}, but got {str(path)!r}")
    return _FILES[path.suffix.lower()]
