"""Names of LaBraM's tensors, and of the same tensors here.

Source: module names of github.com/935963004/LaBraM (MIT) at c431221.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Layout:
    """Where the axes of a tensor of theirs are.

    Attributes:
        shape: neutral shape -> theirs; axes that we have not are of size 1.
    """

    shape: Callable[[tuple[int, ...]], tuple[int, ...]]


SAME = Layout(lambda shape: shape)
# (C,) -> (1, 1, C), (rows, C) -> (1, rows, C) and (O, I, K) -> (O, I, 1, K).
TOKEN = Layout(lambda shape: (1, 1, *shape))
ROWS = Layout(lambda shape: (1, *shape))
KERNEL = Layout(lambda shape: (*shape[:2], 1, *shape[2:]))


def layout_of(name: str) -> Layout:
    """That of a tensor, by its name in LaBraM."""
    last = name.rsplit(".", 1)[-1]
    if last in ("cls_token", "mask_token"):
        return TOKEN
    if last in ("pos_embed", "time_embed"):
        return ROWS
    if re.search(r"patch_embed\.conv\d\.weight$", name):
        return KERNEL
    return SAME


def squeezed(name: str, array: Array) -> Array:
    """A tensor of theirs without the axes of size 1 that we have not; another one as it is."""
    layout = layout_of(name)
    if layout is SAME:
        return array
    axes = {TOKEN: (0, 1), ROWS: (0,), KERNEL: (2,)}[layout]
    fits = array.ndim == {TOKEN: 3, ROWS: 3, KERNEL: 4}[layout]
    if not fits or any(array.shape[axis] != 1 for axis in axes):
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
