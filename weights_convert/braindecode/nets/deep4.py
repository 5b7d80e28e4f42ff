"""Deep4Net: filters over time and electrodes, then three convolutions over time with pools.

Source: `braindecode.models.deep4` 1.8.1 (BSD-3-Clause); Schirrmeister et al. 2017, Human Brain
Mapping 38(11), 5391-5420.
"""

from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError

from .activations import PATHS, named
from .plan import Plan, activation, batch_norm, conv1d, dropout, pool
from .shallow_fbcsp import (
    RENAMED as RENAMED,
    classifier,
    classifier_arguments,
    filter_arguments,
    filters,
    mode_of,
)

Arguments = Mapping[str, Any]

DEFAULTS: Arguments = {
    "final_conv_length": "auto", "n_filters_time": 25, "n_filters_spat": 25,
    "filter_time_length": 10, "pool_time_length": 3, "pool_time_stride": 3, "n_filters_2": 50,
    "filter_length_2": 10, "n_filters_3": 100, "filter_length_3": 10, "n_filters_4": 200,
    "filter_length_4": 10, "activation_first_conv_nonlin": "ELU", "first_pool_mode": "max",
    "first_pool_nonlin": "Identity", "activation_later_conv_nonlin": "ELU",
    "later_pool_mode": "max", "later_pool_nonlin": "Identity", "drop_prob": 0.5,
    "split_first_layer": True, "batch_norm": True, "batch_norm_alpha": 0.1,
    "stride_before_pool": False,
}  # fmt: skip
NEEDED = ("n_chans", "n_outputs", "n_times")
LATER = (2, 3, 4)


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net.

    Raises:
        SpecError: a signal so short that braindecode makes the kernels smaller.
    """
    stride, size = arguments["pool_time_stride"], arguments["pool_time_length"]
    early = arguments["stride_before_pool"]
    plan = Plan()
    filters(plan, arguments)
    first = named("activation_first_conv_nonlin", arguments["activation_first_conv_nonlin"])
    plan.add("conv_nonlin", activation(first))
    plan.add("pool", pool(arguments["first_pool_mode"], size, 1 if early else stride))
    after = named("first_pool_nonlin", arguments["first_pool_nonlin"])
    plan.add("pool_nonlin", activation(after))
    channels = arguments["n_filters_spat"]
    later = named("activation_later_conv_nonlin", arguments["activation_later_conv_nonlin"])
    after = named("later_pool_nonlin", arguments["later_pool_nonlin"])
    for number in LATER:
        filters_after = arguments[f"n_filters_{number}"]
        plan.add(f"drop_{number}", dropout(arguments["drop_prob"]))
        conv = conv1d(
            channels, filters_after, arguments[f"filter_length_{number}"],
            stride=stride if early else 1, bias=not arguments["batch_norm"],
        )  # fmt: skip
        plan.add(f"conv_{number}", conv, f"conv_{number}", "time third")
        if arguments["batch_norm"]:
            norm = batch_norm(filters_after, momentum=arguments["batch_norm_alpha"])
            plan.add(f"bnorm_{number}", norm, f"bnorm_{number}")
        plan.add(f"nonlin_{number}", activation(later))
        window = pool(arguments["later_pool_mode"], size, 1 if early else stride)
        plan.add(f"pool_{number}", window)
        plan.add(f"pool_nonlin_{number}", activation(after))
        channels = filters_after
    needed = _fewest(arguments)
    if arguments["n_times"] < needed:
        raise SpecError(
            f"n_times must be at least {needed}, below which Deep4Net makes its kernels smaller "
            f"than it was told, but is {arguments['n_times']}"
        )
    classifier(plan, arguments, channels, "time third")
    return plan


def _fewest(arguments: Arguments) -> int:
    """Steps below which braindecode shrinks the kernels, whatever `stride_before_pool` is."""
    steps = 1
    for name in ("filter_length_4", "filter_length_3", "filter_length_2", "filter_time_length"):
        steps = arguments["pool_time_stride"] * (steps - 1) + arguments["pool_time_length"]
        steps += arguments[name] - 1
    return steps


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers."""
    stride = layers["conv_2"].stride
    early = stride > 1
    said = {
        **filter_arguments(layers),
        **classifier_arguments(layers),
        "activation_first_conv_nonlin": PATHS[layers["conv_nonlin"].name],
        "first_pool_mode": mode_of(layers["pool"]),
        "first_pool_nonlin": PATHS[layers["pool_nonlin"].name],
        "activation_later_conv_nonlin": PATHS[layers["nonlin_2"].name],
        "later_pool_mode": mode_of(layers["pool_2"]),
        "later_pool_nonlin": PATHS[layers["pool_nonlin_2"].name],
        "pool_time_length": layers["pool"].size,
        "pool_time_stride": stride if early else layers["pool"].step,
        "stride_before_pool": early,
        "drop_prob": layers["drop_2"].rate,
    }
    for number in LATER:
        said[f"n_filters_{number}"] = layers[f"conv_{number}"].out_channels
        said[f"filter_length_{number}"] = layers[f"conv_{number}"].kernel_size
    return said
