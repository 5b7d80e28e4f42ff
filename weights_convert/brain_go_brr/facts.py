"""What the tensors of a detector of brain-go-brr-v2 say of it.

Source: shapes of brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError
from tcnzoo.zoo.foreign.detectors import tcn_document, unet_document

from ..mamba_ssm.facts import Shapes, facts_of as mamba_facts
from ..pytorch_tcn.facts import facts_of as tcn_facts
from ..pytorch_tcn.names import current_name
from .names import BACKBONE, MAMBA

# What no tensor says. Training has these rates; a version that computes with `causal` is rare.
DEFAULTS: Mapping[str, Any] = {"dropout": 0.1}
DEFAULTS_OF_TCN: Mapping[str, Any] = {"causal": False, "tcn_dropout": 0.15}


def document_of(path: Path, shapes: Shapes, open_fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the detector that some tensors are.

    Args:
        path: for the sentences of errors.
        shapes: of the tensors, by their current names.
        open_fields: `dropout`, and for a TCN `tcn_dropout` and `causal`.
    Raises:
        WeightError: no such detector, or one without Mamba-2.
    """
    shared: dict[str, Any] = {"mamba": _mamba(path, shapes, open_fields["dropout"])}
    if not is_tcn(shapes):
        kernels = _shape(path, shapes, "encoder.input_conv.conv.weight", 3)
        shared["in_channels"], shared["channels"] = kernels[1], kernels[0]
        branch = "rescnn.blocks.0.branches."
        taps = [
            _shape(path, shapes, f"{branch}{number}.0.weight", 3)[2]
            for number in range(_count(shapes, branch))
        ]
        return unet_document(
            depth=_count(shapes, "encoder.downsample."),
            blocks=_count(shapes, "rescnn.blocks."),
            kernel_sizes=taps,
            dropout=open_fields["dropout"],
            **shared,
        )
    down = _shape(path, shapes, "tcn_encoder.downsample.weight", 3)
    return tcn_document(
        width=down[0],
        stride=down[2],
        dropout=open_fields["tcn_dropout"],
        causal=open_fields["causal"],
        **_backbone(path, shapes),
        **shared,
    )


def is_tcn(shapes: Mapping[str, Any]) -> bool:
    """Whether the detector has a TCN instead of a U-Net."""
    return any(name.startswith("tcn_encoder.") for name in shapes)


def _mamba(path: Path, shapes: Shapes, dropout: float) -> dict[str, Any]:
    """Fields of the bi_mamba2 but for its width; the origin has one group and no options."""
    prefix = f"{MAMBA}0.forward_mamba_real."
    inside = {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    if not inside:
        raise WeightError(
            f"{str(path)!r} holds no Mamba-2, only the convolutions that stand in for it where "
            "mamba_ssm is not installed; they are no detector"
        )
    facts = mamba_facts(path, inside, prefix)
    fields = {name: value for name, value in facts.fields().items() if name != "channels"}
    mamba = {**fields, "d_state": facts.shared}
    return {"layers": _count(shapes, MAMBA), "dropout": dropout, "mamba": mamba}


def _backbone(path: Path, shapes: Shapes) -> dict[str, Any]:
    """The TCN: pytorch-tcn's, or the origin's own."""
    inside = {
        current_name(name.removeprefix(BACKBONE)): shape
        for name, shape in shapes.items()
        if name.startswith(BACKBONE)
    }
    if not any(".conv1." in name for name in inside):
        levels = _count(inside, "network.")
        kernels = [
            _shape(path, inside, f"network.{3 * level}.weight_v", 3) for level in range(levels)
        ]
        if not kernels:
            raise WeightError(f"{str(path)!r} must hold {BACKBONE + 'network.0.weight_v'!r}")
        sizes = {"in_channels": kernels[0][1], "channels": [kernel[0] for kernel in kernels]}
        return {**sizes, "kernel_size": kernels[0][2], "backbone": "minimal"}
    facts = tcn_facts(inside)
    if facts.norm != "weight_norm" or facts.gate:
        raise WeightError(f"the TCN in {str(path)!r} must have weight norm and no gates")
    sizes = {"in_channels": facts.in_channels, "channels": facts.channels}
    dilations = facts.dilations
    if dilations is not None and dilations != [2**level for level in range(len(dilations))]:
        raise WeightError(
            f"the TCN in {str(path)!r} must have the dilations 1, 2, 4, ..., but has {dilations}"
        )
    return {**sizes, "kernel_size": facts.kernel_size[0], "backbone": "pytorch-tcn"}


def _count(shapes: Mapping[str, Any], prefix: str) -> int:
    """How many numbered parts there are behind a prefix."""
    numbers = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in shapes)
    return len({match[1] for match in numbers if match})


def _shape(path: Path, shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """Shape of a tensor of a known number of axes."""
    if len(shapes.get(name, ())) != rank:
        what = f"has shape {shapes[name]}" if name in shapes else "it is not there"
        raise WeightError(f"{str(path)!r} must hold {name!r} of {rank} axes, but {what}")
    return shapes[name]
