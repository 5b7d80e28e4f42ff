"""ExecuTorch: a .pte program of one shape for phones and embedded devices, with XNNPACK.

Inputs are (batch, channels, time), or (batch, channels) for vectors, float32, then the embeddings.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import WeightError
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import Spec

from .calm import calm, converting
from .rewrites import rewritten
from .traced import labelled, program

NAME = "executorch"
DESCRIPTION = "ExecuTorch program, computed by XNNPACK as far as that goes"
SUFFIX = ".pte"
PRECISIONS = ("float32", "float16")
NEEDS = {"torch": "tcnzoo[torch]", "executorch": "tcnzoo[executorch]"}
METHOD = "forward"

# What `command` runs; embeddings follow x.npy.
CODE = """\
import sys, numpy as np, torch
from executorch.runtime import Runtime
method = Runtime.get().load_program(PATH).load_method("METHOD")
print(method.execute([torch.from_numpy(np.load(name).astype("float32")) for name in sys.argv[1:]]))
"""


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Lower a model to a program.

    Raises:
        SpecError: ExecuTorch has no form of the model.
    """
    with converting("ExecuTorch", spec):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        exported, note = program(spec, weights, options, options.precision)
        lowered = to_edge_transform_and_lower(
            rewritten(exported, executorch=True), partitioner=[XnnpackPartitioner()]
        )
        path.write_bytes(lowered.to_executorch().buffer)
    kept = ("XNNPACK keeps the kernels of convolutions in float32",)
    return (note, *(kept if options.precision == "float16" else ()))


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Run a program with ExecuTorch's Python runtime.

    Raises:
        WeightError: a program without the method that `export` writes.
    """
    with calm():
        import torch
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method(METHOD)
        if method is None:
            raise WeightError(f"{str(path)!r} has no method {METHOD!r}")
        outputs = method.execute([torch.from_numpy(array.copy()) for array in (x, *embeddings)])
        # They lie in the method's own memory.
        return labelled([array.clone() for array in outputs])


def command(path: Path, options: ExportOptions) -> str:
    """Python with torch and executorch alone that prints the outputs."""
    code = CODE.replace("PATH", json.dumps(str(path))).replace("METHOD", METHOD).strip()
    return f"python -c {shlex.quote(code)} x.npy"
