"""Graphs that are not supported or not determined, and what is said of those that are."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from tests.support.onnx_graphs import Graph, run, values  # noqa: E402


def saved(build, folder, *shape, opset=17):
    """Write the graph that a function builds."""
    graph = Graph(*(shape or ("n", 3, "t")), opset=opset)
    return graph.save(folder / "a.onnx", build(graph))


# Not supported ------------------------------------------------------------------------------------

UNSUPPORTED = {
    "rounding": (
        lambda g: g.conv(g.node("Cast", g.node("Cast", "x", to=10), to=1), 5, 3, 3),
        "it rounds the signal to float16",
    ),
    "operator": (lambda g: g.node("Sin", "x"), "node 'n1' (Sin) is not supported: the operators"),
    "two axes": (
        lambda g: g.conv(g.node("Reshape", "x", [0, 3, 4, -1]), 5, 3, 3, 3),
        "it splits an axis",
    ),
    "over time": (lambda g: g.node("Softmax", "x", axis=2), "it acts over axis 2, 'T'"),
    "slopes": (lambda g: g.node("PRelu", "x", values(3, 1)), "a slope for each channel"),
    "several matrices": (
        lambda g: g.node("MatMul", "x", values(2, 3, 5)), "where a matrix is expected",
    ),
    "constant over time": (lambda g: g.node("Add", "x", values(3, 12)), "one for each channel"),
    "erf alone": (lambda g: g.node("Erf", "x"), "read only as a part of GELU"),
    "difference": (lambda g: g.node("Sub", "x", g.node("Tanh", "x")), "read only as a part"),
    "ceil_mode": (
        lambda g: g.node("MaxPool", "x", kernel_shape=[2], strides=[2], ceil_mode=1),
        "its ceil_mode adds a window",
    ),
    "uncounted": (
        lambda g: g.node("AveragePool", "x", kernel_shape=[3], pads=[2, 0]), "do not count",
    ),
    "dilated pool": (
        lambda g: g.node("MaxPool", "x", kernel_shape=[3], dilations=[2]), "it is dilated",
    ),
    "hard_sigmoid": (lambda g: g.node("HardSigmoid", "x"), "its alpha and beta are (0.2, 0.5)"),
    "exponent": (lambda g: g.node("Pow", "x", np.float32(2.5)), "its exponent is 2.5"),
    "flip": (lambda g: g.node("Slice", "x", [-1], [-(2**60)], [2], [-1]), "by -1"),
    "padded with ones": (
        lambda g: g.node("Pad", "x", [0, 0, 1, 0, 0, 1], np.float32(1)), "its value 1.0",
    ),
    "padded channels": (
        lambda g: g.node("Pad", g.conv("x", 5, 3, 3), [0, 1, 0, 0, 0, 0]), "it pads the axis 'C'",
    ),
    "joined in time": (lambda g: g.node("Concat", "x", "x", axis=2), "joins signals along time"),
    "cubic": (
        lambda g: g.node("Resize", "x", "", np.float32([1, 1, 2]), mode="cubic"),
        "its mode 'cubic'",
    ),
    "uneven copies": (
        lambda g: g.node(
            "Resize", "x", "", np.float32([1, 1, 3]), coordinate_transformation_mode="asymmetric"
        ),
        "with 'asymmetric' and 'round_prefer_floor' is none",
    ),
    "smaller": (
        lambda g: g.node("Resize", "x", "", np.float32([1, 1, 0.5])), "by a whole number is read",
    ),
    "groups": (
        lambda g: g.node("ConvTranspose", "x", values(3, 1, 2), group=3), "groups or an output",
    ),
    "computed kernel": (
        lambda g: g.node("Conv", "x", g.node("Tanh", "x")), "computed from the signal",
    ),
    "mean of all": (lambda g: g.node("ReduceMean", "x", keepdims=1), "it takes all axes"),
    "mean of no axes": (
        lambda g: g.node("ReduceSum", "x", np.zeros(0, np.int64)), "it sums over an axis",
    ),
    "no layers": (lambda g: g.node("Identity", "x"), "its output is its input"),
    "a constant": (
        lambda g: g.node("Shape", "x"), "the output does not depend on the input",
    ),
}  # fmt: skip


# What onnxruntime refuses as well: one node that says two things at odds.
KERNEL = values(5, 3, 4)
CONTRADICTIONS = {
    "kernel_shape": (
        lambda g: g.node("Conv", "x", KERNEL, kernel_shape=[9]),
        "its kernel_shape is [9], but its kernel has [4]",
    ),
    "kernel_shape of two axes": (
        lambda g: g.node("Conv", "x", KERNEL, kernel_shape=[1, 4]), "kernel_shape is [1, 4]",
    ),
    "kernel_shape, transposed": (
        lambda g: g.node("ConvTranspose", "x", values(3, 5, 4), kernel_shape=[3]),
        "kernel_shape is [3], but its kernel has [4]",
    ),
    "group": (lambda g: g.node("Conv", "x", KERNEL, group=3), "it takes 9 channels, but 3 come"),
    "strides": (lambda g: g.node("Conv", "x", KERNEL, strides=[1, 1]), "not those of 1 axes"),
    "dilations": (lambda g: g.node("Conv", "x", KERNEL, dilations=[1, 2]), "not those of 1 axes"),
    "pads": (lambda g: g.node("Conv", "x", KERNEL, pads=[1]), "not those of 1 axes"),
    "negative pads": (lambda g: g.node("Conv", "x", KERNEL, pads=[-1, 0]), "may be negative"),
    "auto_pad beside pads": (
        lambda g: g.node("Conv", "x", KERNEL, auto_pad="SAME_UPPER", pads=[3, 3]),
        "its auto_pad is 'SAME_UPPER' beside pads of its own, [3, 3]",
    ),
    "VALID beside pads": (
        lambda g: g.node("Conv", "x", KERNEL, auto_pad="VALID", pads=[3, 3]),
        "its auto_pad is 'VALID' beside pads",
    ),
    "auto_pad": (lambda g: g.node("Conv", "x", KERNEL, auto_pad="WEIRD"), "'WEIRD'"),
    "output_padding": (
        lambda g: g.node("ConvTranspose", "x", values(3, 5, 4), output_padding=[0, 1]),
        "output_padding is not that of 1 axes",
    ),
    "no such attribute": (
        lambda g: g.node("MaxPool", "x", kernel_shape=[2], count_include_pad=1),
        "MaxPool of operator set 17 has no attribute 'count_include_pad'",
    ),
    "an operator of later sets": (
        lambda g: g.node("Gelu", "x"), "operator set 17 has no Gelu yet",
    ),
    "type of an attribute": (
        lambda g: g.node("LeakyRelu", "x", alpha=1), "'alpha' is of another type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_node_that_contradicts_itself_is_refused(name, tmp_path):
    build, words = CONTRADICTIONS[name]
    path = saved(build, tmp_path)
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        run(path, values(2, 3, 40))
    assert words in refusal(path)


def test_training_is_refused(tmp_path):
    """In training mode the same node draws at random, or takes the statistics of the batch."""
    ratio, on = np.float32(0.5), np.asarray(True)

    def dropout(g):
        return g.node("Dropout", "x", ratio, g.constant(on, dtype=bool))

    assert "it is in training mode" in refusal(saved(dropout, tmp_path))
    scale = [values(3, seed=place, low=0.2) for place in range(4)]

    def norm(g):
        return g.node("BatchNormalization", "x", *scale, training_mode=1, outputs=3)[0]

    assert "it is in training mode" in refusal(saved(norm, tmp_path))


@pytest.mark.parametrize(
    "build, axes, given",
    [
        (
            lambda g: g.node("Unsqueeze", g.conv("x", 5, 3, 3), [3]),
            "(batch, channels, time, 1)",
            "(batch, channels, time)",
        ),
        (
            lambda g: g.node("Slice", g.node("Tanh", "x"), [-1], [2**60], [2]),
            "(batch, channels, 1)",
            "(batch, channels)",
        ),
        (
            lambda g: g.node("Unsqueeze", g.node("GlobalMaxPool", "x"), [3]),
            "(batch, channels, 1, 1)",
            "(batch, channels, time)",
        ),
    ],
    ids=["behind time", "last step", "two axes"],
)
def test_an_axis_that_cannot_be_kept_is_asked_about(build, axes, given, tmp_path):
    path = saved(build, tmp_path)
    with pytest.raises(Undetermined) as caught:
        convert(path, tmp_path / "ours")
    assert str(caught.value) == (
        f"{str(path)!r} has an output {axes}, but here it is {given}; to have it so: "
        "--set squeeze=true"
    )
    report = convert(path, tmp_path / "ours", hints={"squeeze": "true"})
    assert report.assumed["output"].startswith(f"given as {given} instead of (batch, channels, ")
    x = values(2, 3, 40)
    found = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x)
    assert_close(found, run(path, x)[..., 0])


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named(name, tmp_path):
    build, words = UNSUPPORTED[name]
    assert words in refusal(saved(build, tmp_path, "n", 3, 12 if name == "two axes" else "t"))


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda g: g.node("Gelu", "x", approximate="fast"), "its approximate is 'fast'"),
        (lambda g: g.node("Pad", "x", [1, 2, 0, 0], "", [2, -1]), "with 4 pads for 2 axes"),
    ],
)
def test_what_later_operators_do_not_take_is_named(build, words, tmp_path):
    assert words in refusal(saved(build, tmp_path, opset=20))


def test_two_axes_of_space_are_refused(tmp_path):
    path = saved(lambda g: g.conv("x", 5, 3, 3, 3), tmp_path, "n", 3, 4, 12)
    assert "axes (None, 3, 4, 12), where batch, channels, time and one of size 1" in refusal(path)
    path = saved(lambda g: g.conv("x", 5, 3, 3, 3), tmp_path, "n", 3, "h", "w")
    assert "two axes of space" in refusal(path)


def test_steps_of_the_bias_alone_are_refused(tmp_path):
    def build(g):
        return g.node(
            "ConvTranspose", "x", values(3, 5, 2), values(5), strides=[3], output_padding=[2]
        )

    assert "adds steps of the bias alone" in refusal(saved(build, tmp_path))


def test_several_inputs_are_refused(tmp_path):
    graph = Graph("n", 3, "t")
    model = graph.model(graph.node("Add", "x", "z"))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, "t"]))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "depends on 2 inputs ['x', 'z']" in refusal(tmp_path / "a.onnx")


def test_models_that_do_not_fit_together_are_refused(tmp_path):
    path = saved(lambda g: g.node("Add", g.conv("x", 5, 3, 3), g.conv("x", 5, 3, 1)), tmp_path)
    assert "merge 'add' takes signals of one shape" in refusal(path, kind=SpecError)


# Not determined -----------------------------------------------------------------------------------


def test_a_flatten_of_unknown_length_is_asked_for(tmp_path):
    path = saved(lambda g: g.node("Flatten", g.conv("x", 5, 3, 3)), tmp_path)
    assert "--set length=STEPS" in refusal(path, kind=Undetermined)
    found = inspect(path)
    assert found.spec is None
    assert "--set length" in found.missing
    report = convert(path, tmp_path / "ours", hints={"length": "12"})
    assert report.spec.layers["flatten1"].length == 10


def test_an_end_that_depends_on_the_length_is_asked_for(tmp_path):
    path = saved(lambda g: g.node("Slice", g.node("Tanh", "x"), [-3], [2**62], [2]), tmp_path)
    assert "a model for signals of one length" in refusal(path, kind=Undetermined)
    convert(path, tmp_path / "ours", hints={"length": 9})
    x = values(2, 3, 9)
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x), run(path, x))


def test_a_graph_that_pads_by_its_length_is_asked_for(tmp_path):
    def build(g):
        return g.conv("x", 5, 3, 3, strides=[2], auto_pad="SAME_LOWER")

    path = saved(build, tmp_path)
    assert "--set length=STEPS" in refusal(path)
    convert(path, tmp_path / "ours", hints={"length": 12})
    x = values(2, 3, 12)
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x), run(path, x))


def test_one_of_several_outputs_is_asked_for(tmp_path):
    graph = Graph("n", 3, "t")
    y = graph.conv("x", 5, 3, 3)
    z = graph.node("Tanh", y)
    path = graph.save(tmp_path / "a.onnx", y, z)
    assert f"2 outputs ['{y}', '{z}']; choose one" in refusal(path, kind=Undetermined)
    report = convert(path, tmp_path / "ours", hints={"output": y})
    assert list(report.spec.layers) == ["conv1"]
    with pytest.raises(InputError, match="has no output 'v3_0'; did you mean"):
        convert(path, tmp_path / "more", hints={"output": "v3_0"})


def test_axes_that_could_be_either_are_asked_for(tmp_path):
    def build(g):
        y = g.node("Flatten", g.node("Add", "x", g.node("Tanh", "x")))
        return g.node("Gemm", y, values(36, 2))

    path, x = saved(build, tmp_path, "n", 3, 12), values(2, 3, 12)
    sentence = refusal(path, kind=Undetermined)
    assert sentence.endswith("what the axes of its input are; give them: --set layout=NCT or NTC")
    for layout, order in (("NCT", "channels"), ("NTC", "time")):
        report = convert(path, tmp_path / layout, hints={"layout": layout})
        assert report.spec.nodes["flatten1"].layer.order == order
        given = x if layout == "NCT" else x.transpose(0, 2, 1)
        y = tcnzoo.predict(tcnzoo.load(tmp_path / layout, "numpy"), given)
        assert_close(y, run(path, x))


def test_channels_that_are_left_open_are_asked_for(tmp_path):
    path = saved(lambda g: g.node("Add", "x", g.node("Tanh", "x")), tmp_path, "n", "c", "t")
    assert "--set channels=NUMBER" in refusal(path, kind=Undetermined)
    assert convert(path, tmp_path / "a", hints={"channels": 4}).spec.in_channels == 4
    path = saved(lambda g: g.node("Add", "x", g.conv("x", 3, 3, 1)), tmp_path, "n", "c", "t")
    assert convert(path, tmp_path / "b").spec.in_channels == 3


def test_hints_are_checked(tmp_path):
    path = saved(lambda g: g.conv("x", 5, 3, 3), tmp_path, 1, 3, 12)
    for hints, words in (
        ({"lengths": 12}, "takes no hint 'lengths'; did you mean 'length'"),
        ({"length": 13}, r"may be NCT, NTC; \{'length': 13\} does not go"),
        ({"length": "long"}, "'long'"),
        ({"channels": 4}, "'channels': 4"),
        ({"layout": "NCHW"}, "which may be NCT, NTC; "),
        ({"layout": "NTC", "channels": 3}, "'layout': 'NTC'"),
    ):
        with pytest.raises(InputError, match=words):
            convert(path, tmp_path / "ours", hints=hints)


def test_momentum_is_the_callers(tmp_path):
    scale = [values(3, seed=place, low=0.2) for place in range(4)]
    path = saved(lambda g: g.node("BatchNormalization", "x", *scale), tmp_path)
    assert convert(path, tmp_path / "a").assumed == {"momentum": 0.1}
    report = convert(path, tmp_path / "b", hints={"momentum": "0.01"})
    assert report.spec.layers["norm1"].momentum == 0.01
    assert not report.assumed


def test_an_attribute_that_stands_twice_is_refused(tmp_path):
    graph = Graph("n", 3, "t")
    model = graph.model(graph.conv("x", 5, 3, 3, dilations=[2]))
    model.graph.node[0].attribute.append(helper.make_attribute("dilations", [1]))
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    assert "node 'n1' (Conv)" in refusal(path)
    assert "is malformed: it names an attribute twice" in refusal(path)


def test_what_is_not_read_is_said(tmp_path):
    graph = Graph("n", 3, "t")
    graph.constant(values(7), name="left_over")
    y = graph.node("Reshape", graph.conv("x", 1, 3, 3), graph.constant([0, -1], name="target"))
    report = convert(graph.save(tmp_path / "a.onnx", y), tmp_path / "ours")
    assert report.dropped == {
        "left_over": "nothing that the output depends on reads it",
        "target": "a number of the graph, which is in the spec",
    }
    assert report.used == {"c1": "conv1.weight", "c2": "conv1.bias"}
    assert report.assumed == {"output": "given as (batch, channels, time) instead of (batch, time)"}


@pytest.mark.parametrize("given, listed", [("f4", True), ("f2", False)])
def test_a_part_in_float16_is_listed(tmp_path, given, listed):
    graph = Graph("n", 3, "t", dtype=given)
    x = graph.node("Cast", "x", to=TensorProto.FLOAT16)
    y = graph.node("Conv", x, graph.constant(values(5, 3, 3), dtype="f2"))
    path = graph.save(tmp_path / "a.onnx", graph.node("Cast", y, to=TensorProto.FLOAT))
    words = "float32, where the file computes in float16 from node 'n1' (Cast) on"
    assert convert(path, tmp_path / "ours").assumed == ({"precision": words} if listed else {})


def test_weights_keep_their_bits(tmp_path):
    graph = Graph("n", 3, "t", dtype="f2")
    kernel = values(5, 3, 3).astype(np.float16)
    y = graph.node("Conv", "x", graph.constant(kernel, name="kernel"))
    report = convert(graph.save(tmp_path / "a.onnx", y), tmp_path / "ours")
    found = read_checkpoint(tmp_path / "ours")[1]["conv1.weight"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, kernel)
    assert report.used == {"kernel": "conv1.weight"}
