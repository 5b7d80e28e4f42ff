"""Which of LaBraM's models a spec is, and what its last layers are called there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import (
    ElectrodeEmbeddingSpec,
    PatchEmbedSpec,
    PoolSpec,
    SequentialSpec,
    Spec,
    TimeEmbeddingSpec,
    TransformerSpec,
)
from tcnzoo.zoo.foreign.labram import Encoder, classifier_document, mem_document
from tcnzoo.zoo.parse import parse_spec

# Our layers after the transformer -> theirs, of each of their models.
OF_MEM = {"norm": "norm", "head": "lm_head"}
OF_MEAN = {"norm": "fc_norm", "head": "head"}
OF_CLS = {"norm": "norm", "head": "head"}


def last_of(spec: Spec) -> Mapping[str, str] | None:
    """Names of the layers after the transformer, or None for a model that is none of LaBraM's."""
    if not isinstance(spec, SequentialSpec):
        return None
    layers = spec.layers
    try:
        encoder = encoder_of(layers)
    except (KeyError, TypeError):
        return None
    outputs = getattr(layers.get("head"), "out_features", None)
    pool = layers.get("pool")
    rows = layers["electrode_embedding"]
    if "mask_token" in layers and isinstance(rows, ElectrodeEmbeddingSpec) and outputs:
        made, last = mem_document(encoder, outputs, rows.cls), OF_MEM
    else:
        mean = isinstance(pool, PoolSpec) and pool.mode == "global_average"
        made = classifier_document(encoder, outputs, "mean" if mean else "cls")
        last = OF_MEAN if mean else OF_CLS
    try:
        same = plain(parse_spec(made)) == plain(spec)
    except SpecError:
        return None
    return last if same else None


def encoder_of(layers: Mapping[str, Any]) -> Encoder:
    """Sizes of the transformer among some layers.

    Raises:
        KeyError: one of its layers is missing.
        TypeError: one is of another kind.
    """
    rows, times = layers["electrode_embedding"], layers["time_embedding"]
    blocks, stem = layers["transformer"], layers.get("patch_embed")
    if not (
        isinstance(rows, ElectrodeEmbeddingSpec)
        and isinstance(times, TimeEmbeddingSpec)
        and isinstance(blocks, TransformerSpec)
    ):
        raise TypeError("other layers than LaBraM's")
    block = blocks.block
    encoder = Encoder(
        channels=block.channels,
        depth=blocks.depth,
        heads=block.attention.heads,
        hidden=block.mlp.hidden,
        rows=times.rows,
        qkv_bias=block.attention.qkv_bias,
        qk_norm=block.attention.qk_norm is not None,
        layer_scale=block.layer_scale,
        electrodes=rows.electrodes,
        drop_path=blocks.drop_path,
    )
    if stem is None:
        return encoder
    if not isinstance(stem, PatchEmbedSpec):
        raise TypeError("another stem than LaBraM's")
    return replace(
        encoder,
        patch=stem.patch,
        out_channels=stem.out_channels,
        kernel_size=stem.kernel_size,
    )


def plain(spec: Spec) -> Any:
    """A spec's fields without how weights are drawn and dropped in training."""
    return _plain(spec.model_dump(mode="json"))


_FREE = ("initializer", "initializer_out", "scale_by_depth", "dropout", "electrodes", "input")


def _plain(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _plain(value) for name, value in document.items() if name not in _FREE}
    if isinstance(document, list | tuple):
        return [_plain(value) for value in document]
    return document
