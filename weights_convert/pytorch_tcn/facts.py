"""What a state_dict of pytorch-tcn says of its net, and what it leaves open.

Source: names and shapes of pytorch-tcn 1.2.3 (MIT), `TCN`; the older names of weight norm and of
the streaming buffers are taken too.
"""

import re
from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import WeightError

Shapes = Mapping[str, tuple[int, ...]]

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


def facts_of(shapes: Shapes) -> dict[str, Any]:
    """Fields of a tcn spec that the tensors determine.

    Args:
        shapes: of the tensors, by their current names.
    Returns:
        `in_channels`, `channels`, `kernel_size`, `norm`, `gate`, `output_projection`; `dilations`
        where every convolution of more than one tap has its buffer; `skip_connections` where the
        widths differ, so that they would have tensors; `embedding_width` (the sum) where there
        is one.
    Raises:
        WeightError: no state_dict of this net.
    """
    depth = len({name.split(".")[1] for name in shapes if name.startswith("network.")})
    first = [_kernel(shapes, level, "conv1") for level in range(depth)]
    second = [_kernel(shapes, level, "conv2") for level in range(depth)]
    if not depth:
        raise WeightError("such a net has a tensor 'network.0.conv1.bias', but this one has not")
    channels = [shape[0] for shape in second]
    facts: dict[str, Any] = {
        "in_channels": first[0][1],
        "channels": channels,
        "kernel_size": [shape[2] for shape in first],
        "norm": _norm(shapes),
        "gate": first[0][0] == 2 * channels[0],
        "output_projection": _extent(shapes, "projection_out.weight", 0),
    }
    if any(name.startswith("downsample_skip_connection.") for name in shapes):
        facts["skip_connections"] = True
    elif len(set(channels)) > 1:
        facts["skip_connections"] = False
    width = _extent(shapes, "network.0.embedding_projection_1.weight", 1)
    if width is not None:
        facts["embedding_width"] = width
    dilations = [_dilation(shapes, level, shape[2]) for level, shape in enumerate(first)]
    if None not in dilations:
        facts["dilations"] = dilations
    return facts


def _kernel(shapes: Shapes, level: int, conv: str) -> tuple[int, ...]:
    """Shape (out, in, K) of one convolution."""
    place = f"network.{level}.{conv}"
    shape = shapes.get(f"{place}.weight") or shapes.get(
        f"{place}.parametrizations.weight.original1"
    )
    if shape is None or len(shape) != 3:
        raise WeightError(f"{place!r} must have a kernel (out, in, K), but has {shape or 'none'}")
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


def _dilation(shapes: Shapes, level: int, taps: int) -> int | None:
    """Dilation of a block by its streaming buffers of (taps - 1) * dilation steps.

    With one tap there is nothing to dilate, so 1 does.
    """
    if taps == 1:
        return 1
    found = set()
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
        found.add(dilation)
    if len(found) > 1:
        raise WeightError(f"the buffers of 'network.{level}' say two dilations, {sorted(found)}")
    return found.pop()
