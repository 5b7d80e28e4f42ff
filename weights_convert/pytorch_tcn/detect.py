"""How a file of pytorch-tcn is told from others."""

from pathlib import Path

from .projects import PYTORCH, projects

NAME = PYTORCH


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file may be those of pytorch-tcn."""
    return NAME in projects(path)
