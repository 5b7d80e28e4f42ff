"""Names of the detectors of brain-go-brr-v2, and of the same tensors here.

Source: module names of brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3.
"""

import re
from collections.abc import Callable, Mapping

from tcnzoo.specs import GraphSpec, SequentialSpec, Spec

from ..pytorch_tcn.names import foreign_name as pytorch_tcn_name

# The origin's own backbone of the TCN, and that of pytorch-tcn.
BACKBONE = "tcn_encoder.tcn."
MAMBA = "mamba.layers."
_HALF = {"a": "0", "b": "1"}
_PART = {"conv": "conv", "norm": "bn"}
_STEP = {"conv": "0", "norm": "1"}
_LAYER = {
    "forward_mamba": "forward_mamba_real",
    "backward_mamba": "backward_mamba_real",
    "projection": "output_proj",
    "norm": "layer_norm",
}

Rule = tuple[str, Callable[[re.Match[str]], str]]
_MAMBA_RULES: tuple[Rule, ...] = (
    (
        r"mamba\.layers\.(\d+)\.(forward_mamba|backward_mamba|projection|norm)\.",
        lambda m: f"{MAMBA}{m[1]}.{_LAYER[m[2]]}.",
    ),
    (r"detection\.", lambda m: "detection_head."),
)
_UNET_RULES: tuple[Rule, ...] = (
    (r"stem\.(conv|norm)\.", lambda m: f"encoder.input_conv.{_PART[m[1]]}."),
    (
        r"(encoder|decoder)(\d+)([ab])\.(conv|norm)\.",
        lambda m: f"{m[1]}.{m[1]}_blocks.{int(m[2]) - 1}.{_HALF[m[3]]}.{_PART[m[4]]}.",
    ),
    (r"down(\d+)\.", lambda m: f"encoder.downsample.{int(m[1]) - 1}."),
    (r"up(\d+)\.", lambda m: f"decoder.upsample.{int(m[1]) - 1}."),
    (
        r"rescnn(\d+)_mix\.(conv|norm)\.",
        lambda m: f"rescnn.blocks.{int(m[1]) - 1}.fusion.{_STEP[m[2]]}.",
    ),
    (r"projection\.", lambda m: "decoder.output_conv."),
    *_MAMBA_RULES,
)
_TCN_RULES: tuple[Rule, ...] = (
    (r"level(\d+)\.conv\.", lambda m: f"{BACKBONE}network.{3 * int(m[1])}."),
    (r"backbone_projection\.", lambda m: f"{BACKBONE}projection."),
    (r"channel_projection\.", lambda m: "tcn_encoder.channel_proj."),
    (r"downsample\.", lambda m: "tcn_encoder.downsample."),
    (r"projection\.", lambda m: "proj_head.proj."),
    *_MAMBA_RULES,
)

# As versions of the origin before 2.3, and torch since 2.0, write them.
_OTHER_NAMES = (
    (re.compile(r"^proj_512_to_19\."), "proj_head.proj."),
    (re.compile(r"(\.network\.\d+)\.parametrizations\.weight\.original0$"), r"\1.weight_g"),
    (re.compile(r"(\.network\.\d+)\.parametrizations\.weight\.original1$"), r"\1.weight_v"),
)
_DROPPED = (
    (
        re.compile(r"mamba\.layers\.\d+\.(forward|backward)_mamba_fallback\.(weight|bias)"),
        "stands in for Mamba-2 where mamba_ssm is missing, to test shapes",
    ),
    (re.compile(r".+\.num_batches_tracked"), "a counter that no output depends on"),
    (
        re.compile(r"tcn_encoder\.tcn\.network\.\d+\.conv[12]\.padder\.buffer"),
        "streaming state, not a weight",
    ),
)


def names_of(spec: Spec) -> dict[str, str] | None:
    """The origin's name of each neutral tensor, or None for a model that is none of its detectors.

    Args:
        spec: as the documents of `tcnzoo.zoo.foreign.detectors` make it.
    """
    if isinstance(spec, GraphSpec):
        kernels = [name for name in spec.nodes if re.fullmatch(r"rescnn1_k\d+", name)]
        numbers = {name.removeprefix("rescnn1_"): number for number, name in enumerate(kernels)}
        rules = (_branches(numbers), *_UNET_RULES)
    elif isinstance(spec, SequentialSpec):
        rules = _TCN_RULES
    else:
        return None
    names = {name: _renamed(name, rules) for name in spec.params()}
    return {name: new for name, new in names.items() if new} if all(names.values()) else None


def _branches(numbers: Mapping[str, int]) -> Rule:
    """The rule for the branches of the residual CNN, which the origin counts."""
    return (
        rf"rescnn(\d+)_({'|'.join(numbers) or '(?!)'})\.(conv|norm)\.",
        lambda m: f"rescnn.blocks.{int(m[1]) - 1}.branches.{numbers[m[2]]}.{_STEP[m[3]]}.",
    )


def _renamed(name: str, rules: tuple[Rule, ...]) -> str | None:
    """The origin's name of a tensor, or None where no rule fits."""
    if name.startswith("tcn."):
        return BACKBONE + pytorch_tcn_name(name.removeprefix("tcn."))
    for pattern, made in rules:
        match = re.match(pattern, name)
        if match:
            return made(match) + name[match.end() :]
    return None


def current_name(name: str) -> str:
    """The name that version 2.3 gives a tensor."""
    for pattern, replacement in _OTHER_NAMES:
        name = pattern.sub(replacement, name)
    return name


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no part of the detector may be left out; None where it may not."""
    return next((why for pattern, why in _DROPPED if pattern.fullmatch(name)), None)
