"""How a state_dict of an `nn.Sequential` is told from others."""

from pathlib import Path

from tcnzoo.checkpoints.directory import (
    open_safetensors,
    safetensors_metadata,
)

from ..containers.detect import kind_of
from ..containers.own import MARK, mark
from ..containers.pt import pickled_strings
from .groups import prefixes_in

NAME = "torch-sequential"


def detect(path: Path) -> bool:
    """Whether all names in a .pt or .safetensors file are those of one `nn.Sequential`."""
    kind = kind_of(path)
    if kind == "pt":
        names = pickled_strings(path)
        marks = {name for name in names if name.startswith(MARK)}
        return marks == {mark(NAME)} or (not marks and len(prefixes_in(names)) == 1)
    if kind != "safetensors":
        return False
    said = safetensors_metadata(path).get("format", "")
    prefixes = prefixes_in(open_safetensors(path)[0])
    # MLX names the places of its own Sequential `layers.0`, with the axes in another order.
    other = any(prefix.rpartition(".")[2] == "layers" for prefix in prefixes)
    return said == mark(NAME) or (not said.startswith(MARK) and len(prefixes) == 1 and not other)
