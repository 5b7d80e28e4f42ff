"""What a file of mlx-tcn says of its net, and of the width inside squeeze-and-excitation.

Source: shapes of mlx-tcn, https://github.com/WeLiteAuto/mlx-tcn, `TCN`, at commits
02a0916 and c84f516.
"""

import math
from collections.abc import Sequence

from tcnzoo.errors import WeightError

from ..pytorch_tcn.facts import Shapes, TcnFacts, facts_of
from .names import STALE, pytorch_name, reason_to_drop


def facts_in(shapes: Shapes) -> TcnFacts:
    """Read the facts of a net off its tensors.

    Args:
        shapes: of the tensors, by mlx-tcn's names; those of convolutions and of their buffers,
            which alone have three axes, have the channels last.
    Returns:
        facts, in which a net with weight norm has norm `none`.
    Raises:
        WeightError: no file of this net.
    """
    return facts_of(
        {
            pytorch_name(name): _channels_second(shape)
            for name, shape in shapes.items()
            if reason_to_drop(name) != STALE
        }
    )


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
    least, most = max(low for low, _ in ranges), min(high for _, high in ranges)
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
