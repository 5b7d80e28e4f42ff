"""How a file of mlx-tcn is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec, TcnSpec, WeightNormSpec
from tcnzoo.specs.folding import fold

from ..containers.own import header, to_stored
from ..mlx import LAYOUT, store
from ..pytorch_tcn.arguments import arguments_beside, refuse, the_tcn
from .arguments import arguments_of, obstacles
from .detect import NAME
from .names import mlx_name

EFFECTIVE = "mlx-tcn has no use for it: the kernel g * v / |v| is written in its place"


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write what `TCN(**arguments).load_weights` takes strictly, and the arguments as .json.

    Returns:
        the tensors of weight norm, in whose place their kernels are written.
    Raises:
        SpecError: a model that mlx-tcn cannot hold.
        InputError: the .json is there and is not one of arguments.
        WeightError: a spec that is too long for the comment of an .npz.
    """
    tcn = the_tcn(NAME, spec)
    refuse(NAME, obstacles(tcn))
    plain: TcnSpec = tcn
    effective: Tensors = weights
    if isinstance(tcn.norm, WeightNormSpec):
        folded, effective = fold(tcn, weights)
        plain = the_tcn(NAME, folded)
    stored = to_stored(plain.params(), effective, LAYOUT)
    named = {mlx_name(name): array for name, array in stored.items()}
    with arguments_beside(NAME, path, arguments_of(tcn)) as temporary:
        store(temporary, {**named, **_fillers(tcn, named)}, header(NAME, plain))
    return {name: EFFECTIVE for name in weights if name not in stored}


def _fillers(spec: TcnSpec, named: Weights) -> dict[str, Array]:
    """What mlx-tcn's file has beside the weights, as a new net with them has it."""
    fillers: dict[str, Array] = {}
    for level in range(len(spec.channels)):
        prefix, block = f"network.{level}", spec.block(level)
        reach = (block.kernel_size - 1) * block.dilation
        for conv, inside in (("conv1", block.in_channels), ("conv2", block.channels)):
            kernel = named[f"{prefix}.{conv}.weight"]
            fillers[f"{prefix}.{conv}.padder.buffer"] = np.zeros((1, reach, inside), kernel.dtype)
            if isinstance(spec.norm, WeightNormSpec):
                fillers[f"{prefix}.{conv}.weight_v"] = kernel
                fillers[f"{prefix}.{conv}.weight_g"] = _norm_over_out(kernel)
        if spec.embeddings and spec.embedding_mode == "add":
            shape = (block.inner, 1, 2 * block.inner)
            dtype = named[f"{prefix}.embedding_projection1.weight"].dtype
            fillers[f"{prefix}.embedding_projection2.weight"] = np.zeros(shape, dtype)
            fillers[f"{prefix}.embedding_projection2.bias"] = np.zeros(shape[:1], dtype)
    return fillers


def _norm_over_out(kernel: Array) -> Array:
    """Norm of a kernel (out, K, in) over `out`, which is the axis that mlx-tcn takes."""
    squares: Array = np.sum(np.square(kernel, dtype=np.float64), axis=0, keepdims=True)
    return np.sqrt(squares).astype(kernel.dtype)
