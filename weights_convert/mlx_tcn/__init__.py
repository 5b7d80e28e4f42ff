"""Weights of mlx-tcn's `TCN`, both ways, channels last, in .safetensors or .npz.

With weight norm a convolution there has three kernels, of which `weight` alone is computed with:
`weight_g` and `weight_v` are set once and never read, so they are left out of what is read, and
written as a new net with these weights would have them.

Source: mlx-tcn, https://github.com/WeLiteAuto/mlx-tcn, at commits 02a0916 and c84f516.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec, TcnSpec, WeightNormSpec
from tcnzoo.specs.folding import fold

from ..containers.own import header, to_stored
from ..containers.state_dicts import Net, net_in, sorted_out
from ..hints import check_hints
from ..mlx import LAYOUT, contents, store
from ..pytorch_tcn.arguments import arguments_beside, refuse, the_tcn
from ..pytorch_tcn.detect import MLX, ROOT, projects
from ..pytorch_tcn.spec import written_in
from .facts import mlx_name, neutral_of, reason_to_drop
from .spec import HINTS, arguments_of, confirmed, inferred, obstacles

NAME = MLX
DESCRIPTION = "weights of mlx-tcn's TCN (.safetensors or .npz), with its arguments as .json"
SUFFIXES = (".safetensors", ".npz")
FOREIGN = True

EFFECTIVE = "mlx-tcn has no use for it: the kernel g * v / |v| is written in its place"


def detect(path: Path) -> bool:
    """Whether the names in a .safetensors or .npz file may be those of mlx-tcn."""
    return NAME in projects(path)


def tensors(path: Path) -> Weights:
    """Every tensor, channels last."""
    return contents(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a file: the spec from its shapes, and from the hints what they leave open.

    A file of our own making needs no hints.

    Raises:
        Undetermined: hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no file of this net.
    """
    held, beside = contents(path)
    written = written_in(NAME, path, beside)
    given = check_hints(NAME, hints, HINTS)
    net = net_in(path, held, ROOT, given)
    assumed: Mapping[str, Any] = {}
    if written is not None:
        spec = confirmed(path, written, given)
    else:
        spec, assumed = _inferred(path, net, given)
    return sorted_out(path, net, spec, assumed, neutral_of, reason_to_drop, LAYOUT)


def _inferred(path: Path, net: Net, hints: Mapping[str, Any]) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec that shapes and hints say; a question for more tells what is known of the names."""
    try:
        return inferred(path, {name: array.shape for name, array in net.tensors.items()}, hints)
    except Undetermined as question:
        question.used = {
            net.prefix + name: neutral_of(name)
            for name in net.tensors
            if reason_to_drop(name) is None
        }
        raise


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
        place, block = f"network.{level}", spec.block(level)
        reach = (block.kernel_size - 1) * block.dilation
        for conv, inside in (("conv1", block.in_channels), ("conv2", block.channels)):
            kernel = named[f"{place}.{conv}.weight"]
            fillers[f"{place}.{conv}.padder.buffer"] = np.zeros((1, reach, inside), kernel.dtype)
            if isinstance(spec.norm, WeightNormSpec):
                fillers[f"{place}.{conv}.weight_v"] = kernel
                fillers[f"{place}.{conv}.weight_g"] = _norm_over_out(kernel)
        if spec.embeddings and spec.embedding_mode == "add":
            shape = (block.inner, 1, 2 * block.inner)
            dtype = named[f"{place}.embedding_projection1.weight"].dtype
            fillers[f"{place}.embedding_projection2.weight"] = np.zeros(shape, dtype)
            fillers[f"{place}.embedding_projection2.bias"] = np.zeros(shape[:1], dtype)
    return fillers


def _norm_over_out(kernel: Array) -> Array:
    """Norm of a kernel (out, K, in) over `out`, which is the axis that mlx-tcn takes."""
    squares: Array = np.sum(np.square(kernel, dtype=np.float64), axis=0, keepdims=True)
    return np.sqrt(squares).astype(kernel.dtype)
