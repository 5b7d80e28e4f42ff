"""The part of a vq_hdp_hsmm that can run on a chip: everything up to a score for each code.

The nearest code is argmin |z - c|^2 = argmax (2 z.c - |c|^2), which a 1 x 1 convolution computes;
the argmax, and all that follows, is left to the host.
"""

from collections.abc import Mapping

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError
from tcnzoo.specs import Conv1dSpec, SequentialSpec, Spec, VectorQuantizerSpec, VqHdpHsmmSpec
from tcnzoo.specs.params import check_weights


def code_scores(spec: Spec, weights: Mapping[str, Array]) -> tuple[SequentialSpec, Weights]:
    """Cut encoder and projection out of a model, and append a convolution that scores the codes.

    Args:
        spec: a vq_hdp_hsmm with a plain codebook.
        weights: of the model.
    Returns:
        (spec, weights) of a sequential `encoder`, `projection`, `scores`: (batch, channels[,
        devices], time) -> (batch, codes, time); the argmax over channels is the code.
    Raises:
        SpecError: another model, or a quantiser whose codes are not the nearest of a codebook.
        WeightError: weights that do not fit the spec.
    """
    if not isinstance(spec, VqHdpHsmmSpec):
        raise SpecError(f"code_scores takes a vq_hdp_hsmm, but got a {spec.kind}")
    quantizer = spec.vq
    if not isinstance(quantizer, VectorQuantizerSpec) or quantizer.cosine:
        raise SpecError(
            "code_scores takes a model whose vq is a vector_quantizer without cosine, "
            f"but it is {'one with cosine' if quantizer.kind == 'vector_quantizer' else 'an fsq'}"
        )
    check_weights(spec.params(), weights)
    scores = Conv1dSpec(in_channels=quantizer.channels, out_channels=quantizer.codes, kernel_size=1)
    layers = {"encoder": spec.encoder, "projection": spec.projection, "scores": scores}
    cut = SequentialSpec.model_validate(
        {"layers": {name: part.model_dump(mode="json") for name, part in layers.items()}}
    )
    kept = {name: weights[name] for name in cut.params() if name in weights}
    codes = np.asarray(weights["vq.codebook"])
    wide = codes.astype(np.float64)
    return cut, {
        **kept,
        "scores.weight": (2.0 * codes)[:, :, None].astype(codes.dtype),
        "scores.bias": -np.square(wide).sum(axis=1).astype(codes.dtype),
    }
