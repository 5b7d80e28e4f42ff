"""What a state_dict of pytorch-tcn says of its net, and what it leaves open.

Source: shapes of pytorch-tcn 1.2.3 (MIT), `TCN`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcnzoo.errors import WeightError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TcnFacts:
    """What a file says of a tcn.

    Attributes:
        in_channels, channels, kernel_size, norm, gate, output_projection: fields of the spec that
            the tensors always determine.
        skip_connections: whether there are some; None where all widths are equal, so that these
            have no tensors.
        dilations: of each block; None unless every convolution of more than one tap has its buffer.
        embedding_width: of all embeddings together; 0 without any.
        others: fields that are known in another way, as what every net of a project has.
    """

    in_channels: int
    channels: list[int]
    kernel_size: list[int]
    norm: str
    gate: bool
    output_projection: int | None
    skip_connections: bool | None = None
    dilations: list[int] | None = None
    embedding_width: int = 0
    others: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The fields of a tcn that are known; of the embeddings only the sum is."""
        fields: dict[str, Any] = {
            "in_channels": self.in_channels,
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "norm": self.norm,
            "gate": self.gate,
            "output_projection": self.output_projection,
        }
        if self.skip_connections is not None:
            fields["skip_connections"] = self.skip_connections
        if self.dilations is not None:
            fields["dilations"] = self.dilations
        return {**fields, **self.others}


def facts_of(shapes: Shapes) -> TcnFacts:
    """Read the facts of a net off its tensors.

    Args:
        shapes: of the tensors, by their current names.
    Raises:
        WeightError: no state_dict of this net.
    """
    depth = len({name.split(".")[1] for name in shapes if name.startswith("network.")})
    first = [_kernel(shapes, level, "conv1") for level in range(depth)]
    second = [_kernel(shapes, level, "conv2") for level in range(depth)]
    if not depth:
        raise WeightError("such a net has a tensor 'network.0.conv1.bias', but this one has not")
    channels = [shape[0] for shape in second]
    return TcnFacts(
        in_channels=first[0][1],
        channels=channels,
        kernel_size=[shape[2] for shape in first],
        norm=_norm(shapes),
        gate=first[0][0] == 2 * channels[0],
        output_projection=_extent(shapes, "projection_out.weight", 0),
        skip_connections=_skips(shapes, channels),
        dilations=_dilations(shapes, [shape[2] for shape in first]),
        embedding_width=_extent(shapes, "network.0.embedding_projection_1.weight", 1) or 0,
    )


def _skips(shapes: Shapes, channels: list[int]) -> bool | None:
    """Whether there are skip connections; None where they would have no tensors."""
    if any(name.startswith("downsample_skip_connection.") for name in shapes):
        return True
    return False if len(set(channels)) > 1 else None


def _kernel(shapes: Shapes, level: int, conv: str) -> tuple[int, ...]:
    """Shape (out, in, K) of one convolution."""
    name = f"network.{level}.{conv}"
    shape = shapes.get(f"{name}.weight") or shapes.get(f"{name}.parametrizations.weight.original1")
    if shape is None or len(shape) != 3:
        raise WeightError(f"{name!r} must have a kernel (out, in, K), but has {shape or 'none'}")
    return shape


def _extent(shapes: Shapes, name: str, axis: int) -> int | None:
    """Size of a 1x1 convolution's kernel along an axis; None where the net has no such layer."""
    shape = shapes.get(name)
    if shape is not None and len(shape) != 3:
        raise WeightError(f"{name!r} must have shape (out, in, 1), but has {shape}")
    return None if shape is None else shape[axis]


def _norm(shapes: Shapes) -> str:
    """The norm of the first block, which is that of all."""
    if "network.0.conv1.parametrizations.weight.original1" in shapes:
        return "weight_norm"
    if "network.0.norm1.running_mean" in shapes:
        return "batch_norm"
    return "layer_norm" if "network.0.norm1.weight" in shapes else "none"


def _dilations(shapes: Shapes, taps: list[int]) -> list[int] | None:
    """Dilations of all blocks; None where one is not known."""
    dilations = [_dilation(shapes, level, size) for level, size in enumerate(taps)]
    known = [dilation for dilation in dilations if dilation is not None]
    return known if len(known) == len(dilations) else None


def _dilation(shapes: Shapes, level: int, taps: int) -> int | None:
    """Dilation of a block by its streaming buffers of (taps - 1) * dilation steps.

    With one tap there is nothing to dilate, so 1 does.
    """
    if taps == 1:
        return 1
    dilations = set()
    for conv in ("conv1", "conv2"):
        buffer = shapes.get(f"network.{level}.{conv}.padder.buffer")
        if buffer is None:
            return None
        dilation, rest = divmod(buffer[-1] if buffer else 0, taps - 1)
        if rest or not dilation:
            raise WeightError(
                f"'network.{level}.{conv}.padder.buffer' of shape {buffer} does not fit "
                f"{taps} taps: it must have a multiple of {taps - 1} steps"
            )
        dilations.add(dilation)
    if len(dilations) > 1:
        raise WeightError(
            f"the buffers of 'network.{level}' say two dilations, {sorted(dilations)}"
        )
    return dilations.pop()
