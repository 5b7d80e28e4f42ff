"""How a checkpoint of LaBraM is told from others."""

import re
from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "labram"

# A tensor that every such model has, and what stands before it; not of the tokenizer's halves.
ROOT = re.compile(r"(|.*\.)(?<!encoder\.)(?<!decoder\.)pos_embed$")
_BESIDE = ("cls_token", "time_embed", "blocks.0.attn.qkv.weight", "patch_embed.conv1.weight")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a model."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    roots = {match[1] for match in map(ROOT.match, names) if match}
    return any(all(root + name in names for name in _BESIDE) for root in roots)
