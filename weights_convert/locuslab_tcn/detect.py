"""How a file of locuslab/TCN is told from others."""

from pathlib import Path

from ..pytorch_tcn.projects import LOCUSLAB, projects

NAME = LOCUSLAB


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file may be those of a TemporalConvNet."""
    return NAME in projects(path)
