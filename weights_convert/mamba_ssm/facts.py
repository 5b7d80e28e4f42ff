"""What the tensors of a Mamba-2 block say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError

Shapes = Mapping[str, tuple[int, ...]]
# Tensors that every such block has.
NEEDED = ("in_proj.weight", "conv1d.weight", "dt_bias", "A_log", "D", "out_proj.weight")


@dataclass(frozen=True)
class MambaFacts:
    """What a file says of a mamba2.

    Attributes:
        channels, d_conv, expand, d_ssm, head_dim, d_per_channel, rms_norm, bias, conv_bias: fields
            of the spec that the tensors determine.
        shared: groups * d_state, of which they only say the product.
        others: fields that the file says in another way.
    """

    channels: int
    d_conv: int
    expand: int
    d_ssm: int | None
    head_dim: int
    d_per_channel: bool
    rms_norm: bool
    bias: bool
    conv_bias: bool
    shared: int
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heads(self) -> int:
        """Number of heads."""
        return (self.d_ssm or self.expand * self.channels) // self.head_dim

    def fields(self) -> dict[str, Any]:
        """The fields of a mamba2 that are known."""
        return {
            "channels": self.channels,
            "d_conv": self.d_conv,
            "expand": self.expand,
            "d_ssm": self.d_ssm,
            "head_dim": self.head_dim,
            "d_per_channel": self.d_per_channel,
            "rms_norm": self.rms_norm,
            "bias": self.bias,
            "conv_bias": self.conv_bias,
            **self.others,
        }


def facts_of(path: Path, shapes: Shapes, prefix: str = "") -> MambaFacts:
    """Read the facts of a block off its tensors.

    Args:
        path: for the sentences of errors.
        shapes: of its tensors, by their names inside the block.
        prefix: what stands before these names in the file.
    Raises:
        WeightError: no such block.
    """
    missing = [name for name in NEEDED if name not in shapes]
    if missing:
        raise WeightError(f"{str(path)!r} must hold {prefix + missing[0]!r}, which a Mamba-2 has")
    projected, channels = _shape(path, shapes, prefix, "in_proj.weight", 2)
    _, inner = _shape(path, shapes, prefix, "out_proj.weight", 2)
    convolved, each, taps = _shape(path, shapes, prefix, "conv1d.weight", 3)
    if each != 1:
        order = " (channels last, as mlx-lm saves stacks of layers)" if taps == 1 else ""
        raise WeightError(
            f"{prefix + 'conv1d.weight'!r} of {str(path)!r} must be (channels, 1, K), but has "
            f"shape {shapes['conv1d.weight']}{order}"
        )
    (heads,) = _shape(path, shapes, prefix, "A_log", 1)
    (skips,) = _shape(path, shapes, prefix, "D", 1)
    shared, odd = divmod(projected - 2 * inner - heads, 2)
    width = convolved - 2 * shared
    fits = min(channels, heads, taps, shared, width) > 0 and not (odd or inner % channels)
    if not fits or width > inner or width % heads or skips not in (heads, width):
        sizes = ", ".join(f"{name!r} {shapes[name]}" for name in NEEDED if name != "dt_bias")
        raise WeightError(f"the shapes in {str(path)!r} are not those of one Mamba-2: {sizes}")
    return MambaFacts(
        channels=channels,
        d_conv=taps,
        expand=inner // channels,
        d_ssm=None if width == inner else width,
        head_dim=width // heads,
        d_per_channel=skips != heads,
        rms_norm="norm.weight" in shapes,
        bias="in_proj.bias" in shapes,
        conv_bias="conv1d.bias" in shapes,
        shared=shared,
    )


def _shape(path: Path, shapes: Shapes, prefix: str, name: str, rank: int) -> tuple[int, ...]:
    """Shape of a tensor of a known number of axes."""
    if len(shapes[name]) != rank:
        raise WeightError(
            f"{prefix + name!r} of {str(path)!r} must have {rank} axes, as in a Mamba-2, "
            f"but has shape {shapes[name]}"
        )
    return shapes[name]
