"""Tables of electrode names, and the rows that the electrodes of a recording have in them."""

import difflib
from collections.abc import Sequence

# Row n is electrode n of LaBraM's position embedding. Its list goes on with eight bipolar
# derivations (FP1-F3 to P4-O2), for which the embedding has no rows.
# Source: github.com/935963004/LaBraM, utils.py, `standard_1020`.
_LABRAM_128 = """
FP1 FPZ FP2
AF9 AF7 AF5 AF3 AF1 AFZ AF2 AF4 AF6 AF8 AF10
F9 F7 F5 F3 F1 FZ F2 F4 F6 F8 F10
FT9 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 FT10
T9 T7 C5 C3 C1 CZ C2 C4 C6 T8 T10
TP9 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 TP10
P9 P7 P5 P3 P1 PZ P2 P4 P6 P8 P10
PO9 PO7 PO5 PO3 PO1 POZ PO2 PO4 PO6 PO8 PO10
O1 OZ O2 O9 CB1 CB2
IZ O10 T3 T5 T4 T6 M1 M2 A1 A2
CFC1 CFC2 CFC3 CFC4 CFC5 CFC6 CFC7 CFC8
CCP1 CCP2 CCP3 CCP4 CCP5 CCP6 CCP7 CCP8
T1 T2 FTT9h TTP7h TPP9h FTT10h TPP8h TPP10h
FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2
"""

# The row of the leading token stands before them in files of LaBraM; where it has that of the first
# electrode, the row is kept under this name.
_LEADING = "CLS"

TABLES: dict[str, tuple[str, ...]] = {
    "labram-128": tuple(_LABRAM_128.split()),
    "labram-129": (_LEADING, *_LABRAM_128.split()),
}


def table_of(table: str | Sequence[str]) -> tuple[str, ...]:
    """Names of a built-in table, or those that are given.

    Raises:
        ValueError: no such table, no names at all, or one that stands twice.
    """
    if isinstance(table, str):
        if table not in TABLES:
            raise ValueError(f"no electrode table {table!r}; there are {', '.join(TABLES)}")
        return TABLES[table]
    check_distinct("the electrode table", table)
    return tuple(table)


def rows_of(names: Sequence[str], table: Sequence[str]) -> list[int]:
    """Row of each electrode in a table; upper and lower case are the same.

    Raises:
        ValueError: a name that the table lacks, or one that stands twice.
    """
    check_distinct("electrodes", names)
    rows = {name.upper(): row for row, name in enumerate(table)}
    for name in names:
        if name.upper() not in rows:
            near = difflib.get_close_matches(name.upper()[:200], rows, n=1, cutoff=0.0)
            nearest = table[rows[near[0]]]
            raise ValueError(
                f"electrode {name!r} is not among the {len(table)} of the table; the nearest name "
                f"there is {nearest!r}"
            )
    return [rows[name.upper()] for name in names]


def check_distinct(what: str, names: Sequence[str]) -> None:
    """Raise ValueError unless there are names, each of them once, in whatever case."""
    if not names:
        raise ValueError(f"{what} must name one electrode or more")
    seen: set[str] = set()
    for name in names:
        if name.upper() in seen:
            raise ValueError(f"{what} name {name!r} twice")
        seen.add(name.upper())
