"""How a checkpoint of VQNSP is told from others."""

import re
from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "labram-vqnsp"

# A tensor that every such tokenizer has, and what stands before it.
ROOT = re.compile(r"(|.*\.)quantize\.embedding\.weight$")
_BESIDE = ("encoder.pos_embed", "decoder.patch_embed.proj.weight", "encode_task_layer.0.weight")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a tokenizer."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    roots = {match[1] for match in map(ROOT.match, names) if match}
    return any(all(root + name in names for name in _BESIDE) for root in roots)
