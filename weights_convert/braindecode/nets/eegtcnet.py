"""EEGTCNet: the layers of EEGNet, then a TCN whose last step is classified.

Source: `braindecode.models.eegtcnet` 1.8.1 (BSD-3-Clause); Ingolfsson et al. 2020,
arXiv:2006.00622.
"""

from collections.abc import Mapping
from typing import Any

from .activations import PATHS, named
from .limits import ColumnLimit
from .plan import JOIN, Plan, activation, batch_norm, conv1d, conv2d, dropout, pad, pool, split

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "activation": "ELU", "depth_multiplier": 2, "filter_1": 8, "kern_length": 64,
    "drop_prob": 0.5, "depth": 2, "kernel_size": 4, "filters": 12, "max_norm_const": 0.25,
    "drop_prob_eeg": None, "drop_prob_tcn": None, "tcn_batch_norm": True,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs")
RENAMED: Mapping[str, str] = {}
# The first pool takes so many steps, the second as many as there are temporal filters.
FIRST_POOL = 8
# Of the batch norms of the TCN, as Keras has them.
TCN_NORM = {"momentum": 0.01, "eps": 1e-3}


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net."""
    electrodes, inside = arguments["n_chans"], arguments["filter_1"]
    width, taps = inside * arguments["depth_multiplier"], arguments["kern_length"]
    elu = activation(named("activation", arguments["activation"]))
    plan = Plan()
    plan.add("pad", pad(taps // 2))
    plan.add("split", split(electrodes))
    stem = "eegnet_tc."
    plan.add("conv1", conv2d(1, inside, (1, taps), bias=False), f"{stem}conv1", "time first")
    plan.add("bn1", batch_norm(inside), f"{stem}bn1")
    plan.add("elu1", elu)
    spatial = conv2d(inside, width, (electrodes, 1), groups=inside, bias=False, devices=electrodes)
    plan.add("depthwise", spatial, f"{stem}depthwise_conv", "time first")
    plan.add("join", dict(JOIN))
    plan.add("bn2", batch_norm(width), f"{stem}bn2")
    plan.add("elu2", elu)
    plan.add("pool1", pool("mean", FIRST_POOL))
    rate = _rate(arguments, "drop_prob_eeg")
    plan.add("drop1", dropout(rate))
    plan.add("pad2", pad(width // 2))
    separable = conv1d(width, width, width, groups=width, bias=False)
    plan.add("separable1", separable, f"{stem}separable_conv_depthwise", "time third")
    point = conv1d(width, width, 1, bias=False)
    plan.add("separable2", point, f"{stem}separable_conv_pointwise", "time third")
    plan.add("bn3", batch_norm(width), f"{stem}bn3")
    plan.add("elu3", elu)
    plan.add("pool2", pool("mean", inside))
    plan.add("drop2", dropout(rate))
    _tcn(plan, arguments, width)
    plan.add("last", {"kind": "pool", "mode": "last"})
    filters, outputs = arguments["filters"], arguments["n_outputs"]
    dense = {"kind": "dense", "in_features": filters, "out_features": outputs}
    limit = ColumnLimit(arguments["max_norm_const"])
    plan.add("fc", dense, "final_layer", limit=limit, limited_by="max_norm_const")
    return plan


def _rate(arguments: Arguments, name: str) -> float:
    """A rate of dropout, or the one for all."""
    rate: float = arguments["drop_prob"] if arguments[name] is None else arguments[name]
    return rate


def _tcn(plan: Plan, arguments: Arguments, inside: int) -> None:
    """Residual blocks, the first of which has a projection where the widths differ."""
    filters, inner, nodes, last = arguments["filters"], Plan(), {}, "input"
    for level in range(arguments["depth"]):
        unit = _units(arguments, level, filters if level else inside)
        inner.nest(f"convs{level}", unit, unit.chain())
        nodes[f"convs{level}"] = {"layer": unit.chain(), "inputs": [last]}
        if level == 0 and inside != filters:
            projection = conv1d(inside, filters, 1, bias=arguments["tcn_batch_norm"])
            inner.add("downsample", projection, "tcn_block.downsample")
            nodes["downsample"] = {"layer": projection, "inputs": [last]}
            last = "downsample"
        total = {"kind": "merge", "mode": "add"}
        nodes[f"sum{level}"] = {"layer": total, "inputs": [f"convs{level}", last]}
        elu = activation(named("activation", arguments["activation"]))
        nodes[f"elu{level}"] = {"layer": elu, "inputs": [f"sum{level}"]}
        last = f"elu{level}"
    plan.nest("tcn", inner, {"kind": "graph", "in_channels": inside, "nodes": nodes})


def _units(arguments: Arguments, level: int, inside: int) -> Plan:
    """Two convolutions, each with batch norm, activation and dropout."""
    filters, normed = arguments["filters"], arguments["tcn_batch_norm"]
    plan, stem = Plan(), f"tcn_block.layers.{level}"
    for number, channels in ((1, inside), (2, filters)):
        # Behind a convolution stand the cut of its padding, [the norm], activation and dropout.
        member = (number - 1) * (5 if normed else 4)
        conv = conv1d(
            channels, filters, arguments["kernel_size"], dilation=2**level, padding="causal",
            bias=False,
        )  # fmt: skip
        plan.add(f"conv{number}", conv, f"{stem}.{member}")
        if normed:
            plan.add(f"norm{number}", batch_norm(filters, **TCN_NORM), f"{stem}.{member + 2}")
        plan.add(f"elu{number}", activation(named("activation", arguments["activation"])))
        plan.add(f"drop{number}", dropout(_rate(arguments, "drop_prob_tcn")))
    return plan


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers."""
    nodes = layers["tcn"].nodes
    unit = nodes["convs0"].layer.layers
    inside = layers["conv1"].out_channels
    return {
        "n_chans": layers["split"].devices,
        "n_outputs": layers["fc"].out_features,
        "activation": PATHS[layers["elu1"].name],
        "depth_multiplier": layers["depthwise"].out_channels // inside,
        "filter_1": inside,
        "kern_length": layers["conv1"].kernel_size[1],
        "depth": sum(name.startswith("convs") for name in nodes),
        "kernel_size": unit["conv1"].kernel_size,
        "filters": unit["conv1"].out_channels,
        "drop_prob_eeg": layers["drop1"].rate,
        "drop_prob_tcn": unit["drop1"].rate,
        "tcn_batch_norm": "norm1" in unit,
    }
