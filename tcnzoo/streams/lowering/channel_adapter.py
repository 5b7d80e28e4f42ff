"""Channel adapters that mix electrodes: a convolution of one tap."""

from collections.abc import Sequence

import numpy as np

from tcnzoo.specs import ChannelAdapterSpec
from tcnzoo.streams.lowering.builder import Builder, join, lowers, rounded
from tcnzoo.streams.program import Conv, Signal


@lowers("channel_adapter")
def channel_adapter(
    build: Builder, spec: ChannelAdapterSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """One operation, of the mixture that is fixed or was learned."""
    names = () if spec.mixes else ("query", "key")
    weights = spec.mixture(
        {
            f"{name}.{tensor}": build.array(join(path, name), tensor)
            for name in names
            for tensor in ("weight", "bias")
        }
    )
    return build.emit(
        Conv,
        x,
        len(weights),
        weight=rounded(weights[:, None]),
        bias=np.zeros(len(weights), np.float32),
    )
