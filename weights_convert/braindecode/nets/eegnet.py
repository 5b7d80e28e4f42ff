"""EEGNet (EEGNetv4): filters over time, depthwise over electrodes, and a separable convolution.

Source: `braindecode.models.eegnet` 1.8.1 (BSD-3-Clause); Lawhern et al. 2018, J. Neural Eng. 15(5),
056013.
"""

from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError

from .activations import PATHS, named
from .limits import RowLimit
from .plan import JOIN, Plan, activation, batch_norm, conv1d, conv2d, dropout, pad, pool, split
from .shallow_fbcsp import classifier, classifier_arguments, fewest_steps, mode_of, steps_of

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "final_conv_length": "auto", "pool_mode": "mean", "F1": 8, "D": 2, "F2": None,
    "kernel_length": 64, "depthwise_kernel_length": 16, "pool1_kernel_size": 4,
    "pool2_kernel_size": 8, "conv_spatial_max_norm": 1, "activation": "ELU",
    "batch_norm_momentum": 0.01, "batch_norm_affine": True, "batch_norm_eps": 1e-3,
    "drop_prob": 0.25, "final_layer_with_constraint": False, "norm_rate": 0.25,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs", "n_times")
RENAMED = {"conv_classifier.": "final_layer.conv_classifier."}


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net.

    Raises:
        SpecError: batch norms without scale and shift, which ours always have.
    """
    if not arguments["batch_norm_affine"]:
        raise SpecError("batch_norm_affine must be true: a batch_norm here has a scale and a shift")
    electrodes, inside = arguments["n_chans"], arguments["F1"]
    width = inside * arguments["D"]
    outside = width if arguments["F2"] is None else arguments["F2"]
    constants = {
        "momentum": arguments["batch_norm_momentum"],
        "eps": arguments["batch_norm_eps"],
    }
    elu, mode = activation(named("activation", arguments["activation"])), arguments["pool_mode"]
    taps, later = arguments["kernel_length"], arguments["depthwise_kernel_length"]
    plan = Plan()
    plan.add("pad", pad(taps // 2))
    plan.add("split", split(electrodes))
    temporal = conv2d(1, inside, (1, taps), bias=False)
    plan.add("conv_temporal", temporal, "conv_temporal")
    plan.add("bnorm_temporal", batch_norm(inside, **constants), "bnorm_temporal")
    limit = RowLimit(arguments["conv_spatial_max_norm"])
    plan.add(
        "conv_spatial",
        conv2d(inside, width, (electrodes, 1), groups=inside, bias=False, devices=electrodes),
        "conv_spatial",
        limit=limit,
        limited_by="conv_spatial_max_norm",
    )
    plan.add("join", dict(JOIN))
    plan.add("bnorm_1", batch_norm(width, **constants), "bnorm_1")
    plan.add("elu_1", elu)
    plan.add("pool_1", pool(mode, arguments["pool1_kernel_size"]))
    plan.add("drop_1", dropout(arguments["drop_prob"]))
    plan.add("pad_2", pad(later // 2))
    depthwise = conv1d(width, width, later, groups=width, bias=False)
    plan.add("conv_separable_depth", depthwise, "conv_separable_depth", "time fourth")
    pointwise = conv1d(width, outside, 1, bias=False)
    plan.add("conv_separable_point", pointwise, "conv_separable_point", "time fourth")
    plan.add("bnorm_2", batch_norm(outside, **constants), "bnorm_2")
    plan.add("elu_2", elu)
    plan.add("pool_2", pool(mode, arguments["pool2_kernel_size"]))
    plan.add("drop_2", dropout(arguments["drop_prob"]))
    if not arguments["final_layer_with_constraint"]:
        classifier(plan, arguments, outside, "time fourth")
        return plan
    flattened(plan, arguments, outside, "final_layer.linearconstraint", "norm_rate")
    return plan


def flattened(plan: Plan, arguments: Arguments, channels: int, stem: str, limit: str) -> None:
    """A linear layer on all steps that are left, with a limit on the norm of its rows.

    Raises:
        SpecError: a signal that is too short.
    """
    steps, outputs = steps_of(plan, arguments["n_times"]), arguments["n_outputs"]
    if steps < 1:
        raise SpecError(f"n_times={arguments['n_times']} is too short for the net")
    plan.add("flatten", {"kind": "flatten", "length": steps})
    dense = {"kind": "dense", "in_features": channels * steps, "out_features": outputs}
    plan.add("linear", dense, stem, limit=RowLimit(arguments[limit]), limited_by=limit)


def flattened_arguments(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a flatten and a linear layer say, with the fewest steps that fit."""
    before = {name: layer for name, layer in layers.items() if name not in ("flatten", "linear")}
    return {
        "n_outputs": layers["linear"].out_features,
        "n_times": fewest_steps(before, layers["flatten"].length),
    }


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers."""
    limited = "linear" in layers
    end = flattened_arguments(layers) if limited else classifier_arguments(layers)
    return {
        **end,
        "n_chans": layers["split"].devices,
        "final_layer_with_constraint": limited,
        "F1": layers["conv_temporal"].out_channels,
        "D": layers["conv_spatial"].out_channels // layers["conv_temporal"].out_channels,
        "F2": layers["conv_separable_point"].out_channels,
        "kernel_length": layers["conv_temporal"].kernel_size[1],
        "depthwise_kernel_length": layers["conv_separable_depth"].kernel_size,
        "pool1_kernel_size": layers["pool_1"].size,
        "pool2_kernel_size": layers["pool_2"].size,
        "pool_mode": mode_of(layers["pool_1"]),
        "activation": PATHS[layers["elu_1"].name],
        "batch_norm_momentum": layers["bnorm_1"].momentum,
        "batch_norm_eps": layers["bnorm_1"].eps,
        "drop_prob": layers["drop_1"].rate,
    }
