"""What the tensors of a LaBraM say of it.

Source: shapes of github.com/935963004/LaBraM (MIT) at c431221.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.specs.electrodes import TABLES
from tcnzoo.zoo.foreign.labram import TABLE, Encoder

Shapes = Mapping[str, tuple[int, ...]]
# What no tensor says; the first where queries and keys are not normed.
DEFAULTS: Mapping[str, Any] = {"heads": 10, "electrodes": None, "drop_path": 0.0}
# Of the stem, which every LaBraM has.
STRIDE = 8


def encoder_in(
    path: Path, shapes: Shapes, hints: Mapping[str, Any], prefix: str = "", stem: bool = True
) -> tuple[Encoder, dict[str, Any]]:
    """Sizes of a transformer.

    Args:
        path: for the sentences of errors.
        shapes: of the tensors, by LaBraM's names, without the axes that we have not.
        hints: `heads`, `electrodes`, `drop_path`, `patch`.
        prefix: what stands before the names.
        stem: whether it reads signals.
    Returns:
        the sizes, and what was assumed.
    Raises:
        WeightError: no such transformer, or rows of other electrodes.
        InputError: a hint that contradicts the file.
    """

    def shape(name: str, rank: int) -> tuple[int, ...]:
        found_shape = shapes.get(prefix + name)
        if found_shape is None or len(found_shape) != rank or 0 in found_shape:
            what = "it is not there" if found_shape is None else f"its shape is {found_shape}"
            raise WeightError(f"{str(path)!r} must hold {prefix + name!r}, but {what}")
        return found_shape

    rows, channels = shape("pos_embed", 2)
    wanted = len(TABLES[TABLE]) + 1
    if rows != wanted:
        raise WeightError(
            f"{prefix + 'pos_embed'!r} of {str(path)!r} must have {wanted} rows, one for a leading "
            f"token and {wanted - 1} for LaBraM's electrodes, but has {rows}: a checkpoint of "
            "another montage"
        )
    numbers = (re.match(rf"{re.escape(prefix)}blocks\.(\d+)\.", name) for name in shapes)
    normed = shapes.get(f"{prefix}blocks.0.attn.q_norm.weight")
    inner = shape("blocks.0.attn.qkv.weight", 2)[0] // 3
    fields: dict[str, Any] = {
        "channels": channels,
        "depth": len({match[1] for match in numbers if match}),
        "hidden": shape("blocks.0.mlp.fc1.weight", 2)[0],
        "rows": shape("time_embed", 2)[0],
        "qkv_bias": "qv" if f"{prefix}blocks.0.attn.q_bias" in shapes else "none",
        "qk_norm": normed is not None,
        "layer_scale": 0.1 if f"{prefix}blocks.0.gamma_1" in shapes else None,
    }
    if normed:
        fields["heads"] = inner // normed[0]
    if stem:
        out_channels, _, kernel_size = shape("patch_embed.conv1.weight", 3)
        fields |= {"out_channels": out_channels, "kernel_size": kernel_size}
        fields["patch"] = _patch(path, channels, out_channels, hints)
    for name in ("heads", "patch"):
        if name in fields and name in hints and hints[name] != fields[name]:
            raise InputError(
                f"the hint {name}={hints[name]} contradicts {str(path)!r}, which says "
                f"{name}={fields[name]}"
            )
    assumed = {
        name: value for name, value in DEFAULTS.items() if name not in fields and name not in hints
    }
    told_us = {name: hints[name] for name in DEFAULTS if name in hints and name not in fields}
    encoder = Encoder(**fields, **assumed, **told_us)
    if encoder.heads < 1 or inner % encoder.heads or inner != channels:
        raise SpecError(
            f"{str(path)!r} has queries of {inner} values for tokens of {channels}, which "
            f"{encoder.heads} heads do not share alike; give the number: --set heads=..."
        )
    if assumed.get("electrodes", ...) is None:
        assumed["electrodes"] = f"all {wanted - 1} of {TABLE}"
    return encoder, assumed


def _patch(path: Path, channels: int, out_channels: int, hints: Mapping[str, Any]) -> int:
    """Steps of a patch, the most that gives tokens of this width."""
    steps, rest = divmod(channels, out_channels)
    if rest or not steps:
        raise WeightError(
            f"the stem of {str(path)!r} has {out_channels} channels, which do not make tokens of "
            f"{channels} values"
        )
    most = steps * STRIDE
    given = hints.get("patch", most)
    return given if isinstance(given, int) and most - STRIDE < given <= most else most
