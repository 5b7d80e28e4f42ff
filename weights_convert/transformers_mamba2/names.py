"""Names of a stack of transformers, and of the same tensors here."""

import re
from collections.abc import Mapping

# What stands before the names of a model within one with an output layer.
BACKBONE = "backbone."
EMBEDDINGS = "embeddings.weight"
_LAYER = re.compile(r"layers\.([0-9]{1,9})\.(norm|mixer)\.(.+)")
_NODE = re.compile(r"(norm|mamba)(\d+)\.(.+)")
_FINAL = {"norm_f.weight": "norm.weight"}


def neutral_name(name: str) -> str:
    """Neutral name of a tensor of a stack."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return _FINAL.get(name, name)
    node = "mamba" if match[2] == "mixer" else "norm"
    return f"{node}{int(match[1]) + 1}.{match[3]}"


def foreign_name(name: str) -> str:
    """Transformers' name of a neutral tensor of a stack."""
    match = _NODE.fullmatch(name)
    if match is None:
        back: Mapping[str, str] = {neutral: foreign for foreign, neutral in _FINAL.items()}
        return BACKBONE + back[name]
    part = "mixer" if match[1] == "mamba" else "norm"
    return f"{BACKBONE}layers.{int(match[2]) - 1}.{part}.{match[3]}"


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no part of a stack may be left out; None where it may not."""
    if name in (EMBEDDINGS, "embedding.weight"):
        return "embeddings of tokens, where the model here takes a signal"
    return "an output layer over tokens" if name == "lm_head.weight" else None
