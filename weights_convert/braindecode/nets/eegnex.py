"""EEGNeX: two convolutions over time, a depthwise one over electrodes, and two dilated ones.

Source: `braindecode.models.eegnex` 1.8.1 (BSD-3-Clause); Chen et al. 2024, Biomed. Signal Process.
Control 87, 105475.
"""

from collections.abc import Mapping
from typing import Any

from .activations import PATHS, named
from .eegnet import flattened, flattened_arguments
from .limits import RowLimit
from .plan import JOIN, Plan, activation, batch_norm, conv1d, conv2d, dropout, pad, pool, split

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "activation": "ELU", "depth_multiplier": 2, "filter_1": 8, "filter_2": 32, "drop_prob": 0.5,
    "kernel_block_1_2": 64, "kernel_block_4": 16, "dilation_block_4": 2, "avg_pool_block4": 4,
    "kernel_block_5": 16, "dilation_block_5": 4, "avg_pool_block5": 8, "max_norm_conv": 1.0,
    "max_norm_linear": 0.25,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs", "n_times")
RENAMED: Mapping[str, str] = {}
# Zeros on both sides of a pool, which count in its mean.
POOL_PAD = 1


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net."""
    electrodes, first, second = (arguments[name] for name in ("n_chans", "filter_1", "filter_2"))
    third = second * arguments["depth_multiplier"]
    taps, rate = arguments["kernel_block_1_2"], arguments["drop_prob"]
    elu = activation(named("activation", arguments["activation"]))
    plan = Plan()
    plan.add("split", split(electrodes))
    for number, inside, outside in ((1, 1, first), (2, first, second)):
        conv = conv2d(inside, outside, (1, taps), padding="same", bias=False)
        member = 2 - number  # the first block begins with a rearrangement
        plan.add(f"conv_{number}", conv, f"block_{number}.{member}")
        plan.add(f"norm_{number}", batch_norm(outside), f"block_{number}.{member + 1}")
    plan.add(
        "conv_3",
        conv2d(second, third, (electrodes, 1), groups=second, bias=False, devices=electrodes),
        "block_3.0",
        limit=RowLimit(arguments["max_norm_conv"]),
        limited_by="max_norm_conv",
    )
    plan.add("join", dict(JOIN))
    plan.add("norm_3", batch_norm(third), "block_3.1")
    plan.add("elu_3", elu)
    plan.add("pad_3", pad(POOL_PAD))
    plan.add("pool_3", pool("mean", arguments["avg_pool_block4"]))
    plan.add("drop_3", dropout(rate))
    for number, inside, outside in ((4, third, second), (5, second, first)):
        conv = conv1d(
            inside, outside, arguments[f"kernel_block_{number}"],
            dilation=arguments[f"dilation_block_{number}"], padding="same", bias=False,
        )  # fmt: skip
        plan.add(f"conv_{number}", conv, f"block_{number}.0", "time fourth")
        plan.add(f"norm_{number}", batch_norm(outside), f"block_{number}.1")
    plan.add("elu_5", elu)
    plan.add("pad_5", pad(POOL_PAD))
    plan.add("pool_5", pool("mean", arguments["avg_pool_block5"]))
    plan.add("drop_5", dropout(rate))
    flattened(plan, arguments, first, "final_layer", "max_norm_linear")
    return plan


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers."""
    second = layers["conv_2"].out_channels
    return {
        **flattened_arguments(layers),
        "n_chans": layers["split"].devices,
        "activation": PATHS[layers["elu_3"].name],
        "depth_multiplier": layers["conv_3"].out_channels // second,
        "filter_1": layers["conv_1"].out_channels,
        "filter_2": second,
        "drop_prob": layers["drop_3"].rate,
        "kernel_block_1_2": layers["conv_1"].kernel_size[1],
        "kernel_block_4": layers["conv_4"].kernel_size,
        "dilation_block_4": layers["conv_4"].dilation,
        "avg_pool_block4": layers["pool_3"].size,
        "kernel_block_5": layers["conv_5"].kernel_size,
        "dilation_block_5": layers["conv_5"].dilation,
        "avg_pool_block5": layers["pool_5"].size,
    }
