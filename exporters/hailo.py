"""Whether Hailo's compiler takes an ONNX file, operator by operator.

The vendor's table of layers needs a login, so the lists are what is publicly known: the operators
that a third party's test compiled with Dataflow Compiler 3.32 for Hailo-8, and those that public
error logs of 3.2x to 3.33 refuse. Support differs between versions and patterns; a file without a
violation is one with nothing known against it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcnzoo.errors import BackendMissing, InputError
from tcnzoo.runtimes.protocol import Violation

ALLOWED = frozenset([
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv",
    "ConvTranspose", "Div", "Dropout", "Elu", "Flatten", "Gemm", "GlobalAveragePool", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "MatMul", "MaxPool",
    "Mul", "PRelu", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Softmax", "Split", "Squeeze",
    "Sub", "Tanh", "Transpose", "Unsqueeze",
])  # fmt: skip

# Those that work on signals, which the compiler takes as (1, channels, height, width) only.
SPATIAL = frozenset(["AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool"])

ON_THE_HOST = "end the graph before it and run the rest on the host"
WITH_RANK_4 = "export with --rank 4"
REFUSED = {
    "ArgMax": f"nothing is known of its support; {ON_THE_HOST}",
    "ArgMin": f"nothing is known of its support; {ON_THE_HOST}",
    "Erf": "GELU written with Erf is refused by some versions; use relu, silu or gelu_tanh",
    "Expand": f"refused as an unexpected node; {WITH_RANK_4}",
    "Gather": f"refused; {WITH_RANK_4}, or {ON_THE_HOST}",
    "GatherElements": f"refused; {ON_THE_HOST}",
    "LSTM": f"refused with some activations; {ON_THE_HOST}",
    "Mod": f"refused; {ON_THE_HOST}",
    "OneHot": f"nothing is known of its support; {ON_THE_HOST}",
    "ReduceMean": "refused before a dense layer; use GlobalAveragePool (pool: global_average)",
    "Shape": f"computes with shapes that must be fixed; {WITH_RANK_4}",
    "TopK": f"refused; {ON_THE_HOST}",
    "Where": f"refused as an unexpected node; {WITH_RANK_4}",
}  # fmt: skip


def check(path: Path) -> tuple[Violation, ...]:
    """List the inputs and nodes of an ONNX file that are outside of what is known to compile.

    Raises:
        InputError: no ONNX file.
        BackendMissing: onnx is not installed.
    """
    graph = _read(path).graph
    ranks = _ranks(graph)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in weights]
    violations = [violation for port in inputs for violation in _input_violations(port)]
    for node in graph.node:
        advice = _advice(node, ranks)
        if advice is not None:
            violations.append(Violation(node.name or node.output[0], node.op_type, advice))
    return tuple(violations)


def _read(path: Path) -> Any:
    """The model of a file, with the shapes of its values as far as they are known."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise BackendMissing(
            "the check needs onnx, which is not installed; run: pip install 'tcnzoo[onnx]'"
        ) from None
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    try:
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError):
        raise InputError(f"{str(path)!r} is not a valid ONNX file") from None


def _ranks(graph: Any) -> dict[str, int]:
    """Axes of each value, where that is known."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    return ranks


def _input_violations(port: Any) -> Iterator[Violation]:
    """What is the matter with an input."""
    sizes = [axis.dim_value or None for axis in port.type.tensor_type.shape.dim]
    text = " x ".join(str(size or "?") for size in sizes)
    if None in sizes:
        advice = f"has the open shape {text}, but shapes must be fixed; {WITH_RANK_4}"
    elif sizes and sizes[0] != 1:
        advice = f"has the shape {text}, but the batch must be 1; {WITH_RANK_4}"
    elif len(sizes) == 3:
        advice = f"has the shape {text}, but signals must have four axes; {WITH_RANK_4}"
    else:
        return
    yield Violation(port.name, "input", advice)


def _advice(node: Any, ranks: dict[str, int]) -> str | None:
    """What is the matter with a node, or None."""
    if node.domain not in ("", "ai.onnx"):
        return f"is of the domain {node.domain!r}, of which nothing is known; {ON_THE_HOST}"
    if node.op_type in REFUSED:
        return REFUSED[node.op_type]
    if node.op_type not in ALLOWED:
        return f"is not known to compile; {ON_THE_HOST}"
    if node.op_type in SPATIAL and ranks.get(node.input[0], 4) != 4:
        return f"works along one axis, which is refused or not finished; {WITH_RANK_4}"
    modes = [attribute.s.decode() for attribute in node.attribute if attribute.name == "mode"]
    if node.op_type == "Pad" and modes not in ([], ["constant"]):
        return f"pads in mode {modes[0]!r}, but only zeros are known to compile; pad with zeros"
    return None
