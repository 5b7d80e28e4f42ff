"""How a codebook of vector-quantize-pytorch is told from others."""

from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "vector-quantize-pytorch"


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a codebook."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    roots = {name.removesuffix("embed") for name in names if name.endswith("_codebook.embed")}
    return any(root + "cluster_size" in names for root in roots)
