"""Names of LaBraM's tensors, and of the same tensors here.

Source: module names of github.com/935963004/LaBraM (MIT) at c431221.
"""

import re
from collections.abc import Mapping

from tcnzoo.arrays import Array
from tcnzoo.specs import Spec

# What stands before the names of the transformer in a file of masked pre-training.
STUDENT = "student."
# Ours -> theirs, by the first that fits.
_RULES: tuple[tuple[str, str], ...] = (
    (r"cls_token\.token$", "cls_token"),
    (r"mask_token\.token$", "mask_token"),
    (r"electrode_embedding\.weight$", "pos_embed"),
    (r"time_embedding\.weight$", "time_embed"),
    (r"transformer\.blocks\.(\d+)\.layer_scale([12])$", r"blocks.\1.gamma_\2"),
    (r"transformer\.blocks\.(\d+)\.attention\.qkv\.([qv]_bias)$", r"blocks.\1.attn.\2"),
    (r"transformer\.blocks\.(\d+)\.attention\.", r"blocks.\1.attn."),
    (r"transformer\.blocks\.(\d+)\.(fc[12])\.", r"blocks.\1.mlp.\2."),
    (r"transformer\.blocks\.(\d+)\.(norm[12])\.", r"blocks.\1.\2."),
    (r"patch_embed\.", "patch_embed."),
)
# How braindecode names the same tensors.
_IN_BRAINDECODE: tuple[tuple[str, str], ...] = (
    (r"pos_embed$", "position_embedding"),
    (r"time_embed$", "temporal_embedding"),
    (r"patch_embed\.", "patch_embed.temporal_conv."),
    (r"(blocks\.\d+\.mlp)\.fc1\.", r"\1.0."),
    (r"(blocks\.\d+\.mlp)\.fc2\.", r"\1.2."),
    (r"head\.", "final_layer."),
)


# How tensors lie there, beside the neutral shape: axes that we have not are of size 1.
# (C,) -> (1, 1, C), (rows, C) -> (1, rows, C) and (O, I, K) -> (O, I, 1, K).
TOKEN, ROWS, KERNEL, SAME = "token", "rows", "time fourth", "same"
_AXES = {TOKEN: (0, 1), ROWS: (0,), KERNEL: (2,), SAME: ()}
_RANK = {TOKEN: 3, ROWS: 3, KERNEL: 4}


def layout_of(name: str) -> str:
    """How a tensor lies there, by its name in LaBraM."""
    last = name.rsplit(".", 1)[-1]
    if last in ("cls_token", "mask_token"):
        return TOKEN
    if last in ("pos_embed", "time_embed"):
        return ROWS
    return KERNEL if re.search(r"patch_embed\.conv\d\.weight$", name) else SAME


def stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Their shape of a tensor that has a neutral shape."""
    sizes = list(shape)
    for axis in _AXES[layout_of(name)]:
        sizes.insert(axis, 1)
    return tuple(sizes)


def squeezed(name: str, array: Array) -> Array:
    """A tensor of theirs without the axes of size 1 that we have not; another one as it is."""
    layout = layout_of(name)
    axes = _AXES[layout]
    if array.ndim != _RANK.get(layout, array.ndim) or any(array.shape[axis] != 1 for axis in axes):
        return array
    kept = tuple(size for axis, size in enumerate(array.shape) if axis not in axes)
    return array.reshape(kept)


def original_name(name: str, last: Mapping[str, str]) -> str | None:
    """Their name of a neutral tensor, or None where no rule fits.

    Args:
        name: neutral.
        last: our layers after the transformer -> their names.
    """
    for pattern, theirs in _RULES:
        renamed, count = re.subn(rf"^{pattern}", theirs, name, count=1)
        if count:
            return renamed
    layer, _, rest = name.partition(".")
    return f"{last[layer]}.{rest}" if layer in last else None


def names_of(spec: Spec, last: Mapping[str, str]) -> dict[str, str] | None:
    """Their name of each neutral tensor, or None where one has none; `last` as above."""
    names = {name: original_name(name, last) for name in spec.params()}
    return {name: new for name, new in names.items() if new} if all(names.values()) else None


def in_braindecode(name: str) -> str:
    """braindecode's name of a tensor of LaBraM."""
    for pattern, theirs in _IN_BRAINDECODE:
        renamed, count = re.subn(rf"^{pattern}", theirs, name, count=1)
        if count:
            return renamed
    return name
