"""Montages: names of electrodes, and where they are on the head.

Positions are metres in the head frame: x to the right ear, y to the nose, z up. `electrodes.csv`
has those of MNE-Python 1.13.2 (BSD-3-Clause), its montages `standard_1005` and `GSN-HydroCel-129`,
each set on a recording of its own, which turns it by its own fiducials.
"""

import csv
import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints

from tcnzoo.specs.electrodes import TABLES, check_distinct, rows_of

Place: TypeAlias = tuple[float, float, float]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# A built-in montage, names of electrodes, or names with their places.
Montage: TypeAlias = (
    str
    | Annotated[tuple[Name, ...], Field(min_length=1, max_length=65536)]
    | Annotated[dict[Name, Place], Field(min_length=1, max_length=65536)]
)

# The order in which brain-go-brr-v2 (Clarity-Digital-Twin) trained its detectors.
TEN_TWENTY = (
    *("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1"),
    *("Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2"),
)
# Built-in montages that are choices among named electrodes.
_CHOICES: dict[str, tuple[str, ...]] = {
    "tuh-19": TEN_TWENTY,
    "tuh-21": (*TEN_TWENTY, "A1", "A2"),
    "labram-128": TABLES["labram-128"],
}
_WHOLE = ("standard-1005", "hydrocel-129")
MONTAGES = (*_CHOICES, *_WHOLE)


@functools.cache
def _table() -> dict[str, dict[str, Place]]:
    """Electrode -> place, by montage."""
    montages: dict[str, dict[str, Place]] = {}
    with (files("tcnzoo.specs") / "electrodes.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            xyz = float(row["x"]), float(row["y"]), float(row["z"])
            montages.setdefault(row["montage"], {})[row["electrode"]] = xyz
    return montages


def names_of(montage: Montage) -> tuple[str, ...]:
    """Names of the electrodes of a montage, in order.

    Raises:
        ValueError: no such montage, or a name that stands twice.
    """
    if isinstance(montage, str):
        if montage in _CHOICES:
            return _CHOICES[montage]
        if montage not in _WHOLE:
            raise ValueError(f"no montage {montage!r}; there are {', '.join(MONTAGES)}")
        return tuple(_table()[montage])
    names = tuple(montage)
    check_distinct("the electrodes", names)
    return names


def places_of(montage: Montage) -> dict[str, Place]:
    """Where the electrodes of a montage are, metres in the head frame.

    Names without places are looked up among those of the 10-05 system, then of HydroCel nets.

    Raises:
        ValueError: an electrode whose place is not known, with the nearest known name.
    """
    if isinstance(montage, Mapping):
        names_of(montage)
        places = dict(montage)
    elif isinstance(montage, str) and montage in _WHOLE:
        places = dict(_table()[montage])
    else:
        names = names_of(montage)
        known = {**_table()["hydrocel-129"], **_table()["standard-1005"]}
        table = list({name.upper(): name for name in known}.values())
        places = {
            name: known[table[row]] for name, row in zip(names, rows_of(names, table), strict=True)
        }
    return places


def check_apart(places: Mapping[str, Place]) -> None:
    """Raise ValueError if two electrodes are at one place."""
    owners: dict[Place, str] = {}
    for name, place in places.items():
        other = owners.setdefault(place, name)
        if other != name:
            raise ValueError(f"electrodes {other!r} and {name!r} are at one place")
