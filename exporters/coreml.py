"""Core ML: an .mlpackage of one shape for Apple's devices, converted anywhere, run on macOS.

Inputs are `x` (batch, channels, time), or (batch, channels) for vectors, and `embedding_0`, ...;
the output is `output` (of a temporal block alone also `out`); all are float32.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import Spec

from .calm import calm, converting
from .rewrites import rewritten
from .traced import OUTPUTS, program

NAME = "coreml"
DESCRIPTION = "Core ML package (ML program) for Apple's devices"
SUFFIX = ".mlpackage"
PRECISIONS = ("float32", "float16")
NEEDS = {"torch": "tcnzoo[torch]", "coremltools": "tcnzoo[coreml]"}

# What coremltools adds for another project; no part of a package.
SURPLUS = "executorch_debug_handle_mapping.json"

# What `command` runs.
CODE = """\
import coremltools, numpy as np
model = coremltools.models.MLModel(PATH)
names = [one.name for one in model.get_spec().description.input]
print(model.predict({name: np.load(name + ".npy").astype("float32") for name in names}))
"""


def can_run() -> str | None:
    """Why packages cannot be run on this machine."""
    return None if sys.platform == "darwin" else "Core ML predicts on macOS only"


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Convert a model to an ML program for iOS 16, macOS 13 and later.

    Raises:
        SpecError: coremltools has no form of the model.
    """
    with converting("coremltools", spec):
        import coremltools

        exported, note = program(spec, weights, options)
        outputs = OUTPUTS[: len(exported.graph_signature.user_outputs)]
        coremltools.convert(
            rewritten(exported),
            outputs=[coremltools.TensorType(name=name, dtype=np.float32) for name in outputs],
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=getattr(coremltools.precision, options.precision.upper()),
            skip_model_load=True,
            package_dir=str(path),
        )
    (path / SURPLUS).unlink(missing_ok=True)
    return (note,)


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Predict with Core ML; on macOS only."""
    with calm():
        import coremltools

        model = coremltools.models.MLModel(str(path))
    extra = {f"embedding_{number}": embedding for number, embedding in enumerate(embeddings)}
    outputs = model.predict({"x": x, **extra})
    result = {name: np.asarray(outputs[name]) for name in OUTPUTS if name in outputs}
    return result if len(result) > 1 else result["output"]


def command(path: Path, options: ExportOptions) -> str:
    """Python with coremltools alone; an input is a .npy file of the input's name."""
    return f"python -c {shlex.quote(CODE.replace('PATH', json.dumps(str(path))).strip())}"
