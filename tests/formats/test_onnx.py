"""Graphs of other projects, built by hand as they write them, against onnxruntime's outputs."""

import itertools

import numpy as np
import pytest

import tcnzoo
from tcnzoo.formats.protocol import convert, get_format
from tests.support.compare import assert_close

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.support.onnx_graphs import Graph, check, given, neutral, run, values  # noqa: E402

CASES = {}


def case(*shape, axes="NCT", out=None, length=12, opset=17, kinds=None, **fields):
    """Register a function that builds a graph on an input of some axes.

    `kinds` are those of the layers that must be read, in order; `fields` are dotted fields of them.
    """

    def register(function):
        CASES[function.__name__] = function, shape, axes, out or axes, length, opset, kinds, fields
        return function

    return register


# Convolutions -------------------------------------------------------------------------------------

PADS = {
    "causal": ({"pads": [4, 0], "dilations": [2]}, 3, "causal"),
    "same": ({"pads": [2, 2], "dilations": [2]}, 3, "same"),
    "same_even": ({"pads": [1, 2]}, 4, "same"),
    "valid": ({"dilations": [3]}, 3, "valid"),
    "other": ({"pads": [2, 1]}, 4, "valid"),
    "auto_valid": ({"auto_pad": "VALID"}, 3, "valid"),
    "auto_upper": ({"auto_pad": "SAME_UPPER"}, 4, "same"),
    "auto_upper_strided": ({"auto_pad": "SAME_UPPER", "strides": [2]}, 3, "same_upper"),
    "auto_lower": ({"auto_pad": "SAME_LOWER"}, 4, "valid"),
    "auto_lower_odd": ({"auto_pad": "SAME_LOWER"}, 3, "same"),
    "strided": ({"pads": [1, 1], "strides": [2]}, 3, "same"),
    "strided_other": ({"pads": [0, 1], "strides": [2]}, 3, "valid"),
}


@pytest.mark.parametrize("length", [12, 13])
@pytest.mark.parametrize("name", PADS)
def test_padding_of_a_convolution(name, length, tmp_path):
    attributes, size, padding = PADS[name]
    graph = Graph("n", 3, "t")
    path = graph.save(tmp_path / "a.onnx", graph.conv("x", 5, 3, size, **attributes))
    spec = check(path, values(2, 3, length), tmp_path)
    layers = list(spec.layers.values())
    assert layers[-1].padding == padding
    assert [layer.kind for layer in layers] == ["pad", "conv1d"][len(layers) == 1 :]


@pytest.mark.parametrize("length, pads", [(12, [0, 1]), (13, [1, 1]), (14, [0, 1])])
def test_pads_of_a_graph_of_one_length(length, pads, tmp_path):
    graph = Graph(1, 3, length)
    path = graph.save(tmp_path / "a.onnx", graph.conv("x", 5, 3, 3, strides=[2], pads=pads))
    spec = check(path, values(1, 3, length), tmp_path)
    assert spec.layers["conv1"].padding == ("same_upper" if pads == [0, 1] else "same")


@case("n", 4, "t", kinds="conv1d", groups=2, kernel_size=1)
def pointwise_in_groups(g):
    return g.conv("x", 6, 2, 1, group=2, bias=False)


@case("n", 3, "t", kinds="conv1d", padding="causal")
def chomp(g):
    y = g.conv("x", 5, 3, 3, pads=[4, 4], dilations=[2])
    return g.node("Slice", y, [0], [-4], [2])


@case("n", 3, "t", kinds="conv1d activation conv1d pad")
def a_cut_that_is_no_chomp(g):
    y = g.node("Relu", g.conv("x", 5, 3, 3, pads=[1, 1]))
    return g.node("Slice", g.conv(y, 5, 5, 3, strides=[2]), [1], [-1], [-1], [1])


@case("n", 3, "t", kinds="conv1d", padding="causal", padding_mode="zeros")
def zeros_before(g):
    return g.conv(g.node("Pad", "x", [0, 0, 4, 0, 0, 0]), 5, 3, 3, dilations=[2])


@case("n", 3, "t", kinds="conv1d", padding="same", padding_mode="reflect")
def reflected(g):
    return g.conv(g.node("Pad", "x", [0, 0, 2, 0, 0, 2], mode="reflect"), 5, 3, 5)


@case("n", 3, "t", kinds="conv1d", padding="causal", padding_mode="replicate")
def replicated(g):
    return g.conv(g.node("Pad", "x", [0, 0, 4, 0, 0, 0], mode="edge"), 5, 3, 5)


@case("n", 3, "t", kinds="conv1d", opset=19, padding="same", padding_mode="circular")
def wrapped(g):
    return g.conv(g.node("Pad", "x", [1, 2], "", [2], mode="wrap"), 5, 3, 4)


@case("n", 3, "t", kinds="conv1d", padding="same", padding_mode="circular")
def circle_of_slices(g):
    ends = [g.node("Slice", "x", [-2], [2**62], [2]), "x", g.node("Slice", "x", [0], [2], [2])]
    return g.conv(g.node("Concat", *ends, axis=2), 5, 3, 5)


@case("n", 3, "t", kinds="pad conv1d", padding_mode="zeros")
def reflected_by_some_other_number(g):
    return g.conv(g.node("Pad", "x", [0, 0, 3, 0, 0, 1], mode="reflect"), 5, 3, 3)


@case("n", 3, "t", opset=9, kinds="pad activation")
def pads_as_attribute(g):
    return g.node("Tanh", g.node("Pad", "x", pads=[0, 0, 2, 0, 0, -3], mode="constant"))


# Two axes of space, one of them of size 1 ---------------------------------------------------------


@case("n", 3, 1, "t", axes="NC1T", out="NC", kinds="conv1d batch_norm activation pool", stride=2)
def row_of_two_dimensions(g):
    y = g.conv("x", 5, 3, 1, 3, strides=[1, 2], pads=[0, 1, 0, 1])
    scale = [values(5, seed=place, low=0.3) for place in range(4)]
    y = g.node("Relu", g.node("BatchNormalization", y, *scale, epsilon=1e-3))
    return g.node("Flatten", g.node("GlobalAveragePool", y))


@case("n", 3, "t", 1, axes="NCT1", kinds="conv1d window_pool", padding="causal", size=2)
def column_of_two_dimensions(g):
    y = g.conv("x", 5, 3, 3, 1, pads=[2, 0, 0, 0])
    return g.node("MaxPool", y, kernel_shape=[2, 1], strides=[2, 1])


@case("n", 3, 1, "t", axes="NC1T", kinds="conv1d", kernel_size=5, padding="same")
def square_kernel_on_a_row(g):
    return g.conv("x", 5, 3, 3, 5, pads=[1, 2, 1, 2])


@case("n", 1, 3, "t", axes="N1CT", out="NC1T", kinds="conv1d conv1d", in_channels=3)
def kernel_over_all_channels(g):
    return g.conv(g.conv("x", 5, 1, 3, 4), 2, 5, 1, 3, seed=5)


@case("n", 1, "t", 3, axes="N1TC", out="NCT1", kinds="conv1d", in_channels=3)
def kernel_over_all_channels_turned(g):
    return g.conv("x", 5, 1, 4, 3, pads=[3, 0, 0, 0])


@case("n", 3, "t", kinds="conv1d activation conv1d")
def row_put_in_and_out(g):
    y = g.node("Relu", g.conv(g.node("Unsqueeze", "x", [2]), 5, 3, 1, 3))
    return g.conv(g.node("Squeeze", y, [2]), 4, 5, 2, seed=7)


@case("n", "t", axes="NT", kinds="conv1d", in_channels=1, out="NCT")
def signal_without_channels(g):
    return g.conv(g.node("Unsqueeze", "x", [1]), 5, 1, 3)


# Transposed ---------------------------------------------------------------------------------------

CROPS = {
    "valid": ({"strides": [2]}, 4, ["conv_transpose1d"], "valid"),
    "same": ({"strides": [2], "pads": [1, 1]}, 4, ["conv_transpose1d"], "same"),
    "causal": ({"strides": [2], "pads": [0, 2]}, 4, ["conv_transpose1d"], "causal"),
    "added": (
        {"strides": [2], "pads": [1, 1], "output_padding": [1]}, 3, ["conv_transpose1d", "pad"],
        "valid",
    ),
    "other": ({"strides": [2], "pads": [2, 0]}, 4, ["conv_transpose1d", "pad"], "valid"),
    "auto": ({"strides": [2], "auto_pad": "SAME_UPPER"}, 5, ["conv_transpose1d"], "same"),
    "dilated": ({"dilations": [2], "pads": [4, 0]}, 3, ["conv_transpose1d", "pad"], "valid"),
}  # fmt: skip


@pytest.mark.parametrize("name", CROPS)
def test_padding_of_a_transposed_convolution(name, tmp_path):
    attributes, size, kinds, padding = CROPS[name]
    graph = Graph("n", 3, "t")
    kernel, bias = values(3, 5, size), values(5)
    y = graph.node("ConvTranspose", "x", kernel, bias, kernel_shape=[size], **attributes)
    spec = check(graph.save(tmp_path / "a.onnx", y), values(2, 3, 9), tmp_path)
    assert [layer.kind for layer in spec.layers.values()] == kinds
    assert spec.layers["conv_transpose1"].padding == padding


@case("n", 3, "t", kinds="conv_transpose1d", padding="causal")
def transposed_and_chomped(g):
    y = g.node("ConvTranspose", "x", values(3, 5, 4), values(5), strides=[2])
    return g.node("Slice", y, [0], [-2], [2])


@case("n", 3, 1, "t", axes="NC1T", kinds="conv_transpose1d", padding="same")
def transposed_row(g):
    y = g.node("ConvTranspose", "x", values(3, 5, 1, 4), strides=[1, 2], pads=[0, 1, 0, 1])
    return g.node("Add", y, values(1, 5, 1, 1))


# Dense --------------------------------------------------------------------------------------------


@case("n", 6, axes="NC", kinds="dense activation dense")
def two_forms_of_gemm(g):
    y = g.node("Gemm", "x", values(5, 6), values(5), transB=1)
    return g.node("Gemm", g.node("Tanh", y), values(5, 4), values(1, 4), alpha=0.5, beta=2.0)


@case("n", "t", 3, axes="NTC", kinds="dense activation dense", bias=True)
def dense_at_every_step(g):
    y = g.node("Sigmoid", g.node("Add", values(5), g.node("MatMul", "x", values(3, 5))))
    return g.node("MatMul", y, values(5, 2))


@case("n", "t", 3, axes="NTC", kinds="dense")
def dense_on_rows(g):
    rows = g.node("Gemm", g.node("Reshape", "x", [-1, 3]), values(3, 5), values(5))
    steps = g.node("Gather", g.node("Shape", "x"), [0, 1])
    return g.node("Reshape", rows, g.node("Concat", steps, [5], axis=0))


@case("n", 3, "t", kinds="dense")
def matrix_from_the_left(g):
    return g.node("MatMul", values(5, 3), "x")


@case("n", 3, "t", kinds="pool conv1d activation conv1d", mode="adaptive_average")
def convolution_of_one_step(g):
    y = g.node("Relu", g.conv(g.node("GlobalAveragePool", "x"), 5, 3, 1))
    return g.conv(y, 2, 5, 1, seed=3)


@case("n", 3, 12, out="NC", kinds="conv1d flatten dense", order="channels", length=8)
def flatten(g):
    y = g.node("Flatten", g.conv("x", 5, 3, 5))
    return g.node("Gemm", y, values(40, 2), values(2))


FLATTENED = {
    "flatten": lambda g, y: g.node("Flatten", y),
    "keep": lambda g, y: g.node("Reshape", y, [0, -1]),
    "width": lambda g, y: g.node("Reshape", y, [-1, 40]),
    "shape": lambda g, y: g.node(
        "Reshape",
        y,
        g.node(
            "Concat",
            g.node("Unsqueeze", g.node("Gather", g.node("Shape", y), np.int64(0)), [0]),
            [-1],
            axis=0,
        ),
    ),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("form", FLATTENED)
def test_length_follows_from_the_dense_layer(form, last, tmp_path):
    graph = Graph("n", 3, "t")
    y = graph.conv("x", 5, 3, 5)
    y = graph.node("Transpose", y, perm=[0, 2, 1]) if last else y
    y = graph.node("Relu", FLATTENED[form](graph, y))
    y = graph.node("Add", graph.node("MatMul", y, values(40, 2)), values(2))
    spec = check(graph.save(tmp_path / "a.onnx", y), values(2, 3, 12), tmp_path, out="NC")
    assert spec.layers["flatten1"].length == 8
    assert spec.layers["flatten1"].order == ("time" if last else "channels")


@case("n", 3, 5, out="NC", kinds="conv1d flatten dense", length=5)
def single_step_squeezed(g):
    y = g.node("Squeeze", g.conv("x", 4, 3, 5), [2])
    return g.node("Gemm", y, values(4, 2))


@case("n", 3, 12, out="NC", kinds="conv1d flatten dense", length=12)
def single_channel_squeezed(g):
    y = g.node("Squeeze", g.conv("x", 1, 3, 1), [1])
    return g.node("Gemm", y, values(12, 2))


# Norms --------------------------------------------------------------------------------------------


def _deviation(g, x, eps, square):
    d = g.node("Sub", x, g.node("ReduceMean", x, axes=[-1]))
    v = g.node("ReduceMean", square(g, d), axes=[-1])
    return d, g.node("Sqrt", g.node("Add", v, np.float32(eps)))


def _turned(g, x):
    return g.node("Transpose", x, perm=[0, 2, 1])


@case("n", 5, "t", kinds="layer_norm", eps=1e-3)
def layer_norm(g):
    y = g.node("LayerNormalization", _turned(g, "x"), values(5), values(5, seed=1), epsilon=1e-3)
    return _turned(g, y)


@case("n", "t", 5, axes="NTC", kinds="layer_norm", eps=2e-3)
def layer_norm_in_steps(g):
    d, s = _deviation(g, "x", 2e-3, lambda g, d: g.node("Pow", d, np.float32(2)))
    y = g.node("Mul", g.node("Div", d, s), values(5))
    return g.node("Add", y, values(5, seed=1))


@case("n", "t", 5, axes="NTC", kinds="layer_norm activation")
def layer_norm_without_scale(g):
    d, s = _deviation(g, "x", 1e-5, lambda g, d: g.node("Mul", d, d))
    return g.node("Relu", g.node("Mul", g.node("Reciprocal", s), d))


@case("n", 5, "t", kinds="layer_norm", eps=1e-3)
def layer_norm_of_keras(g):
    mean = g.node("ReduceMean", "x", axes=[1])
    d = g.node("Sub", "x", mean)
    v = g.node("ReduceMean", g.node("Mul", d, d), axes=[1])
    r = g.node("Reciprocal", g.node("Sqrt", g.node("Add", v, np.float32(1e-3))))
    gain = _turned(g, g.node("Mul", r, values(1, 5, 1)))
    less = g.node("Mul", g.node("Neg", g.node("Reshape", mean, [0, -1, 1])), gain)
    y = g.node("Mul", _turned(g, "x"), gain)
    return _turned(g, g.node("Add", y, g.node("Add", less, values(1, 1, 5, seed=3))))


@case("n", 5, "t", kinds="activation batch_norm activation")
def scale_and_shift_of_each_channel(g):
    y = g.node("Mul", g.node("Relu", "x"), values(5, 1))
    return g.node("Tanh", g.node("Add", y, values(1, 5, 1, seed=1)))


@case("n", 3, "t", kinds="batch_norm conv1d")
def normalisedgiven(g):
    y = g.node("Div", g.node("Sub", "x", values(1, 3, 1)), values(1, 3, 1, low=0.4))
    return g.conv(y, 5, 3, 3, pads=[1, 1])


@case("n", 3, "t", kinds="batch_norm activation batch_norm")
def numbers_for_all_channels(g):
    y = g.node("Relu", g.node("Sub", np.float32(0.3), g.node("Mul", "x", np.float32(1.7))))
    return g.node("Mul", g.node("Identity", g.node("Mul", y, np.float32(1.0))), values(3, 1))


@case("n", 3, "t", kinds="conv1d conv1d", bias=True)
def bias_of_its_own(g):
    y = g.node("Add", g.conv("x", 5, 3, 3, bias=False), values(5, 1))
    return g.node("Sub", g.conv(y, 4, 5, 2, bias=False), np.float32(0.25))


# Branches -----------------------------------------------------------------------------------------


@case("n", 3, "t", kinds="conv1d conv1d merge activation")
def residual(g):
    y = g.conv("x", 5, 3, 3, pads=[2, 0])
    return g.node("Relu", g.node("Add", g.conv("x", 5, 3, 1, seed=4), y))


@case("n", 3, "t", kinds="conv1d conv1d merge conv1d", mode="concat")
def concatenated(g):
    parts = [g.conv("x", 2, 3, 1, seed=4), g.conv("x", 5, 3, 3, pads=[1, 1])]
    return g.conv(g.node("Concat", *parts, axis=-2), 4, 7, 1)


@case("n", 3, "t", kinds="conv1d pool dense activation dense activation merge")
def squeeze_and_excitation(g):
    y = g.conv("x", 6, 3, 3)
    s = g.node("Squeeze", g.node("GlobalAveragePool", y), [2])
    s = g.node("Gemm", g.node("Relu", g.node("Gemm", s, values(6, 2))), values(2, 6))
    return g.node("Mul", y, g.node("Unsqueeze", g.node("Sigmoid", s), [-1]))


@case("n", 3, "t", kinds="conv1d activation activation merge", mode="add")
def sum_of_three(g):
    y = g.conv("x", 3, 3, 1)
    return g.node("Sum", "x", g.node("Tanh", y), g.node("Elu", y, alpha=0.7))


@case("n", 3, "t", kinds="conv1d glu")
def glu_by_split(g):
    value, gate = g.node("Split", g.conv("x", 6, 3, 2), outputs=2, axis=1)
    return g.node("Mul", value, g.node("Sigmoid", gate))


@case("n", "t", 4, axes="NTC", kinds="dense glu")
def glu_by_slices(g):
    y = g.node("MatMul", "x", values(4, 6))
    gate = g.node("Sigmoid", g.node("Slice", y, [3], [6], [2]))
    return g.node("Mul", gate, g.node("Slice", y, [0], [3], [-1]))


# Pools and rates ----------------------------------------------------------------------------------


@case("n", 3, "t", out="NC", kinds="pool", mode="global_average")
def mean_over_time(g):
    return g.node("ReduceMean", "x", axes=[-1], keepdims=0)


@case("n", "t", 3, axes="NTC", out="NC", kinds="pool", mode="global_max", opset=18)
def greatest_over_time(g):
    return g.node("ReduceMax", "x", [1], keepdims=0)


@case("n", 3, 1, "t", axes="NC1T", kinds="activation pool", mode="adaptive_average")
def mean_over_space(g):
    return g.node("ReduceMean", g.node("Relu", "x"), axes=[2, 3])


@case("n", 3, "t", out="NC", kinds="activation pool", mode="last")
def last_step(g):
    return g.node("Gather", g.node("Tanh", "x"), np.int64(-1), axis=2)


@case("n", "t", 3, axes="NTC", out="NC", kinds="pool activation", mode="last")
def last_step_by_slice(g):
    return g.node("Tanh", g.node("Squeeze", g.node("Slice", "x", [-1], [2**62], [1]), [1]))


@case("n", 3, 12, out="NC", kinds="pad flatten")
def some_step(g):
    return g.node("Gather", "x", np.int64(4), axis=2)


POOLS = {
    "max": ("MaxPool", {"strides": [3]}, ["window_pool"]),
    "max_same": ("MaxPool", {"strides": [2], "pads": [1, 1]}, ["window_pool"]),
    "max_upper": ("MaxPool", {"strides": [2], "auto_pad": "SAME_UPPER"}, ["window_pool"]),
    "average": ("AveragePool", {}, ["window_pool"]),
    "average_same": ("AveragePool", {"strides": [2], "pads": [1, 1]}, ["window_pool"]),
    "average_counted": (
        "AveragePool", {"pads": [1, 1], "count_include_pad": 1}, ["window_pool"],
    ),
    "average_other": (
        "AveragePool", {"pads": [2, 0], "count_include_pad": 1}, ["pad", "window_pool"],
    ),
    "average_upper": ("AveragePool", {"strides": [2], "auto_pad": "SAME_UPPER"}, ["window_pool"]),
}  # fmt: skip


@pytest.mark.parametrize("length", [11, 12])
@pytest.mark.parametrize("name", POOLS)
def test_window_pool(name, length, tmp_path):
    op, attributes, kinds = POOLS[name]
    graph = Graph("n", 3, "t")
    path = graph.save(tmp_path / "a.onnx", graph.node(op, "x", kernel_shape=[3], **attributes))
    spec = check(path, values(2, 3, length), tmp_path)
    assert [layer.kind for layer in spec.layers.values()] == kinds


RATES = {
    "floor": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "half": {"coordinate_transformation_mode": "half_pixel"},
    "linear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "torch": {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
}


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", RATES)
def test_upsampling(name, factor, tmp_path):
    graph = Graph("n", 3, "t")
    y = graph.node("Resize", "x", "", values(3) * 0 + [1, 1, factor], **RATES[name])
    spec = check(graph.save(tmp_path / "a.onnx", y), values(2, 3, 7), tmp_path)
    assert spec.layers["upsample1"].mode == ("linear" if "mode" in RATES[name] else "nearest")


@case("n", 3, "t", kinds="upsample", factor=2)
def doubled_between_places(g):
    scales = np.float32([1, 1, 2])
    return g.node("Resize", "x", "", scales, coordinate_transformation_mode="asymmetric")


@case("n", "t", 3, axes="NTC", kinds="upsample conv1d", factor=2, out="NCT")
def upsampling_of_keras(g):
    copies = g.node("Tile", g.node("Unsqueeze", "x", [2]), [1, 1, 2, 1])
    batch, steps, width = g.node("Split", g.node("Shape", "x"), [1, 1, 1], outputs=3, axis=0)
    target = g.node("Concat", batch, g.node("Mul", steps, [2]), width, axis=0)
    return g.conv(_turned(g, g.node("Reshape", copies, target)), 5, 3, 2)


# Constants ----------------------------------------------------------------------------------------


@case("n", 3, "t", kinds="conv1d conv1d", kernel_size=3)
def folded_constants(g):
    kernel = g.node("Transpose", g.node("Identity", values(3, 3, 5)), perm=[2, 0, 1])
    y = g.node("Conv", "x", g.node("Cast", g.node("Cast", kernel, to=11), to=1))
    norm = g.node("Sqrt", g.node("ReduceSumSquare", g.constant(values(4, 5, 3)), axes=[1, 2]))
    gain = g.node("Div", values(4, 1, 1, seed=3), norm)
    kernel = g.node("Mul", gain, values(4, 5, 3))
    return g.node("Conv", y, kernel, g.node("Squeeze", values(1, 4), [0]))


# All of them --------------------------------------------------------------------------------------


def _kinds(spec):
    return [layer.kind for layer in spec.children().values()]


@pytest.mark.parametrize("name", CASES)
def test_graph_gives_the_output_of_onnxruntime(name, backends, tmp_path):
    build, shape, axes, out, length, opset, kinds, fields = CASES[name]
    graph = Graph(*shape, opset=opset)
    path = graph.save(tmp_path / "a.onnx", build(graph))
    x = given(shape, length)
    expected = neutral(run(path, x), out)
    report = convert(path, tmp_path / "ours")
    assert set(report.used) | set(report.dropped) == set(get_format("onnx").tensors(path))
    signal = neutral(x, axes)
    signal = signal[:, None] if "C" not in axes else signal
    for backend in backends:
        y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), signal)
        assert_close(y, expected, label=backend)
    assert _kinds(report.spec) == kinds.split()
    layers = list(report.spec.children().values())
    for field, wanted in fields.items():
        found = [getattr(layer, field) for layer in layers if hasattr(layer, field)]
        assert wanted in found, f"{field}: {found}"


def _scaled(g, y):
    return g.node(
        "Mul",
        g.node("BatchNormalization", y, *(values(3, low=0.2) for _ in range(4))),
        values(3, 1),
    )


ONE_STEP = {
    "average": lambda g: g.node("GlobalAveragePool", "x"),
    "maximum": lambda g: g.node("GlobalMaxPool", "x"),
    "mean": lambda g: g.node("ReduceMean", "x", axes=[2]),
    "mean, axis dropped": lambda g: g.node("ReduceMean", "x", axes=[2], keepdims=0),
    "scaled": lambda g: _scaled(g, g.node("GlobalAveragePool", "x")),
    "sum": lambda g: g.node("Add", g.node("GlobalAveragePool", "x"), g.node("GlobalMaxPool", "x")),
    "dropped and back": lambda g: g.node(
        "Unsqueeze", g.node("Flatten", g.node("GlobalAveragePool", "x")), [2]
    ),
    "squeeze and excitation": lambda g: g.node(
        "Mul", "x", g.node("Sigmoid", g.conv(g.node("GlobalAveragePool", "x"), 3, 3, 1))
    ),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_the_output_has_the_shape_of_onnxruntimes(name, backends, tmp_path):
    """An axis of size 1 that a pool keeps is there in the output, and one that it drops is not."""
    graph = Graph("n", 3, "t")
    path = graph.save(tmp_path / "a.onnx", ONE_STEP[name](graph))
    x = given(("n", 3, "t"), 12)
    report = convert(path, tmp_path / "ours")
    assert "output" not in report.assumed
    expected = run(path, x)
    for backend in backends:
        assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), x), expected)


def test_an_axis_beside_time_is_kept_where_time_is_dropped(tmp_path):
    graph = Graph("n", 3, 1, "t")
    path = graph.save(tmp_path / "a.onnx", graph.node("ReduceMax", "x", axes=[3], keepdims=0))
    x = given(("n", 3, 1, "t"), 12)
    convert(path, tmp_path / "ours")
    found = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x[:, :, 0])
    assert_close(found, run(path, x))


@pytest.mark.parametrize("axes", ["".join(one) for one in itertools.permutations("CT1")])
def test_any_order_of_axes_at_thegiven(axes, tmp_path):
    axes = f"N{axes}"
    sizes = {"N": 2, "C": 3, "T": 12, "1": 1}
    graph = Graph(*({"N": "n", "T": "t"}.get(role, sizes[role]) for role in axes))
    y = graph.node("Transpose", "x", perm=[axes.index(role) for role in "NC1T"])
    y = graph.node("Transpose", graph.conv(y, 5, 3, 1, 3), perm=[0, 3, 1, 2])
    x = values(*(sizes[role] for role in axes))
    path = graph.save(tmp_path / "a.onnx", y)
    spec = check(path, x, tmp_path, axes, "NTC1")
    assert _kinds(spec) == ["conv1d"]
