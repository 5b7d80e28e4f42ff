"""How a state_dict of mamba_ssm is told from others."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "mamba-ssm"

# A tensor that every such module has, and what stands before it where it is part of a model.
ROOT = re.compile(r"(.*\.|)A_log$")
# Models that are made of such modules, and that other formats read as a whole.
_DETECTOR = re.compile(r"(?:^|\.)layers\.\d+\.forward_mamba_(?:real|fallback)\.")
_EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.weight$")


def holds_mamba(names: Iterable[str]) -> bool:
    """Whether the tensors of a Mamba-2 are among some names."""
    known = set(names)
    roots = {match[1] for name in known if (match := ROOT.match(name))}
    return any({root + "dt_bias", root + "in_proj.weight"} <= known for root in roots)


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of a Mamba2, or of several."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    others = any(_DETECTOR.search(name) or _EMBEDDINGS.search(name) for name in names)
    return holds_mamba(names) and not others
