"""Names of VQNSP's tensors, and of the same tensors here.

Source: module names of github.com/935963004/LaBraM (MIT) at c431221.
"""

import re

from tcnzoo.arrays import Array
from tcnzoo.specs import Spec

from ..labram.names import original_name, squeezed, stored_shape as inner_shape

# Each half is a LaBraM whose tokens go through the norm that its classifiers have.
_LAST = {"norm": "fc_norm"}
_RULES: tuple[tuple[str, str], ...] = (
    (r"quantizer\.codebook$", "quantize.embedding.weight"),
    (r"quantizer\.cluster_size$", "quantize.cluster_size"),
    (r"quantizer\.initialised$", "quantize.embedding.initted"),
    (r"encode_task\.hidden\.", "encode_task_layer.0."),
    (r"encode_task\.out\.", "encode_task_layer.2."),
    (r"heads\.amplitude\.hidden\.", "decode_task_layer.0."),
    (r"heads\.amplitude\.out\.", "decode_task_layer.2."),
    (r"heads\.phase\.hidden\.", "decode_task_layer_angle.0."),
    (r"heads\.phase\.out\.", "decode_task_layer_angle.2."),
    (r"decoder\.projection\.", "decoder.patch_embed.proj."),
)
PROJECTION = "decoder.patch_embed.proj.weight"
_NEVER_READ = "dead: only the codes and quantize.cluster_size are averaged, this is never read"
_DROPPED = (
    (re.compile(r"quantize\.embedding\.(cluster_size|embed_avg)"), _NEVER_READ),
    (re.compile(r"(loss|teacher|scaling)\b.*"), "of the loss, not of the tokenizer"),
)


def names_of(spec: Spec) -> dict[str, str] | None:
    """VQNSP's name of each neutral tensor, or None for a model that is none."""
    names = {name: _name(name) for name in spec.params()}
    return {name: new for name, new in names.items() if new} if all(names.values()) else None


def _name(name: str) -> str | None:
    """VQNSP's name of a neutral tensor, or None where no rule fits."""
    for pattern, theirs in _RULES:
        renamed, count = re.subn(rf"^{pattern}", theirs, name, count=1)
        if count:
            return renamed
    half, _, rest = name.partition(".")
    inside = original_name(rest, _LAST) if half in ("encoder", "decoder") else None
    return None if inside is None else f"{half}.{inside}"


def current_name(name: str) -> str:
    """The name in training; where it only makes codes, the original calls the last norms so."""
    return re.sub(r"^(encoder|decoder)\.norm\.", r"\1.fc_norm.", name)


def neutral_shape(name: str, array: Array) -> Array:
    """A tensor of theirs without the axes of size 1 that we have not."""
    if name == PROJECTION and array.ndim == 4 and array.shape[2:] == (1, 1):
        return array[:, :, 0, 0]
    return squeezed(name, array)


def stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Their shape of a tensor."""
    return (*shape, 1, 1) if name == PROJECTION else inner_shape(name, shape)


def reason_to_drop(name: str) -> str | None:
    """Why a tensor that is no part of the tokenizer may be left out; None where it may not."""
    return next((why for pattern, why in _DROPPED if pattern.fullmatch(name)), None)
