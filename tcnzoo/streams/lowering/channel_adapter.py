"""Channel adapters that mix electrodes: a convolution of one tap."""

import math
from collections.abc import Sequence

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import ChannelAdapterSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers, rounded
from tcnzoo.streams.program import Conv, Signal


@lowers("channel_adapter")
def channel_adapter(
    build: Builder, spec: ChannelAdapterSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation, of the mixture that is fixed or was learned."""
    weights = spec.matrix() if spec.mixes else _learned(build, spec, path)
    return build.emit(
        Conv,
        x,
        len(weights),
        weight=rounded(weights[:, None]),
        bias=np.zeros(len(weights), np.float32),
    )


def _learned(build: Builder, spec: ChannelAdapterSpec, path: str) -> Array:
    """What each source counts for each target with method `attend`."""

    def dense(name: str, directions: Array) -> Array:
        part = join(path, name)
        y: Array = directions @ build.array(part, "weight").T + build.array(part, "bias")
        return y

    query = dense("query", spec.target_directions())
    scores = query @ dense("key", spec.source_directions()).T / math.sqrt(spec.inner)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    mixture: Array = powers / powers.sum(axis=1, keepdims=True)
    return mixture
