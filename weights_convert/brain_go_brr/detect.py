"""How a checkpoint of brain-go-brr-v2 is told from others."""

import re
from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "brain-go-brr"

# A tensor that every such detector has, and what stands before it in a checkpoint.
ROOT = re.compile(r"(.*\.|)mamba\.layers\.0\.layer_norm\.weight$")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a detector."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    return any(ROOT.match(name) for name in names)
