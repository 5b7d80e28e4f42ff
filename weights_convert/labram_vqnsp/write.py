"""How a checkpoint of VQNSP is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import SpecError
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import DenseSpec, SequentialSpec, Spec, VectorQuantizerSpec
from tcnzoo.zoo.foreign.labram import tokenizer_document
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import header, to_stored
from ..containers.state_dicts import write_state_dict
from ..labram.spec import encoder_of, plain
from ..torch import LAYOUT
from .detect import NAME
from .names import names_of, stored_shape


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that the original's VQNSP loads strictly.

    What its codebook makes and never reads is written as a new codebook has it.

    Raises:
        SpecError: a model that is no such tokenizer.
    """
    names = names_of(spec) if _is_tokenizer(spec) else None
    if names is None:
        raise SpecError(
            f"{NAME} holds the tokenizer that zoo.foreign.labram describes, but this is another "
            f"{spec.kind}"
        )
    named: dict[str, Array] = {}
    for name, array in to_stored(spec.params(), weights, LAYOUT).items():
        theirs = names[name]
        named[theirs] = np.ascontiguousarray(array).reshape(stored_shape(theirs, array.shape))
    codes = named["quantize.embedding.weight"]
    named["quantize.embedding.embed_avg"] = codes
    named["quantize.embedding.cluster_size"] = np.zeros(len(codes), codes.dtype)
    write_state_dict(path, named, header(NAME, spec))
    return {}


def _is_tokenizer(spec: Spec) -> bool:
    """Whether the document of the original's tokenizer makes this model."""
    layers = spec.layers if isinstance(spec, SequentialSpec) else {}
    parts = [layers.get(name) for name in ("encoder", "quantizer", "decoder", "heads")]
    encoder, quantizer, decoder, heads = parts
    if not (
        isinstance(encoder, SequentialSpec)
        and isinstance(decoder, SequentialSpec)
        and isinstance(quantizer, VectorQuantizerSpec)
        and heads is not None
    ):
        return False
    dense = [part for _, part in heads.walk() if isinstance(part, DenseSpec)]
    try:
        document = tokenizer_document(
            encoder_of(encoder.layers),
            encoder_of(decoder.layers),
            codes=quantizer.codes,
            code_channels=quantizer.channels,
            bins=dense[-1].out_features if dense else 1,
        )
        return bool(plain(parse_spec(document)) == plain(spec))
    except (KeyError, TypeError, SpecError):
        return False
