"""How a codebook of vector-quantize-pytorch is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError
from tcnzoo.inference.codebook import unit
from tcnzoo.specs import ResidualVqSpec, Spec, VectorQuantizerSpec

from ..containers.own import header
from ..containers.state_dicts import (
    write_state_dict,
)
from .detect import NAME
from .facts import ONE_LENGTH, length_errors


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that a module of these sizes loads strictly.

    The library uses the codes of a cosine codebook as they are, so these are written at length 1.

    Raises:
        SpecError: a model that the library cannot hold.
    """
    stored: dict[str, Array] = {}
    for prefix, source, part in _codebooks(spec):
        for theirs, array in _stored(part, source, weights).items():
            stored[f"{prefix}_codebook.{theirs}"] = array
    write_state_dict(path, stored, header(NAME, spec))
    return {}


def _codebooks(spec: Spec) -> list[tuple[str, str, VectorQuantizerSpec]]:
    """(their prefix, ours, spec) of each codebook, as often as the library holds it."""
    if isinstance(spec, VectorQuantizerSpec):
        parts = [("", "", spec)]
    elif isinstance(spec, ResidualVqSpec):
        parts = [
            (f"layers.{level}.", f"levels.{0 if spec.shared else level}.", spec.quantizer)
            for level in range(spec.levels)
        ]
    else:
        raise SpecError(
            f"{NAME} holds a single model of kind 'vector_quantizer' or 'residual_vq', but this is "
            f"a {spec.kind}"
        )
    if parts[0][2].cosine and parts[0][2].update == "gradient":
        raise SpecError(f"{NAME} has no cosine codebook that gradients train")
    if parts[0][2].update == "unit_ema":
        raise SpecError(f"{NAME} moves codes by averages of sums, not as update 'unit_ema' does")
    return parts


def _stored(spec: VectorQuantizerSpec, source: str, weights: Weights) -> dict[str, Array]:
    """One codebook as the library names and shapes it."""
    codes = weights[source + "codebook"]
    if spec.cosine and length_errors(codes) > ONE_LENGTH:
        codes = unit(codes.astype(np.float64)).astype(codes.dtype)
    if spec.update == "ema":
        size, average = weights[source + "cluster_size"], weights[source + "embed_avg"]
    else:
        size, average = np.ones(spec.codes, codes.dtype), codes
    done = not spec.kmeans_iterations or bool(weights[source + "initialised"][0] > 0.5)
    return {
        "initted": np.array(done),
        "cluster_size": size[None],
        "embed_avg": average[None],
        "embed": codes[None],
    }
