"""Names of pytorch-tcn's tensors, and of the same tensors here.

Source: names of pytorch-tcn 1.2.3 (MIT), `TCN`; the older names of weight norm and of the streaming
buffers are taken too.
"""

import re

# Neutral part of a name -> pytorch-tcn's.
PARTS = {
    "blocks": "network",
    "residual": "downsample",
    "embedding1": "embedding_projection_1",
    "embedding2": "embedding_projection_2",
    "skips": "downsample_skip_connection",
    "output": "projection_out",
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
_NEUTRAL = {foreign: neutral for neutral, foreign in PARTS.items()}
# As torch before 2.0 and pytorch-tcn before 1.2.2 wrote them.
OLD_BUFFER = re.compile(r"(\.conv[12])\.buffer$")
_OLD = (
    (re.compile(r"(\.conv[12])\.weight_g$"), r"\1.parametrizations.weight.original0"),
    (re.compile(r"(\.conv[12])\.weight_v$"), r"\1.parametrizations.weight.original1"),
    (OLD_BUFFER, r"\1.padder.buffer"),
)
_DROPPED = (
    (re.compile(r"network\.\d+\.conv[12]\.padder\.buffer"), "streaming state, not a weight"),
    (
        re.compile(r"network\.\d+\.norm[12]\.num_batches_tracked"),
        "a counter that no output depends on",
    ),
    (
        re.compile(r"network\.\d+\.embedding_projection_2\.(weight|bias)"),
        "unused by embedding_mode add",
    ),
)


def foreign_name(name: str) -> str:
    """pytorch-tcn's name of a neutral tensor."""
    return ".".join(PARTS.get(part, part) for part in name.split("."))


def neutral_name(name: str) -> str:
    """Neutral name of one of pytorch-tcn's current names."""
    for neutral in ("weight_g", "weight_v"):
        name = name.replace(PARTS[neutral], neutral)
    return ".".join(_NEUTRAL.get(part, part) for part in name.split("."))


def current_name(name: str) -> str:
    """The name that pytorch-tcn 1.2.3 with torch 2 gives a tensor."""
    for pattern, replacement in _OLD:
        name = pattern.sub(replacement, name)
    return name


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no weight of the net may be left out; None where it may not."""
    for pattern, reason in _DROPPED:
        if pattern.fullmatch(name):
            return reason
    return None
