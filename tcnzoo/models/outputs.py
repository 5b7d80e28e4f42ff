"""Outputs of blocks: their names, the one that the next layer sees, and traces of every part."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tcnzoo.arrays import Array

Output = Array | dict[str, Array]

# The model itself among its parts in a trace; no part can have this name.
ROOT = "(model)"

# What a temporal block by itself returns: activation(residual + out), and out.
PAIR = ("output", "out")


def first(y: Any) -> Any:
    """The output that the next layer would see, of a block that has several."""
    if isinstance(y, dict):
        return next(iter(y.values()))
    return y[0] if isinstance(y, tuple) else y


def named_outputs(y: Any) -> Any:
    """Several outputs as a dictionary by name; a single one as it is."""
    return dict(zip(PAIR, y, strict=True)) if isinstance(y, tuple) else y


class Trace:
    """The output of every part by dotted path, in order of completion.

    A part that is used twice counts where it ends for good.

    Attributes:
        outputs: path -> neutral numpy array; the model itself is ROOT.
    """

    def __init__(self, neutral: Callable[[Any], Array]) -> None:
        """Begin with none.

        Args:
            neutral: turns a native output into a neutral numpy array.
        """
        self.outputs: dict[str, Array] = {}
        self._neutral = neutral

    def __call__(self, path: str, y: Any) -> None:
        """Note what the part at `path` has computed."""
        name = path or ROOT
        self.outputs.pop(name, None)
        self.outputs[name] = self._neutral(first(y))


class Quantized(NamedTuple):
    """What a quantiser gives for one batch, in arrays of one framework.

    Attributes:
        output: the codes, shaped as the input; 0 where masked.
        indices: of the codes, int, the shape of the input without channels; residual_vq has its
            levels in the place of the channels; -1 where masked.
        vq_loss: codebook and commitment loss, a scalar; of residual_vq the sum over its levels.
        perplexity: exp of the entropy (nats) of how the batch used the codes; one value, or one for
            each level of residual_vq.
        usage: share of the codes that the batch used; as perplexity.
    """

    output: Any
    indices: Any
    vq_loss: Any
    perplexity: Any
    usage: Any
