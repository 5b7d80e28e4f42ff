"""LaBraM, its masked pre-training model and its tokenizer VQNSP, as documents for `parse_spec`.

Source: Jiang et al. 2024, arXiv:2405.18765; modeling_finetune.py, modeling_pretrain.py and
modeling_vqnsp.py of github.com/935963004/LaBraM (MIT) at c431221: facts only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Of every norm of LaBraM but those of the stem.
EPS = 1e-6
# The list that rows of electrodes follow; with the leading token's row, which stands first.
TABLE, TABLE_OF_ALL_ROWS = "labram-128", "labram-129"
# Of the tokenizer's heads: values of the spectrum of a patch.
HEADS = ("amplitude", "phase")
# A value of 1 is 100 uV.
INPUT = {"unit": "uV", "scale": 0.01}
_START = {"name": "trunc_normal", "gain": 0.02}
# The last layer of a classifier starts smaller by 0.001.
_START_OF_HEAD = {"name": "trunc_normal", "gain": 2e-5}


@dataclass(frozen=True)
class Encoder:
    """Sizes of the transformer that all of these models have.

    Attributes:
        channels: width of the tokens.
        depth, heads, hidden: of the transformer.
        patch: steps of a patch.
        out_channels, kernel_size: of the stem.
        rows: of the time embedding, the most patches of an electrode.
        qkv_bias: `none`, or `qv` for queries and values.
        qk_norm: whether queries and keys are normed.
        layer_scale: what the factors of the residual paths start with; None for no factors.
        electrodes: names of those of the input; None for all of the table.
        drop_path: rate of the last block in training.
    """

    channels: int = 200
    depth: int = 12
    heads: int = 10
    hidden: int = 800
    patch: int = 200
    out_channels: int = 8
    kernel_size: int = 15
    rows: int = 16
    qkv_bias: str = "none"
    qk_norm: bool = True
    layer_scale: float | None = 0.1
    electrodes: Sequence[str] | None = None
    drop_path: float = 0.0

    def stem(self) -> dict[str, Any]:
        """The convolutions that make tokens of patches."""
        fields = {"kernel_size": self.kernel_size, "out_channels": self.out_channels}
        fields |= {"electrodes": self.count}
        return {"kind": "patch_embed", "patch": self.patch, **fields}

    @property
    def count(self) -> int:
        """Electrodes of the input."""
        return len(_all_electrodes() if self.electrodes is None else self.electrodes)

    def embeddings(self, cls: str) -> dict[str, Any]:
        """A leading token, and the rows of electrodes and of places in time; `cls` as there."""
        rows: dict[str, Any] = {"kind": "electrode_embedding", "channels": self.channels}
        rows |= {"cls": cls, "table": TABLE}
        electrodes = self.electrodes
        if cls == "first_electrode":
            rows["table"] = TABLE_OF_ALL_ROWS
            electrodes = _all_electrodes() if electrodes is None else electrodes
        if electrodes is not None:
            rows["electrodes"] = list(electrodes)
        return {
            "cls_token": {"kind": "cls_token", "channels": self.channels},
            "electrode_embedding": rows,
            "time_embedding": {
                "kind": "time_embedding",
                "channels": self.channels,
                "rows": self.rows,
                "electrodes": self.count,
                "cls": True,
            },
        }

    def transformer(self) -> dict[str, Any]:
        """The blocks, without a last norm."""
        attention: dict[str, Any] = {"heads": self.heads, "qkv_bias": self.qkv_bias}
        if self.qk_norm:
            attention["qk_norm"] = {"kind": "layer_norm", "eps": EPS}
        block: dict[str, Any] = {
            "channels": self.channels,
            "attention": attention,
            "norm": {"kind": "layer_norm", "eps": EPS},
            "mlp": {"hidden": self.hidden},
        }
        if self.layer_scale is not None:
            block["layer_scale"] = self.layer_scale
        fields = {"depth": self.depth, "drop_path": self.drop_path, "scale_by_depth": True}
        return {"kind": "transformer", **fields, "block": block}

    def norm(self) -> dict[str, Any]:
        """The norm of a token."""
        return {"kind": "layer_norm", "channels": self.channels, "eps": EPS}


# The leading token is left out of what follows.
_PATCHES = {"kind": "pad", "left": -1}


def _all_electrodes() -> tuple[str, ...]:
    """The names of LaBraM's list."""
    from tcnzoo.specs.electrodes import TABLES

    return TABLES[TABLE]


def _dense(inside: int, outside: int, start: dict[str, Any]) -> dict[str, Any]:
    """A dense layer with its initialiser."""
    return {
        "kind": "dense",
        "in_features": inside,
        "out_features": outside,
        "initializer": dict(start),
    }


def _chain(layers: dict[str, Any]) -> dict[str, Any]:
    """Layers in order."""
    return {"kind": "sequential", "layers": layers}


def _model(layers: dict[str, Any]) -> dict[str, Any]:
    """Layers in order, which take uV / 100."""
    return {**_chain(layers), "input": dict(INPUT)}


def classifier_document(
    encoder: Encoder, outputs: int | None = None, pooling: str = "mean"
) -> dict[str, Any]:
    """The document of a classifier or regressor.

    Args:
        encoder: its sizes.
        outputs: of the last layer; None for features without one.
        pooling: `mean` of the tokens of patches, or `cls`, the leading token.
    """
    pool: dict[str, Any] = {"pool": {"kind": "pool", "mode": "first"}}
    if pooling == "mean":
        pool = {"patches": dict(_PATCHES), "pool": {"kind": "pool", "mode": "global_average"}}
    layers = {
        "patch_embed": encoder.stem(),
        **encoder.embeddings("own"),
        "transformer": encoder.transformer(),
        **pool,
        "norm": encoder.norm(),
    }
    if outputs is not None:
        layers["head"] = _dense(encoder.channels, outputs, _START_OF_HEAD)
    return _model(layers)


def mem_document(
    encoder: Encoder, codes: int = 8192, cls: str = "first_electrode"
) -> dict[str, Any]:
    """The document of the model that tells the codes of masked tokens: (codes, tokens).

    Args:
        encoder: its sizes.
        codes: of the tokenizer.
        cls: whose row the leading token has, see ElectrodeEmbeddingSpec.
    """
    return _model(
        {
            "patch_embed": encoder.stem(),
            "mask_token": {"kind": "mask_token", "channels": encoder.channels},
            **encoder.embeddings(cls),
            "transformer": encoder.transformer(),
            "patches": dict(_PATCHES),
            "norm": encoder.norm(),
            "head": _dense(encoder.channels, codes, _START),
        }
    )


def tokenizer_document(
    encoder: Encoder,
    decoder: Encoder,
    *,
    codes: int = 8192,
    code_channels: int = 64,
    bins: int = 200,
) -> dict[str, Any]:
    """The document of the tokenizer: `amplitude` and `phase`, (bins, tokens) each.

    Args:
        encoder, decoder: their sizes; a decoder reads codes, so it has no stem.
        codes, code_channels: of the codebook.
        bins: values of each spectrum.
    """
    heads = {name: _task(decoder.channels, bins) for name in HEADS}
    return _model(
        {
            "encoder": _tokens({"patch_embed": encoder.stem()}, encoder),
            "encode_task": _task(encoder.channels, code_channels),
            "quantizer": {
                "kind": "vector_quantizer",
                "channels": code_channels,
                "codes": codes,
                "cosine": True,
                "update": "unit_ema",
                "decay": 0.99,
                "commitment": 1.0,
                "dead_code_threshold": 0.0,
                "kmeans_iterations": 10,
            },
            "decoder": _tokens(
                {"projection": _dense(code_channels, decoder.channels, _START)}, decoder
            ),
            "heads": {"kind": "heads", "heads": heads},
        }
    )


def _tokens(first: dict[str, Any], encoder: Encoder) -> dict[str, Any]:
    """A transformer that gives normed tokens of patches."""
    return _chain(
        {
            **first,
            **encoder.embeddings("own"),
            "transformer": encoder.transformer(),
            "patches": dict(_PATCHES),
            "norm": encoder.norm(),
        }
    )


def _task(inside: int, outside: int) -> dict[str, Any]:
    """Two dense layers with tanh between them."""
    return _chain(
        {
            "hidden": _dense(inside, inside, _START),
            "activation": {"kind": "activation", "name": "tanh"},
            "out": _dense(inside, outside, _START),
        }
    )
