"""Norms that no kernel takes up."""

from collections.abc import Sequence

import numpy as np

from tcnzoo.specs import BatchNormSpec, LayerNormSpec, RmsNormSpec
from tcnzoo.streams.lowering.builder import Builder, lowers, rounded
from tcnzoo.streams.program import Affine, LayerNorm, RmsNorm, Signal


@lowers("batch_norm")
def batch_norm(
    build: Builder, spec: BatchNormSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """A scale and a shift."""
    scale = build.array(path, "weight") / np.sqrt(build.array(path, "running_var") + spec.eps)
    shift = build.array(path, "bias") - build.array(path, "running_mean") * scale
    return build.emit(Affine, x, x.channels, scale=rounded(scale), shift=rounded(shift))


@lowers("layer_norm")
def layer_norm(
    build: Builder, spec: LayerNormSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation."""
    weight = rounded(build.array(path, "weight"))
    return build.emit(
        LayerNorm, x, x.channels, weight=weight, bias=build.bias(path, x.channels), eps=spec.eps
    )


@lowers("rms_norm")
def rms_norm(
    build: Builder, spec: RmsNormSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation."""
    weight = rounded(build.array(path, "weight"))
    return build.emit(RmsNorm, x, x.channels, weight=weight, groups=spec.groups, eps=spec.eps)
