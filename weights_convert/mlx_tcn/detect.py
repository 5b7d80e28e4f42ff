"""How a file of mlx-tcn is told from others."""

from pathlib import Path

from ..pytorch_tcn.projects import MLX, projects

NAME = MLX


def detect(path: Path) -> bool:
    """Whether the names in a .safetensors or .npz file may be those of mlx-tcn."""
    return NAME in projects(path)
