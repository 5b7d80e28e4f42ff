"""Quantisers in any backend: codes, losses and usage of a signal, and k-means as a start."""

from typing import Any

import numpy as np

from tcnzoo.arrays import Array, to_numpy, to_real
from tcnzoo.errors import InputError
from tcnzoo.inference.codebook import check_mask, not_finite, nothing_to_quantize
from tcnzoo.models.backend import Backend, backend_of, dtype_of, handle_of
from tcnzoo.models.calls import create, get_weights, set_weights
from tcnzoo.models.outputs import Quantized

KINDS = ("vector_quantizer", "residual_vq", "fsq")


def quantize(model: Any, x: Any, mask: Any = None) -> dict[str, Array]:
    """Run a quantiser in evaluation mode, where nothing moves.

    Args:
        model: from `create` or `load`, of kind vector_quantizer, residual_vq or fsq.
        x: (batch, channels, time), or (batch, channels).
        mask: bool, True where a step counts, (batch, time) or (batch,); None for everywhere.
    Returns:
        numpy in neutral layout: `output` as x, `indices` (batch, time) int64, `vq_loss`,
        `perplexity` and `usage` (see codebook.Quantized). residual_vq has `indices`
        (batch, levels, time), and the last two for each level.
    Raises:
        InputError: another kind of model, an x or mask of the wrong shape, NaN, or a mask that
            leaves nothing.
    """
    handle = handle_of(model)
    if handle.spec.kind not in KINDS:
        raise InputError(
            f"quantize takes a model of kind {', '.join(KINDS[:-1])} or {KINDS[-1]}, but this one "
            f"is a {handle.spec.kind}; run the quantiser in it by itself"
        )
    x, mask = _checked(handle, to_real(x, dtype_of(model)), mask)
    engine: Backend = backend_of(handle.backend)
    quantized: Quantized = engine.quantize(model, x, mask)
    table = {name: np.asarray(value) for name, value in quantized._asdict().items()}
    table["indices"] = table["indices"].astype(np.int64)
    return table


def _checked(handle: Any, x: Array, mask: Any) -> tuple[Array, Array | None]:
    """The input and mask, or InputError."""
    handle.check_input(x, ())
    kept: Array = np.ones((x.shape[0], *x.shape[2:]), dtype=bool)
    if mask is not None:
        mask = to_numpy(mask).astype(bool)
        check_mask(mask, kept.shape)
        kept = mask
    if not kept.any():
        raise nothing_to_quantize()
    if not np.isfinite(np.moveaxis(x, 1, -1)[kept]).all():
        raise not_finite()
    return x, mask


def initialise_codebook(model: Any, x: Any, *, iterations: int = 10) -> None:
    """Set every codebook of a model by k-means on what reaches it of a signal.

    The numpy backend does it for all others, in float64, so that they start from the same bits; see
    tcnzoo.inference.codebook.kmeans. Codebooks of residual levels are set one after the other.

    Args:
        model: from `create` or `load`, with a vector_quantizer or residual_vq in it.
        x: input of the model.
        iterations: of k-means, at least 1.
    Raises:
        InputError: a model without codebook, fewer steps than codes, or NaN.
    """
    handle = handle_of(model)
    x = to_real(x, "float64")
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, but is {iterations}")
    handle.check_input(x, ())
    twin = create(handle.spec, "numpy", weights=get_weights(model), dtype="float64")
    parts = [part for _, part in twin.walk() if part.spec.kind in KINDS[:-1]]
    if not parts:
        raise InputError(f"a {handle.spec.kind} model has no codebook to initialise")
    for part in parts:
        part.iterations = iterations
    backend_of("numpy").predict(twin, x, ())
    set_weights(model, get_weights(twin))
