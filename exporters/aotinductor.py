"""AOTInductor: a model compiled to machine code for CPUs, packed as .pt2, run by torch.

Inputs are (batch, channels, time), or (batch, channels) for vectors, float32, then the embeddings.
"""

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import BackendMissing
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import Spec

from .calm import calm, converting
from .rewrites import rewritten
from .traced import labelled, program

NAME = "aotinductor"
DESCRIPTION = "AOTInductor package: machine code for this kind of CPU, run by torch"
SUFFIX = ".pt2"
PRECISIONS = ("float32", "float16")
NEEDS = {"torch": "tcnzoo[torch]"}
DYNAMIC = True

# What `command` runs; embeddings follow x.npy.
CODE = """\
import sys, numpy as np, torch, torch._inductor
run = torch._inductor.aoti_load_package(PATH)
print(run(*[torch.from_numpy(np.load(name).astype("float32")) for name in sys.argv[1:]]))
"""


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Compile a model.

    Raises:
        BackendMissing: there is no C++ compiler.
        SpecError: torch cannot compile the model.
    """
    _check_compiler()
    with converting("AOTInductor", spec):
        import torch
        from torch._inductor import aoti_compile_and_package

        exported, note = program(spec, weights, options, options.precision)
        aoti_compile_and_package(rewritten(exported), package_path=str(path))
    version = torch.__version__.partition("+")[0]
    return note, f"runs on CPUs that have this one's instructions, with torch {version}"


def _check_compiler() -> None:
    """Raise BackendMissing unless a C++ compiler can be found."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        raise BackendMissing(
            f"export to {NAME!r} needs a C++ compiler, but there is no {' or '.join(names)}; "
            "install one, or name it in CXX"
        )


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Run a package with torch."""
    with calm():
        import torch
        from torch._inductor import aoti_load_package

        with torch.inference_mode():
            model = aoti_load_package(str(path))
            y = model(*(torch.from_numpy(array.copy()) for array in (x, *embeddings)))
    return labelled(y if isinstance(y, tuple) else [y])


def command(path: Path, options: ExportOptions) -> str:
    """Python with torch alone that prints the output."""
    code = CODE.replace("PATH", json.dumps(str(path))).strip()
    return f"python -c {shlex.quote(code)} x.npy"
