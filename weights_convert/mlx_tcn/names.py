"""Names of mlx-tcn's tensors, and of the same tensors in pytorch-tcn and here.

Source: names of mlx-tcn, https://github.com/WeLiteAuto/mlx-tcn, `TCN`, at commits 02a0916 and
c84f516.
"""

import re

from ..pytorch_tcn.names import foreign_name, neutral_name

# mlx-tcn's part of a name -> pytorch-tcn's.
_PARTS = {
    "downSample": "downsample",
    "embedding_projection1": "embedding_projection_1",
    "embedding_projection2": "embedding_projection_2",
}
_BACK = {theirs: ours for ours, theirs in _PARTS.items()}
STALE = (
    "stale: mlx-tcn computes with 'weight' alone, whatever these say, so the net that is read has "
    "no weight norm"
)
_DROPPED = (
    (re.compile(r"network\.\d+\.conv[12]\.weight_[gv]"), STALE),
    (re.compile(r"network\.\d+\.conv[12]\.padder\.buffer"), "streaming state, not a weight"),
    (
        re.compile(r"network\.\d+\.embedding_projection2\.(weight|bias)"),
        "unused by embedding_mode add",
    ),
)


def neutral_of(name: str) -> str:
    """Neutral name of one of mlx-tcn's names."""
    return neutral_name(pytorch_name(name))


def mlx_name(name: str) -> str:
    """mlx-tcn's name of a neutral tensor."""
    return ".".join(_BACK.get(part, part) for part in foreign_name(name).split("."))


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no weight of the net may be left out; None where it may not."""
    for pattern, reason in _DROPPED:
        if pattern.fullmatch(name):
            return reason
    return None


def pytorch_name(name: str) -> str:
    """pytorch-tcn's name of one of mlx-tcn's tensors."""
    return ".".join(_PARTS.get(part, part) for part in name.split("."))
