"""What a file of mlx-tcn says of its net: its names, and the width inside squeeze-and-excitation.

Names are brought to those of pytorch-tcn, which the project follows in most, and from there to the
neutral ones.

Source: names and shapes of mlx-tcn, https://github.com/WeLiteAuto/mlx-tcn, `TCN`, at commits
02a0916 and c84f516.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from tcnzoo.errors import WeightError

from ..pytorch_tcn.facts import Shapes, facts_of, foreign_name, neutral_name

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
    return neutral_name(_alike(name))


def mlx_name(name: str) -> str:
    """mlx-tcn's name of a neutral tensor."""
    return ".".join(_BACK.get(part, part) for part in foreign_name(name).split("."))


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no weight of the net may be left out; None where it may not."""
    for pattern, reason in _DROPPED:
        if pattern.fullmatch(name):
            return reason
    return None


def facts_in(shapes: Shapes) -> dict[str, Any]:
    """Fields of a tcn spec that the tensors determine.

    Args:
        shapes: of the tensors, by mlx-tcn's names; those of convolutions and of their buffers,
            which alone have three axes, have the channels last.
    Returns:
        as pytorch-tcn's `facts_of`; a net with weight norm has norm `none`.
    Raises:
        WeightError: no file of this net.
    """
    return facts_of(
        {
            _alike(name): _channels_second(shape)
            for name, shape in shapes.items()
            if reason_to_drop(name) != STALE
        }
    )


def _alike(name: str) -> str:
    """pytorch-tcn's name of one of mlx-tcn's tensors."""
    return ".".join(_PARTS.get(part, part) for part in name.split("."))


def _channels_second(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a convolution's tensor in torch's order of axes."""
    return (shape[0], shape[2], shape[1]) if len(shape) == 3 else shape


def reduction_in(shapes: Shapes, channels: Sequence[int], guess: int) -> int | None:
    """A reduction that gives squeeze-and-excitation the shapes it has; several may do.

    Args:
        shapes: of the tensors, by mlx-tcn's names.
        channels: width of each block.
        guess: the one to take where it does; else it is the smallest.
    Returns:
        None where the net has no squeeze-and-excitation.
    Raises:
        WeightError: there is none.
    """
    if "network.0.se.expand.weight" not in shapes:
        return None
    inner = [shapes.get(f"network.{level}.se.reduce.weight") for level in range(len(channels))]
    if not any(inner):
        return 0
    ranges = [_reductions(width, shape) for width, shape in zip(channels, inner, strict=True)]
    least, most = max(one[0] for one in ranges), min(one[1] for one in ranges)
    if least > most:
        raise WeightError(
            f"no reduction of squeeze-and-excitation gives 'se.reduce.weight' the shapes {inner} "
            f"in blocks of {list(channels)} channels"
        )
    return guess if least <= guess <= most else least


def _reductions(width: int, shape: tuple[int, ...] | None) -> tuple[int, float]:
    """The least and the largest reduction that give an inner layer its shape (units, width)."""
    if shape is None or shape[1:] != (width,) or not 0 < shape[0] <= width:
        return 1, 0
    units = shape[0]
    return width // (units + 1) + 1, width // units if units > 1 else math.inf
