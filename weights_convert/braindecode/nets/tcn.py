"""BDTCN and the TCN inside it: a TCN of locuslab with a linear layer on each step.

The layer's outputs at the first steps, which see padding, are left out; BDTCN takes the mean of the
others. Dropout in training is of whole channels there and of single values here.

Source: `braindecode.models.tcn` 1.8.1 (BSD-3-Clause); Gemein et al. 2020, NeuroImage 220, 117021.
"""

from collections.abc import Mapping
from typing import Any

from .activations import PATHS, named
from .plan import Plan, Source

Arguments = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

DEFAULTS: Arguments = {
    "n_blocks": 3, "n_filters": 30, "kernel_size": 5, "drop_prob": 0.5, "activation": "ReLU",
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs")
RENAMED: Mapping[str, str] = {}
_BLOCK = "temporal_blocks.temporal_block_"
_WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}


def plan_of(arguments: Arguments, prefix: str = "") -> Plan:
    """The layers of a TCN; `prefix` stands before the names of its tensors."""
    blocks, size = arguments["n_blocks"], arguments["kernel_size"]
    plan = Plan()
    tcn = {
        "kind": "tcn",
        "in_channels": arguments["n_chans"],
        "channels": [arguments["n_filters"]] * blocks,
        "kernel_size": size,
        "dilations": [2**level for level in range(blocks)],
        "dropout": arguments["drop_prob"],
        "activation": named("activation", arguments["activation"]),
    }
    plan.add("tcn", tcn)
    for name in plan.sources:
        _, _, level, *rest = name.split(".")
        own = ".".join(rest).replace("residual.", "downsample.")
        for ours, theirs in _WEIGHT_NORM.items():
            own = own.replace(ours, theirs)
        plan.sources[name] = Source(f"{prefix}{_BLOCK}{level}.{own}")
    plan.add("valid", {"kind": "pad", "left": -2 * (size - 1) * (2**blocks - 1)})
    features, outputs = arguments["n_filters"], arguments["n_outputs"]
    dense = {"kind": "dense", "in_features": features, "out_features": outputs}
    plan.add("fc", dense, f"{prefix}final_layer.fc")
    return plan


def averaged_plan_of(arguments: Arguments) -> Plan:
    """The layers of a BDTCN."""
    plan = plan_of(arguments, "base_tcn.")
    plan.add("mean", {"kind": "pool", "mode": "global_average"})
    return plan


def facts_of(shapes: Shapes, prefix: str = "") -> dict[str, Any]:
    """Arguments that the shapes of the tensors say."""
    first = f"{prefix}{_BLOCK}0.conv1.parametrizations.weight.original1"
    filters, channels, size = shapes[first]
    levels = {
        name.removeprefix(prefix + _BLOCK).partition(".")[0]
        for name in shapes
        if name.startswith(prefix + _BLOCK)
    }
    outputs = shapes[f"{prefix}final_layer.fc.weight"][0]
    return {
        "n_blocks": len(levels), "n_filters": filters, "kernel_size": size, "n_chans": channels,
        "n_outputs": outputs,
    }  # fmt: skip


def averaged_facts_of(shapes: Shapes) -> dict[str, Any]:
    """Arguments of a BDTCN that the shapes of the tensors say."""
    return facts_of(shapes, "base_tcn.")


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers, as far as they say them."""
    tcn, fc = layers["tcn"], layers["fc"]
    return {
        "n_chans": tcn.in_channels,
        "n_outputs": fc.out_features,
        "n_blocks": len(tcn.channels),
        "n_filters": tcn.channels[0],
        "kernel_size": tcn.kernel_sizes[0],
        "drop_prob": tcn.dropout,
        "activation": PATHS[tcn.activation.name],
    }
