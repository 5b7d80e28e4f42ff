"""Packages of the extras, imported when they are first used."""

import importlib
from pathlib import Path
from typing import Any

from tcnzoo.errors import BackendMissing, InputError
from tcnzoo.files.atomic import check_destination


def needed(module: str, purpose: str, *, extra: str) -> Any:
    """Import a module of a package that the core does without.

    Args:
        module: its dotted name, such as `scipy.signal`.
        purpose: what it is wanted for, as the subject of a sentence.
        extra: of tcnzoo, which installs the package.
    Raises:
        BackendMissing: the package is not installed; the sentence says what to install.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise BackendMissing(
            f"{purpose} needs {package}, which is not installed; run: pip install 'tcnzoo[{extra}]'"
        ) from None


def check_figure(path: Path | None, *, extra: str = "plot") -> None:
    """Refuse a picture that could not be drawn or written, before the work for it starts.

    Args:
        path: of the .png file. None passes.
        extra: of tcnzoo, which installs matplotlib.
    Raises:
        InputError: another ending, or a place where nothing can be written.
        BackendMissing: matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(f"a figure is a .png file, but got {str(path)!r}")
    check_destination(path)
    needed("matplotlib.backends.backend_agg", "a figure", extra=extra)
