"""Packages of the extras, imported when they are first used."""

import importlib
from typing import Any

from tcnzoo.errors import BackendMissing


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
