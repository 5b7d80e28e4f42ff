"""ONNX graphs built by hand for the tests, as exporters write them, and run with onnxruntime."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import tcnzoo
from tcnzoo.formats.protocol import convert, get_format
from tests.support.compare import assert_close

IR_VERSION = 10
TYPES = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("f2"): TensorProto.FLOAT16}


def values(*shape, seed=0, low=-0.8, high=0.8):
    """Seeded float32 values, none of them zero or one."""
    drawn = np.random.default_rng([seed, *shape]).uniform(low, high, shape)
    return np.asarray(drawn, np.float32)


class Graph:
    """A graph in the making.

    `shape` is that of the input "x", with a name for each axis that is left open.
    """

    def __init__(self, *shape, opset=17, dtype="f4"):
        self.shape, self.opset, self.dtype = shape, opset, np.dtype(dtype)
        self.nodes, self.initializers, self.metadata = [], [], {}
        self.count = 0

    def constant(self, array, name=None, dtype=None):
        """An initializer: weights are float32, lists of whole numbers int64."""
        array = np.asarray(array)
        whole = array.dtype.kind == "i" or array.size == 0
        array = array.astype(dtype or (np.int64 if whole else self.dtype))
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, *inputs, outputs=1, **attributes):
        """A node; arrays among its inputs become initializers. Names of its outputs."""
        read = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        self.count += 1
        made = [f"v{self.count}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, read, made, f"n{self.count}", **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x, outside, inside, *kernel, bias=True, seed=1, **attributes):
        """A convolution with weights of its own."""
        given = [values(outside, inside, *kernel, seed=seed)]
        given += [values(outside, seed=seed + 1)] if bias else []
        return self.node("Conv", x, *given, kernel_shape=kernel, **attributes)

    def model(self, *outputs):
        """The onnx.ModelProto."""
        kind = TYPES[self.dtype]
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", kind, list(self.shape))],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            self.initializers,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION
        )
        helper.set_model_props(model, self.metadata)
        return model

    def save(self, path, *outputs):
        """Write the model; return the path."""
        path.write_bytes(self.model(*outputs).SerializeToString())
        return path


def session(path):
    """onnxruntime's session for a file, which computes what the file says and nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, x, output=None):
    """What onnxruntime gives for an input."""
    made = session(path)
    return made.run(None if output is None else [output], {made.get_inputs()[0].name: x})[0]


def neutral(array, axes):
    """An array whose axes are named as by N, C, T and 1 as (batch, channels[, time])."""
    array = np.asarray(array)
    order = [axes.index(role) for role in "NCT" if role in axes]
    rest = [place for place, role in enumerate(axes) if role == "1"]
    return array.transpose(order + rest).reshape([array.shape[place] for place in order])


def check(path, x, folder, axes="NCT", out=None):
    """Read a file, hold the reference's outputs against onnxruntime's, and return the spec."""
    report = convert(path, folder / "ours", overwrite=True)
    assert report.from_format == "onnx"
    names = set(get_format("onnx").tensors(path))
    assert report.used.keys() | report.dropped.keys() == names
    y = tcnzoo.predict(tcnzoo.load(folder / "ours", "numpy"), neutral(x, axes))
    assert_close(y, neutral(run(path, x), out or axes))
    return report.spec


def given(shape, length):
    """Values for an input whose open axes are `n` and `t`."""
    sizes = {"n": 2, "t": length}
    return values(*(sizes.get(one, one) for one in shape), seed=9, low=-2.0, high=2.0)
