"""A whole file that is to be broken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tcnzoo.errors import BackendMissing


@dataclass(frozen=True)
class Sample:
    """A whole file.

    Attributes:
        format: that it is of.
        path: of the file or directory; its folder holds nothing but it and what belongs to it.
        container: which mutations it can have, a key of `cases.STRUCTURAL`.
        hints: that reading it takes.
        runs: a graph that says by itself what it computes.
    """

    format: str
    path: Path
    container: str
    hints: Mapping[str, Any] = field(default_factory=dict)
    runs: bool = False


# What a missing package makes a maker raise; the nets of the tests skip.
MISSING = (BackendMissing, ImportError, pytest.skip.Exception)
Maker = Callable[[Path], Iterator[Sample]]


def container_of(path: Path) -> str:
    """Container of a sample, from its name."""
    if path.is_dir():
        return "directory"
    ending = path.suffix.removeprefix(".")
    return {"pth": "pt", "hdf5": "h5"}.get(ending, ending)
