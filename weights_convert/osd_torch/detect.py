"""How a checkpoint of OpenSeizureDetector is told from others."""

from pathlib import Path

from ..containers.detect import kind_of
from ..containers.pt import pickled_strings

NAME = "osd-torch"


def detect(path: Path) -> bool:
    """Whether the pickle of a .pt file names the net's first and last kernel."""
    if kind_of(path) != "pt":
        return False
    return {"conv_stack.0.weight", "fc_out.weight"} <= pickled_strings(path)
