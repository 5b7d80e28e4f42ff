"""SPARCNet: a DenseNet over time, as many blocks as halvings of the signal.

Source: `braindecode.models.sparcnet` 1.8.1 (BSD-3-Clause); Jing et al. 2023, Neurology 100(17),
e1750-e1762.
"""

import math
from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError

from .activations import PATHS, named
from .plan import Plan, activation, batch_norm, conv1d, dropout

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "block_layers": 4, "growth_rate": 16, "bottleneck_size": 16, "drop_prob": 0.5,
    "conv_bias": True, "batch_norm": True, "activation": "ELU", "kernel_size_conv0": 7,
    "kernel_size_conv1": 1, "kernel_size_conv2": 3, "kernel_size_pool": 3, "stride_pool": 2,
    "stride_conv0": 2, "stride_conv1": 1, "stride_conv2": 1, "padding_pool": 1,
    "padding_conv0": 3, "padding_conv2": 1, "kernel_size_trans": 2, "stride_trans": 2,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs", "n_times")
RENAMED: Mapping[str, str] = {}
# With others the signals of a dense block would differ in length.
FIXED = {"kernel_size_conv1": 1, "stride_conv1": 1, "stride_conv2": 1}


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net.

    Raises:
        SpecError: windows with other padding than on both sides alike, or strides in a dense block.
    """
    for name, value in FIXED.items():
        if arguments[name] != value:
            raise SpecError(f"{name} must be {value} in a dense block, but is {arguments[name]}")
    channels = 2 ** (math.floor(math.log2(arguments["n_chans"])) + 1)
    elu = activation(named("activation", arguments["activation"]))
    plan = Plan()
    conv = conv1d(
        arguments["n_chans"], channels, arguments["kernel_size_conv0"],
        stride=arguments["stride_conv0"], padding=_padding(arguments, "conv0"),
        bias=arguments["conv_bias"],
    )  # fmt: skip
    plan.add("conv0", conv, "encoder.conv0")
    plan.add("norm0", batch_norm(channels), "encoder.norm0")
    plan.add("act0", elu)
    window = {
        "kind": "window_pool", "mode": "max", "size": arguments["kernel_size_pool"],
        "stride": arguments["stride_pool"], "padding": _padding(arguments, "pool"),
    }  # fmt: skip
    plan.add("pool0", window)
    for number in range(1, _blocks(arguments["n_times"]) + 1):
        channels = _dense_block(plan, arguments, number, channels)
        channels = _transition(plan, arguments, number, channels)
    plan.add("mean", {"kind": "pool", "mode": "global_average"})
    plan.add("act", elu)
    outputs = arguments["n_outputs"]
    dense = {"kind": "dense", "in_features": channels, "out_features": outputs}
    plan.add("fc", dense, "final_layer")
    return plan


def _blocks(length: int) -> int:
    """How many dense blocks a net for so many steps has."""
    if length < 4:
        raise SpecError(f"n_times must be at least 4, but is {length}")
    return math.floor(math.log2(length // 4))


def _padding(arguments: Arguments, name: str) -> str:
    """The padding of a window: none, or as much on both sides as keeps the length."""
    size, steps = arguments[f"kernel_size_{name}"], arguments[f"padding_{name}"]
    if steps not in (0, (size - 1) / 2):
        raise SpecError(
            f"padding_{name} must be 0 or half of kernel_size_{name} - 1, {(size - 1) / 2:g}, "
            f"but is {steps}"
        )
    return "same" if steps else "valid"


def _dense_block(plan: Plan, arguments: Arguments, number: int, channels: int) -> int:
    """Layers that each read what all before them made, side by side; the width after them."""
    inner, nodes, last, growth = Plan(), {}, "input", arguments["growth_rate"]
    inside = channels
    for layer in range(1, arguments["block_layers"] + 1):
        unit = _dense_layer(arguments, f"encoder.denseblock{number}.denselayer{layer}", channels)
        inner.nest(f"layer{layer}", unit, unit.chain())
        nodes[f"layer{layer}"] = {"layer": unit.chain(), "inputs": [last]}
        beside = {"kind": "merge", "mode": "concat"}
        nodes[f"join{layer}"] = {"layer": beside, "inputs": [last, f"layer{layer}"]}
        last, channels = f"join{layer}", channels + growth
    graph = {"kind": "graph", "in_channels": inside, "nodes": nodes}
    plan.nest(f"denseblock{number}", inner, graph)
    return channels


def _dense_layer(arguments: Arguments, stem: str, channels: int) -> Plan:
    """Twice norm, activation and convolution, the first of them pointwise."""
    growth = arguments["growth_rate"]
    width = arguments["bottleneck_size"] * growth
    elu, bias = activation(named("activation", arguments["activation"])), arguments["conv_bias"]
    plan = Plan()
    if arguments["batch_norm"]:
        plan.add("norm1", batch_norm(channels), f"{stem}.norm1")
    plan.add("elu1", elu)
    plan.add("conv1", conv1d(channels, width, 1, bias=bias), f"{stem}.conv1")
    if arguments["batch_norm"]:
        plan.add("norm2", batch_norm(width), f"{stem}.norm2")
    plan.add("elu2", elu)
    padding = _padding(arguments, "conv2")
    conv = conv1d(width, growth, arguments["kernel_size_conv2"], padding=padding, bias=bias)
    plan.add("conv2", conv, f"{stem}.conv2")
    plan.add("drop", dropout(arguments["drop_prob"]))
    return plan


def _transition(plan: Plan, arguments: Arguments, number: int, channels: int) -> int:
    """Half as many channels and steps; the width after it."""
    inner, stem = Plan(), f"encoder.transition{number}"
    if arguments["batch_norm"]:
        inner.add("norm", batch_norm(channels), f"{stem}.norm")
    inner.add("elu", activation(named("activation", arguments["activation"])))
    conv = conv1d(channels, channels // 2, 1, bias=arguments["conv_bias"])
    inner.add("conv", conv, f"{stem}.conv")
    window = {
        "kind": "window_pool", "mode": "average", "size": arguments["kernel_size_trans"],
        "stride": arguments["stride_trans"],
    }  # fmt: skip
    inner.add("pool", window)
    plan.nest(f"transition{number}", inner, inner.chain())
    return channels // 2


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers; `n_times` is the fewest steps for its blocks."""
    first, window = layers["conv0"], layers["pool0"]
    nodes = layers["denseblock1"].nodes
    unit = nodes["layer1"].layer.layers
    trans = layers["transition1"].layers["pool"]
    return {
        "n_chans": first.in_channels,
        "n_outputs": layers["fc"].out_features,
        "n_times": 4 * 2 ** sum(name.startswith("denseblock") for name in layers),
        "block_layers": len(nodes) // 2,
        "growth_rate": unit["conv2"].out_channels,
        "bottleneck_size": unit["conv1"].out_channels // unit["conv2"].out_channels,
        "drop_prob": unit["drop"].rate,
        "conv_bias": first.bias,
        "batch_norm": "norm1" in unit,
        "activation": PATHS[layers["act0"].name],
        "kernel_size_conv0": first.kernel_size,
        "stride_conv0": first.stride,
        "padding_conv0": (first.kernel_size - 1) // 2 if first.padding == "same" else 0,
        "kernel_size_conv2": unit["conv2"].kernel_size,
        "padding_conv2": (
            (unit["conv2"].kernel_size - 1) // 2 if unit["conv2"].padding == "same" else 0
        ),
        "kernel_size_pool": window.size,
        "stride_pool": window.step,
        "padding_pool": (window.size - 1) // 2 if window.padding == "same" else 0,
        "kernel_size_trans": trans.size,
        "stride_trans": trans.step,
    }
