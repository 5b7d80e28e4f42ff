"""ShallowFBCSPNet: filters over time, then over electrodes, and the logarithm of their power.

Source: `braindecode.models.shallow_fbcsp` 1.8.1 (BSD-3-Clause); Schirrmeister et al. 2017, Human
Brain Mapping 38(11), 5391-5420.
"""

from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError

from .activations import PATHS, named
from .plan import (
    JOIN,
    Plan,
    activation,
    batch_norm,
    conv1d,
    conv2d,
    dropout,
    pool,
    split,
    steps_after,
)

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "n_filters_time": 40, "filter_time_length": 25, "n_filters_spat": 40, "pool_time_length": 75,
    "pool_time_stride": 15, "final_conv_length": "auto", "conv_nonlin": "Square",
    "pool_mode": "mean", "activation_pool_nonlin": "SafeLog", "split_first_layer": True,
    "batch_norm": True, "batch_norm_alpha": 0.1, "drop_prob": 0.5,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs", "n_times")
RENAMED = {
    "conv_time.": "conv_time_spat.conv_time.",
    "conv_spat.": "conv_time_spat.conv_spat.",
    "conv_classifier.": "final_layer.conv_classifier.",
}


def filters(plan: Plan, arguments: Arguments) -> None:
    """The two convolutions that come first, and the batch norm after them.

    Raises:
        SpecError: a net with one convolution instead, which braindecode itself cannot make.
    """
    if not arguments["split_first_layer"]:
        raise SpecError(
            "split_first_layer must be true: braindecode 1.8 cannot make the net without it"
        )
    electrodes, normed = arguments["n_chans"], arguments["batch_norm"]
    time, spat = arguments["n_filters_time"], arguments["n_filters_spat"]
    plan.add("split", split(electrodes))
    first = conv2d(1, time, (1, arguments["filter_time_length"]))
    plan.add("conv_time", first, "conv_time_spat.conv_time", "time first")
    second = conv2d(time, spat, (electrodes, 1), bias=not normed, devices=electrodes)
    plan.add("conv_spat", second, "conv_time_spat.conv_spat", "time first")
    plan.add("join", dict(JOIN))
    if normed:
        plan.add("bnorm", batch_norm(spat, momentum=arguments["batch_norm_alpha"]), "bnorm")


def classifier(plan: Plan, arguments: Arguments, channels: int, view: str) -> None:
    """The last convolution: over all steps that are left, or over so many as the argument says.

    Raises:
        SpecError: a signal that is too short.
    """
    length, taps = steps_of(plan, arguments["n_times"]), arguments["final_conv_length"]
    taps = length if taps == "auto" else taps
    if taps < 1 or length < taps:
        raise SpecError(
            f"n_times={arguments['n_times']} is too short for the net: {length} steps are left "
            f"before its last convolution"
        )
    last = conv1d(channels, arguments["n_outputs"], taps)
    plan.add("conv_classifier", last, "final_layer.conv_classifier", view)
    if length == taps:
        plan.add("flatten", {"kind": "flatten", "length": 1})


def steps_of(plan: Plan, length: int) -> int:
    """Time steps after the layers that have been planned."""
    kinds = ("pad", "conv1d", "conv2d", "window_pool")
    moving = [layer for layer in plan.layers.values() if layer["kind"] in kinds]
    return steps_after(length, *moving)


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net."""
    plan = Plan()
    filters(plan, arguments)
    plan.add("conv_nonlin", activation(named("conv_nonlin", arguments["conv_nonlin"])))
    sizes = arguments["pool_time_length"], arguments["pool_time_stride"]
    plan.add("pool", pool(arguments["pool_mode"], *sizes))
    log = named("activation_pool_nonlin", arguments["activation_pool_nonlin"])
    plan.add("pool_nonlin", activation(log))
    plan.add("drop", dropout(arguments["drop_prob"]))
    classifier(plan, arguments, arguments["n_filters_spat"], "time third")
    return plan


def filter_arguments(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that the first layers say."""
    norm = layers.get("bnorm")
    return {
        "n_chans": layers["split"].devices,
        "n_filters_time": layers["conv_time"].out_channels,
        "filter_time_length": layers["conv_time"].kernel_size[1],
        "n_filters_spat": layers["conv_spat"].out_channels,
        "batch_norm": norm is not None,
        **({} if norm is None else {"batch_norm_alpha": norm.momentum}),
    }


def classifier_arguments(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that the last layers say, with the fewest steps that the net takes."""
    last, ends = layers["conv_classifier"], "flatten" in layers
    return {
        "n_outputs": last.out_channels,
        "n_times": fewest_steps(layers, 1 if ends else 2),
        "final_conv_length": "auto" if ends else last.kernel_size,
    }


def fewest_steps(layers: Mapping[str, Any], outputs: int) -> int:
    """The fewest time steps that leave so many after windows and pads, from the last to the first.

    Args:
        layers: in order.
        outputs: steps after them.
    """
    steps = outputs
    for layer in reversed(list(layers.values())):
        if getattr(layer, "padding", "valid") == "same":
            continue
        if layer.kind == "pad":
            steps -= layer.left + layer.right
        elif layer.kind == "window_pool":
            steps = (steps - 1) * layer.step + layer.size
        elif layer.kind == "conv1d":
            steps = (steps - 1) * layer.stride + layer.reach + 1
        elif layer.kind == "conv2d":
            steps += layer.reach
    return steps


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers."""
    return {
        **filter_arguments(layers),
        **classifier_arguments(layers),
        "conv_nonlin": PATHS[layers["conv_nonlin"].name],
        "activation_pool_nonlin": PATHS[layers["pool_nonlin"].name],
        "pool_mode": mode_of(layers["pool"]),
        "pool_time_length": layers["pool"].size,
        "pool_time_stride": layers["pool"].step,
        "drop_prob": layers["drop"].rate,
    }


def mode_of(layer: Any) -> str:
    """braindecode's word for the mode of a pool."""
    return "mean" if layer.mode == "average" else "max"
