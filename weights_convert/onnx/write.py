"""How an ONNX file is written: by the exporter."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.checkpoints.directory import replacing
from tcnzoo.files.lazy import Tensors, facts_of
from tcnzoo.runtimes.protocol import ExportOptions, get_exporter
from tcnzoo.specs import Spec

from ..containers.onnx import check_installed
from .detect import NAME

# Channels of the input where a model takes any number; a gated linear unit wants it even.
SOME_CHANNELS = 2


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a graph with the exporter; any model, with batch and time left open where they can be.

    Weights that are float16 throughout make a float16 graph; all others one in float32.

    Returns:
        the tensors that the file does not hold as they are.
    Raises:
        BackendMissing: onnx is not installed.
        SpecError: a model that the exporter does not write.
    """
    check_installed()
    types = {str(facts.dtype) for facts in facts_of(weights).values()}
    precision = "float16" if types == {"float16"} else "float32"
    options = ExportOptions(
        channels=spec.input_channels or SOME_CHANNELS,
        input_length=spec.min_length(),
        precision=precision,  # type: ignore[arg-type] # one of two
        devices=(spec.input_devices or 2) if spec.signal_rank == 4 else None,
    )
    given = {name: array.astype(np.float32) for name, array in weights.items()}
    with replacing(path) as temporary:
        get_exporter(NAME).export(spec, given, temporary, options)
    return {
        name: reason
        for name, facts in facts_of(weights).items()
        if (reason := _loss(name, str(facts.dtype), precision)) is not None
    }


def _loss(name: str, dtype: str, precision: str) -> str | None:
    """Why a file does not hold a tensor as it was."""
    if name.rpartition(".")[2] in ("weight_g", "weight_v"):
        return "folded into the kernel: an inference graph has no weight norm"
    return None if dtype == precision else f"written as {precision} instead of {dtype}"
