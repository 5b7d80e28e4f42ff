"""A whole model as a graph, with its inputs, outputs, state and what the file says of itself."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import config_document
from tcnzoo.errors import SpecError, WeightError
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import EmbeddingSpec, Spec

from .block import BlockWriter, write
from .builder import IR_VERSION, OPSET, Axis, Graph, Node, Port, Value

# What the file's metadata says under `format`.
FORMAT = "tcnzoo-onnx"
# A protobuf message is smaller than this.
LARGEST = 2**31 - 2**20


def build(spec: Spec, weights: Weights, options: ExportOptions) -> Graph:
    """Write a model's nodes.

    Args:
        spec, weights: without weight norm.
        options: as in `export`.
    Raises:
        SpecError: a block that cannot be written in this form.
        WeightError: a weight that the float type does not hold.
    """
    if options.rank == 4 and spec.embedding_specs:
        raise SpecError("a model that takes embeddings cannot be written with rank 4; leave it out")
    dtype = np.dtype(np.float16 if options.precision == "float16" else np.float32)
    _check_range(weights, dtype)
    graph = Graph(dtype, options.rank)
    batch: Axis = "batch" if options.dynamic else options.batch_size
    x = _input(graph, "x", options.channels, batch, _time(options), options.devices)
    embeddings = _beside(graph, spec, options, batch)
    table = spec.state() if options.streaming else {}
    for name, item in table.items():
        axes = () if item.integer else (batch, *item.shape)
        graph.input(f"state.{name}", axes, item.dtype(dtype.name))
    block = BlockWriter(graph, spec, "", weights, options.streaming, {}, embeddings)
    y = write(block, x)
    if isinstance(y, dict):
        outputs = {f"y.{name}": value for name, value in y.items()}
    else:
        outputs = {"y": y} if isinstance(y, Value) else {"output": y[0], "out": y[1]}
        if options.streaming:
            outputs = {"y": y if isinstance(y, Value) else y[0]}
    for name, value in outputs.items():
        graph.output(value.name, name, _axes(graph, value, batch))
    for name, item in table.items():
        axes = () if item.integer else (batch, *item.shape)
        graph.output(block.after[name], f"next.{name}", axes, item.dtype(dtype.name))
    return graph


def _check_range(weights: Weights, dtype: np.dtype[Any]) -> None:
    """Raise WeightError for a finite weight that becomes infinite."""
    for name, array in weights.items():
        finite = array[np.isfinite(array)]
        if np.abs(finite).max(initial=0.0) > np.finfo(dtype).max:
            raise WeightError(f"tensor {name!r} holds values that {dtype} does not; use float32")


def _time(options: ExportOptions, wanted: bool = True) -> Axis | None:
    """The time axis of an input; None for a vector."""
    if options.input_length is None or not wanted:
        return None
    return "time" if options.dynamic else options.input_length


def _input(
    graph: Graph,
    name: str,
    channels: int,
    batch: Axis,
    time: Axis | None,
    devices: int | None = None,
) -> Value:
    """An input: a signal, maybe of several devices, or a vector where `time` is None."""
    if devices is not None and time is not None:
        graph.input(name, (batch, channels, devices, time))
        return Value(name, (channels, devices, time if isinstance(time, int) else None))
    if time is None:
        graph.input(name, (batch, channels))
        return Value(name, (channels,))
    graph.input(name, (batch, channels, *([1] if graph.rank == 4 else []), time))
    return Value(name, (channels, time if isinstance(time, int) else None))


def _beside_names(spec: Spec) -> list[str]:
    """`embedding.0`, ... and `mask.NAME`, in the order of the model."""
    names, count = [], 0
    for side in spec.embedding_specs:
        if isinstance(side, EmbeddingSpec):
            names.append(f"embedding.{count}")
            count += 1
        else:
            names.append(f"mask.{side.name}")
    return names


def _beside(graph: Graph, spec: Spec, options: ExportOptions, batch: Axis) -> tuple[Value, ...]:
    """Inputs for the embeddings and masks of a model, in its order.

    A mask of a graph of open shape has as many tokens as reach its layer.
    """
    values = []
    wanted = spec.embedding_specs
    shapes = spec.embedding_shapes(options.shape[1:]) if wanted else []
    for side, shape, name in zip(wanted, shapes, _beside_names(spec), strict=True):
        if isinstance(side, EmbeddingSpec):
            time = _time(options, side.per_step)
            values.append(_input(graph, name, side.channels, batch, time))
            continue
        axes: list[Axis] = [*shape]
        if options.dynamic:
            axes = ["time" if shape[0] == options.input_length else f"{name}.tokens"] * len(shape)
        graph.input(name, (batch, *axes))
        values.append(Value(name, shape))
    return tuple(values)


def _axes(graph: Graph, value: Value, batch: Axis) -> tuple[Axis, ...]:
    """Axes of an output."""
    if not value.is_signal:
        return batch, value.channels
    time = "steps" if value.time is None else value.time
    if value.has_devices:
        return batch, value.channels, value.devices, time
    return (batch, value.channels, *([1] if graph.rank == 4 else []), time)


def metadata(spec: Spec, options: ExportOptions) -> dict[str, str]:
    """What the file says of itself: the spec, and how a stream of it starts.

    Entry `devices` is there where the output has an axis of devices before time.

    Entry `state` holds, for each input `state.NAME` of a streaming graph, the number that it is
    filled with before the first chunk.
    """
    mark = f"{FORMAT}-int8" if options.precision == "int8" else FORMAT
    said = {"format": mark, "config": json.dumps(config_document(spec))}
    if len(spec.output_shape(options.shape[1:])) == 3:
        said["devices"] = "y"
    if options.streaming:
        starts = {f"state.{name}": item.start for name, item in spec.state().items()}
        said["state"] = json.dumps(starts)
    return said


def to_proto(graph: Graph, said: Mapping[str, str]) -> Any:
    """The graph as an onnx.ModelProto, checked.

    Raises:
        SpecError: more weights than one file can hold.
    """
    import onnx
    from onnx import helper

    size = sum(array.nbytes for array in graph.initializers.values())
    if size > LARGEST:
        raise SpecError(f"an .onnx file holds less than 2 GiB, but the weights take {size:,} bytes")
    made = _graph(graph, "tcnzoo")
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        made, producer_name="tcnzoo", opset_imports=opsets, ir_version=IR_VERSION
    )
    helper.set_model_props(model, dict(said))
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _graph(graph: Graph, name: str) -> Any:
    """An onnx.GraphProto."""
    from onnx import helper, numpy_helper

    return helper.make_graph(
        [_node(node) for node in graph.nodes],
        name,
        [_port(port) for port in graph.inputs],
        [_port(port) for port in graph.outputs],
        [
            numpy_helper.from_array(np.asarray(array, order="C"), name)
            for name, array in graph.initializers.items()
        ],
    )


def _node(node: Node) -> Any:
    """An onnx.NodeProto."""
    from onnx import helper

    attributes = {name: _attribute(node, name, value) for name, value in node.attributes.items()}
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)


def _attribute(node: Node, name: str, value: Any) -> Any:
    """An attribute as onnx takes it: types by number, the graph of a loop as a message."""
    from onnx import helper

    if isinstance(value, Graph):
        return _graph(value, f"{node.name}.{name}")
    return helper.np_dtype_to_tensor_dtype(np.dtype(value)) if name == "to" else value


def _port(port: Port) -> Any:
    """An onnx.ValueInfoProto."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(port.dtype)
    return helper.make_tensor_value_info(port.name, kind, list(port.axes))
