"""ONNX files, offline and streaming, run with onnxruntime.

Inputs are `x` (batch, channels, time), or (batch, channels) for vectors, `embedding.0`, ..., and
`mask.NAME` (batch, tokens[, tokens]) of zeros and ones, in the order of the model;
the output is `y` (of a temporal block alone: `output` and `out`; of heads `y.TASK`, ...). With rank
4 signals are (1, channels, 1, time).

A streaming graph takes chunks of at least one step, and has an input `state.NAME` and an output
`next.NAME` for each entry of the model's state; sums are float32 also in a float16 file. Before the
first chunk each of these is filled with the number that the metadata entry `state` gives: 0, but
for the counters `skip` of windows without padding, which start with the steps that the first window
still needs.

Initializers have the neutral names and layout (rank 4 adds an axis of size 1 to kernels); the
metadata entry `config` is the spec, in the form of config.json.
"""

import json
import shlex
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import Spec
from tcnzoo.specs.families import FAMILIES
from tcnzoo.specs.folding import fold

from . import pointwise as pointwise
from .model import build, metadata, to_proto
from .quantize import quantized
from .runtime import run as run_file

NAME = "onnx"
DESCRIPTION = "ONNX graph, offline or one step of a stream"
SUFFIX = ".onnx"
PRECISIONS = ("float32", "float16", "int8")
NEEDS = {"onnx": "tcnzoo[onnx]", "onnxruntime": "tcnzoo[onnx]"}
DYNAMIC = True
STREAMING = True
RANKS = (3, 4)

# Families register their kinds by being imported. Of one without a file here, the pointwise kinds
# are written by `pointwise`, and any other is refused by its name when a model has it.
for _family in FAMILIES:
    if find_spec(f"{__name__}.{_family}") is not None:
        import_module(f"{__name__}.{_family}")

# What `command` runs, one input at a time or all of a stream in chunks of 16 steps.
OFFLINE = """\
import numpy as np, onnxruntime as ort
s = ort.InferenceSession(PATH)
x = {i.name: np.load(i.name + ".npy").astype("DTYPE")SHAPE for i in s.get_inputs()}
print(s.run(None, x)[0])
"""
STREAM = """\
import json, numpy as np, onnxruntime as ort
s = ort.InferenceSession(PATH)
starts = json.loads(s.get_modelmeta().custom_metadata_map["state"])
x, state = {}, {}
for i in s.get_inputs():
    if i.name not in starts:
        x[i.name] = np.load(i.name + ".npy").astype("DTYPE")
    else:
        shape = [len(x["x"]), *i.shape[1:]] if i.shape else []
        kind = i.type[len("tensor(") : -1]
        dtype = "float32" if kind == "float" else kind
        state[i.name] = np.full(shape, starts[i.name], dtype)
for t in range(0, x["x"].shape[2], 16):
    cut = [k for k, v in x.items() if v.ndim == 3 or k.startswith("mask.")]
    chunk = {k: v[..., t : t + 16] if k in cut else v for k, v in x.items()}
    y, *after = s.run(None, {**chunk, **state})
    state = dict(zip(state, after))
    print(y)
"""


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Write a model; weight norm is folded into the kernels."""
    _check(spec, options)
    spec, weights = fold(spec, weights, batch_norm=False)
    model = to_proto(build(spec, weights, options), metadata(spec, options))
    if options.representative is not None and options.precision == "int8":
        model = quantized(model, options.representative, options)
    path.write_bytes(model.SerializeToString())
    return ()


def _check(spec: Spec, options: ExportOptions) -> None:
    """Raise InputError for options that do not go together."""
    if options.rank == 4 and (options.streaming or options.dynamic or options.batch_size != 1):
        raise InputError("rank 4 is written offline, for one shape and batch size 1 only")
    if options.precision == "int8" and spec.output_names:
        raise InputError("int8 is written for models of one output only")
    if options.precision == "int8" and (options.streaming or spec.embedding_specs):
        raise InputError("int8 is written offline, and for models without embeddings only")


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Run a file with onnxruntime on the CPU."""
    return run_file(path, x, embeddings, options.streaming)


def command(path: Path, options: ExportOptions) -> str:
    """Python with numpy and onnxruntime alone; an input is a .npy file of the input's name."""
    dtype = "float16" if options.precision == "float16" else "float32"
    code = STREAM if options.streaming else OFFLINE
    shape = ".reshape(i.shape)" if options.rank == 4 else ""
    filled = code.replace("PATH", json.dumps(str(path))).replace("DTYPE", dtype)
    return f"python -c {shlex.quote(filled.replace('SHAPE', shape).strip())}"
