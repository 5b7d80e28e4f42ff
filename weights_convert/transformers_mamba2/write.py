"""How a Mamba-2 model of transformers is written."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import TENSORS
from tcnzoo.errors import SpecError
from tcnzoo.files.atomic import replacing_directory
from tcnzoo.files.safetensors import put_safetensors
from tcnzoo.specs import Mamba2Spec, Spec

from ..containers.own import to_stored
from ..torch import LAYOUT
from .config import (
    CONFIG,
    config_document,
    refused,
)
from .detect import NAME
from .graph import mixers_of
from .names import BACKBONE, EMBEDDINGS, foreign_name


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write config.json and model.safetensors, both or neither.

    A stack becomes what `Mamba2Model.from_pretrained` and mlx-lm load, with the embedding of one
    token, zero, because these cannot be without; give the signal as `inputs_embeds`. A mamba2
    becomes the state_dict of a `Mamba2Mixer(Mamba2Config(**config), 0)`.

    Raises:
        SpecError: a model that transformers has not.
    """
    single = isinstance(spec, Mamba2Spec)
    mixers = [spec] if isinstance(spec, Mamba2Spec) else mixers_of(spec)
    against = list(refused(mixers[0]))
    if against:
        raise SpecError(f"{NAME} cannot hold this model: {'; '.join(against)}")
    stored = to_stored(spec.params(), weights, LAYOUT)
    named: dict[str, Array] = {
        name if single else foreign_name(name): array for name, array in stored.items()
    }
    if not single:
        first = named[f"{BACKBONE}layers.0.norm.weight"]
        named[BACKBONE + EMBEDDINGS] = np.zeros((1, *first.shape), first.dtype)
    text = json.dumps(config_document(mixers[0], len(mixers)), indent=2) + "\n"
    with replacing_directory(path) as files:
        put_safetensors(files / TENSORS, named, {"format": "pt"})
        (files / CONFIG).write_text(text, encoding="utf-8")
    return {}
