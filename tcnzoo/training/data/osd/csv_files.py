"""Datapoints of flattenData's CSV."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.tables import Table, is_missing
from tcnzoo.training.data.osd.datapoints import (
    LARGEST,
    NEGATIVE,
    POSITIVE,
    SAMPLES,
    UNKNOWN,
    Row,
    lack_of,
    name_of,
    shown,
    time_of,
)

AXES = ("X", "Y", "Z")


def csv_rows(path: Path, signal: str, first: int) -> Iterator[Row]:
    """Yield the datapoints of a CSV, in the order of its lines.

    Args:
        path: of the file; the columns `userId` and `dataTime` may be missing.
        signal: `magnitude`, or `xyz` for three channels.
        first: position of the first datapoint.
    Raises:
        InputError: a column that is missing or there twice, or a line that is no datapoint.
    """
    table = Table(path, "cells", named=True)
    columns = _columns(table)
    for name in ("eventId", "type"):
        if name not in columns:
            raise InputError(f"{str(path)!r} has no column {name!r}")
    letters = ("M",) if signal == "magnitude" else AXES
    places = [_sample_columns(path, columns, letter) for letter in letters]
    for position, (number, line) in zip(count(first), table.rows(), strict=False):
        where = f"{str(path)!r}: line {number}"
        event = name_of(line[columns["eventId"]], "eventId", where)
        if not event:
            raise InputError(f"{where} has no eventId")
        label = _type(table, where, line[columns["type"]].strip().strip('"'))
        samples, lack = _samples(table, where, line, places)
        yield Row(
            event=event,
            user=_optional(line, columns.get("userId"), "userId", where),
            label=label,
            samples=samples,
            time=time_of(_optional(line, columns.get("dataTime"), "dataTime", where), where),
            position=position,
            kind=str(label),
            lack=lack,
        )


def _columns(table: Table) -> dict[str, int]:
    """Index of each column."""
    names = [name.strip('"').strip() for name in table.names or ()]
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise InputError(f"{str(table.path)!r} has two columns {shown(twice[0])}")
    return {name: column for column, name in enumerate(names)}


def _sample_columns(path: Path, columns: dict[str, int], letter: str) -> list[int]:
    """Places of the samples of a channel; columns with feature history end in `_t-0`."""
    names = [f"{letter}{number:03d}" for number in range(SAMPLES)]
    if any(re.fullmatch(rf"{letter}\d{{3}}_t-0", name) for name in columns):
        names = [f"{name}_t-0" for name in names]
    there = [columns[name] for name in names if name in columns]
    if len(there) != SAMPLES:
        raise InputError(
            f"{str(path)!r} must have {SAMPLES} columns {names[0]} to {names[-1]}, but has "
            f"{len(there)}"
        )
    return there


def _optional(line: list[str], column: int | None, what: str, where: str) -> str:
    """The text of a cell, without the quotes that some files have; empty without the column."""
    return "" if column is None else name_of(line[column], what, where)


def _type(table: Table, where: str, text: str) -> int:
    """A type of 0, 1 or 2, perhaps written 1.0."""
    value = table.number(text)
    if value not in (NEGATIVE, POSITIVE, UNKNOWN):
        raise InputError(f"{where} has type {shown(text)}, which is not 0, 1 or 2")
    return int(value)


def _samples(
    table: Table, where: str, line: list[str], places: list[list[int]]
) -> tuple[Array | None, str]:
    """The samples of a line, (channels, 125), or the reason why they are missing."""
    cells = [line[column] for row in places for column in row]
    if all(map(is_missing, cells)):
        return None, "no samples"
    values = [table.number(cell) for cell in cells]
    numbers = np.array([np.nan if value is None else value for value in values])
    if not (np.abs(numbers) <= LARGEST).all():
        raise InputError(f"{where} has samples that are not numbers")
    samples = numbers.astype(np.float32).reshape(len(places), SAMPLES)
    return samples, lack_of(samples)
