"""Packages that the core does without: whether they are there, imported when first used."""

import importlib
import importlib.util
from typing import Any

from tcnzoo.errors import BackendMissing

# Modules of each backend, and of what else a spec may ask for.
NEEDS = {
    "numpy": ("numpy",),
    "torch": ("torch",),
    "mlx": ("mlx.core",),
    "keras": ("keras",),
    "h5py": ("h5py",),
    "mamba-ssm": ("mamba_ssm",),
}


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


def missing_package(name: str) -> str | None:
    """First framework package of a backend that cannot be found, or None."""
    for package in NEEDS.get(name, ()):
        try:
            if importlib.util.find_spec(package) is None:
                return package
        except ModuleNotFoundError:
            return package.partition(".")[0]
    return None
