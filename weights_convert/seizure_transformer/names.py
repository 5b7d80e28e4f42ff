"""Names of a SeizureTransformer's tensors."""

import re
from collections.abc import Callable, Iterator

COUNTER = "num_batches_tracked"
POSITIONS = "position_encoding.pe"
UNUSED = "transformer_encoder_layer."

_PARTS = {
    "self_attn.in_proj_weight": "attention.qkv.weight",
    "self_attn.out_proj.weight": "attention.proj.weight",
    "self_attn.out_proj.bias": "attention.proj.bias",
}
BIAS = "self_attn.in_proj_bias"
# The bias of queries, keys and values is one vector there and three here.
BIASES = ("attention.qkv.q_bias", "attention.qkv.k_bias", "attention.qkv.v_bias")
_OURS = {theirs: ours for ours, theirs in _PARTS.items()}


def _layer(name: str) -> str:
    """The name of a tensor inside a layer of the transformer."""
    return _PARTS.get(name, name.replace("linear1.", "fc1.").replace("linear2.", "fc2."))


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str], int], str]], ...] = (
    (r"encoder\.convs\.(\d+)\.(.+)", lambda n, stages: f"conv{int(n[1]) + 1}.{n[2]}"),
    (r"res_cnn_stack\.members\.(\d+)\.(.+)", lambda n, stages: f"res{int(n[1]) + 1}.{n[2]}"),
    (r"decoder_d\.convs\.(\d+)\.(.+)", lambda n, stages: f"deconv{stages - int(n[1])}.{n[2]}"),
    (r"conv_d\.(.+)", lambda n, stages: f"detection.{n[1]}"),
    (
        r"transformer_encoder\.layers\.(\d+)\.(.+)",
        lambda n, stages: f"transformer.blocks.{n[1]}.{_layer(n[2])}",
    ),
)


def neutral_name(name: str, stages: int) -> str | None:
    """Neutral name of a tensor, or None of one that is no part of the net."""
    for pattern, made in _PATTERNS:
        match = re.fullmatch(pattern, name)
        if match:
            return made(match, stages)
    return None


def foreign_name(name: str, stages: int) -> str:
    """The name there of a tensor that has one."""
    node, _, rest = name.partition(".")
    kind = node.rstrip("0123456789")
    number = node.removeprefix(kind)
    if kind == "transformer":
        _, level, inner = rest.split(".", 2)
        inner = _OURS.get(inner, inner.replace("fc1.", "linear1.").replace("fc2.", "linear2."))
        return f"transformer_encoder.layers.{level}.{inner}"
    if kind == "detection":
        return f"conv_d.{rest}"
    stem = {"conv": "encoder.convs", "res": "res_cnn_stack.members", "deconv": "decoder_d.convs"}
    index = stages - int(number) if kind == "deconv" else int(number) - 1
    return f"{stem[kind]}.{index}.{rest}"


def bias_rows(level: int) -> Iterator[str]:
    """Neutral names of the three parts of a bias."""
    return (f"transformer.blocks.{level}.{name}" for name in BIASES)
