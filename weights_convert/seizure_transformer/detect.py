"""How a state_dict of SeizureTransformer is told from others."""

import re
from pathlib import Path

from ..containers.own import MARK, mark
from ..containers.state_dicts import names_in

NAME = "seizure-transformer"
# A tensor that every such net has, and what stands before it where the net is part of a model.
ROOT = re.compile(r"(|.*?\.)res_cnn_stack\.members\.0\.conv1\.weight$")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of the net; nothing is run."""
    said, names = names_in(path)
    if said.startswith(MARK):
        return said == mark(NAME)
    return any(map(ROOT.match, names)) and any(
        name.endswith("transformer_encoder.layers.0.self_attn.in_proj_weight") for name in names
    )
