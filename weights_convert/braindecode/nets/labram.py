"""Labram: LaBraM's classifier with braindecode's names, for some of its 128 electrodes.

The class is told electrodes in `chs_info`, or in each call (`ch_names=`); with all 128 in their
order, in neither. Here they are part of the model.

Source: `braindecode.models.labram` 1.8.1 (BSD-3-Clause); Jiang et al. 2024, arXiv:2405.18765.
"""

import re
from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs.electrodes import TABLES
from tcnzoo.zoo.foreign.labram import TABLE, Encoder, classifier_document
from tcnzoo.zoo.parse import parse_spec

from ...labram.names import in_braindecode, layout_of, names_of
from ...labram.spec import OF_CLS, OF_MEAN, encoder_of
from .plan import Plan, Source

Arguments = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

_NORM = "torch.nn.modules.normalization.LayerNorm"
_GELU = "torch.nn.modules.activation.GELU"
# `electrodes` are the names in chs_info, `rows` those of the time embedding, which n_times says.
DEFAULTS: Arguments = {
    "n_chans": None, "n_times": None, "electrodes": None, "rows": None, "patch_size": 200,
    "learned_patcher": False, "embed_dim": 200, "conv_in_channels": 1, "conv_out_channels": 8,
    "num_layers": 12, "num_heads": 10, "mlp_ratio": 4.0, "qkv_bias": False, "qk_norm": _NORM,
    "qk_scale": None, "drop_prob": 0.0, "attn_drop_prob": 0.0, "drop_path_prob": 0.0,
    "norm_layer": _NORM, "init_values": 0.1, "use_abs_pos_emb": True, "use_mean_pooling": False,
    "init_scale": 0.001, "neural_tokenizer": True, "attn_head_dim": None, "activation": _GELU,
}  # fmt: skip
NEEDED = ("n_outputs",)
RENAMED: Mapping[str, str] = {}
# What changes outputs and has no counterpart here beyond the default.
FIXED = (
    "learned_patcher", "conv_in_channels", "qk_scale", "drop_prob", "attn_drop_prob", "norm_layer",
    "use_abs_pos_emb", "neural_tokenizer", "attn_head_dim", "activation",
)  # fmt: skip
STRIDE = 8


def plan_of(arguments: Arguments) -> Plan:
    """The layers of the net.

    Raises:
        Undetermined: fewer electrodes than 128, and nobody says which.
        SpecError: an option without a counterpart, or an electrode that LaBraM has no row for.
    """
    for name in FIXED:
        if _last(arguments[name]) != _last(DEFAULTS[name]):
            raise SpecError(
                f"{name} must be {DEFAULTS[name]!r} in a Labram that is converted, but is "
                f"{arguments[name]!r}"
            )
    patch, out_channels = arguments["patch_size"], arguments["conv_out_channels"]
    width = out_channels * -(-patch // STRIDE)
    encoder = Encoder(
        channels=width,
        depth=arguments["num_layers"],
        heads=arguments["num_heads"],
        hidden=int(width * arguments["mlp_ratio"]),
        patch=patch,
        out_channels=out_channels,
        rows=_rows(arguments),
        qkv_bias="qv" if arguments["qkv_bias"] else "none",
        qk_norm=arguments["qk_norm"] is not None,
        layer_scale=arguments["init_values"],
        electrodes=_electrodes(arguments),
        drop_path=float(arguments["drop_path_prob"]),
    )
    mean = arguments["use_mean_pooling"]
    document = classifier_document(encoder, arguments["n_outputs"], "mean" if mean else "cls")
    names = names_of(parse_spec(document), OF_MEAN if mean else OF_CLS) or {}
    sources = {
        ours: Source(in_braindecode(theirs), layout_of(theirs)) for ours, theirs in names.items()
    }
    return Plan(document["layers"], sources)


def _last(value: Any) -> Any:
    """The last part of a class's path; another value as it is."""
    return value.rpartition(".")[2] if isinstance(value, str) else value


def _rows(arguments: Arguments) -> int:
    """Rows of the time embedding, one more than there are patches."""
    rows, steps, patch = (arguments[name] for name in ("rows", "n_times", "patch_size"))
    if rows is None and steps is None:
        raise SpecError("n_times must say how many steps a signal has, but is missing")
    if steps is not None and rows not in (None, steps // patch + 1):
        raise SpecError(
            f"n_times={steps} asks for {steps // patch + 1} rows of temporal_embedding, but there "
            f"are {rows}"
        )
    return int(steps // patch + 1 if rows is None else rows)


def _electrodes(arguments: Arguments) -> tuple[str, ...] | None:
    """Those of the input, or None for all 128."""
    names, count = arguments["electrodes"], arguments["n_chans"]
    if names is None and count not in (None, len(TABLES[TABLE])):
        raise Undetermined(
            f"a Labram of {count} electrodes does not say which of its {len(TABLES[TABLE])} they "
            "are; give their names, as in: --set electrodes=FP1,FP2"
        )
    return None if names is None else tuple(names)


def facts_of(shapes: Shapes) -> dict[str, Any]:
    """Arguments that the shapes of the tensors say."""
    numbers = (re.match(r"blocks\.(\d+)\.", name) for name in shapes)
    facts: dict[str, Any] = {
        "num_layers": len({match[1] for match in numbers if match}),
        "qkv_bias": "blocks.0.attn.q_bias" in shapes,
        "use_mean_pooling": "fc_norm.weight" in shapes,
    }
    head, times = shapes.get("final_layer.weight", ()), shapes.get("temporal_embedding", ())
    normed, wide = shapes.get("blocks.0.attn.q_norm.weight"), shapes.get("blocks.0.attn.qkv.weight")
    if len(head) == 2:
        facts["n_outputs"] = head[0]
    if len(times) == 3:
        facts["rows"] = times[1]
    if normed and wide and normed[0]:
        facts["num_heads"] = wide[0] // 3 // normed[0]
    inside = shapes.get("blocks.0.mlp.0.weight", ())
    if len(inside) == 2 and inside[1]:
        facts["mlp_ratio"] = inside[0] / inside[1]
    if normed is None:
        facts["qk_norm"] = None
    if "blocks.0.gamma_1" not in shapes:
        facts["init_values"] = None
    return facts


def arguments_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the net that has such layers; `n_times` is the most that its rows allow."""
    encoder = encoder_of(layers)
    names = TABLES[TABLE] if encoder.electrodes is None else encoder.electrodes
    return {
        "n_times": (encoder.rows - 1) * encoder.patch,
        "n_outputs": layers["head"].out_features,
        "chs_info": [{"ch_name": name} for name in names],
        "electrodes": encoder.electrodes,
        "patch_size": encoder.patch,
        "embed_dim": encoder.patch,
        "conv_out_channels": encoder.out_channels,
        "num_layers": encoder.depth,
        "num_heads": encoder.heads,
        "mlp_ratio": encoder.hidden / encoder.channels,
        "qkv_bias": encoder.qkv_bias == "qv",
        "qk_norm": _NORM if encoder.qk_norm else None,
        "init_values": encoder.layer_scale,
        "use_mean_pooling": layers["pool"].mode == "global_average",
        "drop_path_prob": encoder.drop_path,
    }
