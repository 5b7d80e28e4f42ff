"""ONNX files that are broken or meant to do harm: refused with one sentence each."""

import importlib.util

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import BackendMissing, InputError, TcnzooError
from tcnzoo.formats.protocol import convert, detect_format
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import ModelProto, TensorProto, helper  # noqa: E402

from tests.support.onnx_graphs import Graph, run, values  # noqa: E402

HUGE = 2**45


def changed(change, folder, *shape):
    """A sound model after a change to its message."""
    graph = Graph(*(shape or ("n", 3, "t")))
    model = graph.model(graph.node("Relu", graph.conv("x", 5, 3, 3)))
    change(model)
    path = folder / "a.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _claims(model):
    model.graph.initializer[0].dims[0] = HUGE


def _claims_nothing(model):
    model.graph.initializer[0].dims[:] = [0, 2**62, 2**62]
    model.graph.initializer[0].raw_data = b""


def _is_negative(model):
    model.graph.initializer[0].dims[:] = [-5, -3, 3]


def _is_text(model):
    model.graph.initializer[0].data_type = TensorProto.STRING


def _reads_itself(model):
    model.graph.node[0].input[0] = model.graph.node[1].output[0]


def _reads_nothing(model):
    model.graph.node[1].input[0] = "nowhere"


def _makes_twice(model):
    model.graph.node[1].output[0] = model.graph.node[0].output[0]


def _has_no_output(model):
    model.graph.output[0].name = "nowhere"


def _has_two_of_a_name(model):
    model.graph.initializer[1].name = model.graph.initializer[0].name


def _is_custom(model):
    model.graph.node[0].domain = "com.example"


def _is_old(model):
    model.opset_import[0].version = 6


def _is_newer_than_known(model):
    model.opset_import[0].version = 29


def _is_of_a_later_format(model):
    model.ir_version = 15


def _defines_relu(model):
    relu = helper.make_node("Abs", ["a"], ["b"])
    model.functions.append(
        helper.make_function("", "Relu", ["a"], ["b"], [relu], list(model.opset_import))
    )


def _has_an_input_twice(model):
    model.graph.input.append(model.graph.input[0])


def _shadows_by_another_shape(model):
    name = model.graph.initializer[0].name
    model.graph.input.append(helper.make_tensor_value_info(name, 1, [5, 3, 9]))


def _has_an_attribute_of_another(model):
    model.graph.node[0].attribute.append(helper.make_attribute("stride", [1]))


def _lacks_an_attribute(model):
    model.graph.node[1].CopyFrom(
        helper.make_node("AveragePool", model.graph.node[1].input, model.graph.node[1].output)
    )


def _has_inputs_too_many(model):
    model.graph.node[0].input.extend(["", ""])


def _is_of_no_set(model):
    node = helper.make_node("Upsample", ["v1_0", "c0"], model.graph.node[1].output)
    model.graph.node[1].CopyFrom(node)


def _holds_a_graph(model):
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def _strides_by_text(model):
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.append(helper.make_attribute("strides", ["a"]))


def _pads_by_too_few(model):
    model.graph.node[0].attribute.append(helper.make_attribute("pads", [1]))


def _is_empty(model):
    model.ClearField("graph")


BROKEN = {
    _claims: "claims shape (35184372088832, 3, 3)",
    _claims_nothing: "claims shape (0, ",
    _is_negative: "is refused: its type",
    _is_text: "is refused: its type 8",
    _reads_itself: "which comes later, or from itself",
    _reads_nothing: "reads 'nowhere', which nothing makes",
    _makes_twice: "makes 'v1_0' once more",
    _has_no_output: "no node makes the output 'nowhere'",
    _has_two_of_a_name: "two tensors have the name 'c0'",
    _is_custom: "has the operator 'Conv' of the domain 'com.example'",
    _is_old: "version 7 to 28, but names [6]; export the model for one of these",
    _is_newer_than_known: "version 7 to 28, but names [29]",
    _is_of_a_later_format: "is of version 15 of the format; up to 14 is read",
    _defines_relu: "defines standard operators of its own: ['Relu']",
    _has_an_input_twice: "two inputs have the name 'x'",
    _shadows_by_another_shape: "the input 'c0' is said to have axes (5, 3, 9), but its tensor has",
    _has_an_attribute_of_another: "Conv of operator set 17 has no attribute 'stride'; did you mean",
    _lacks_an_attribute: "it needs the attribute 'kernel_shape'",
    _has_inputs_too_many: "it has 5 inputs, where Conv of operator set 17 has 2 to 3",
    _is_of_no_set: "operator set 17 has no Upsample any more",
    _holds_a_graph: "holds a graph",
    _strides_by_text: "its attribute 'strides' is of another type",
    _pads_by_too_few: "its strides, dilations and pads are not those of 1 axes",
}


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_a_broken_model_is_refused(change, tmp_path):
    assert BROKEN[change] in refusal(changed(change, tmp_path), "onnx")


def test_a_model_without_a_graph_is_none(tmp_path):
    path = changed(_is_empty, tmp_path)
    assert "is not recognised" in refusal(path, kind=InputError)
    assert "has no graph with an output" in refusal(path, "onnx")


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    whole = changed(lambda model: None, tmp_path).read_bytes()
    for length in (len(whole) // 2, len(whole) - 9):
        (tmp_path / "a.onnx").write_bytes(whole[:length])
        assert "is cut short or damaged" in refusal(tmp_path / "a.onnx")


def test_flipped_bits_never_get_further_than_a_sentence(tmp_path):
    whole = changed(lambda model: None, tmp_path).read_bytes()
    generator = np.random.default_rng(4)
    outcomes = set()
    for place in generator.integers(0, len(whole), 150):
        data = bytearray(whole)
        data[place] ^= 1 << int(generator.integers(0, 8))
        (tmp_path / "a.onnx").write_bytes(data)
        try:
            convert(tmp_path / "a.onnx", tmp_path / "ours", from_format="onnx", overwrite=True)
            outcomes.add("read")
        except TcnzooError as error:
            outcomes.add("refused" if "\n" not in str(error) else str(error))
    assert outcomes == {"read", "refused"}


def test_constants_that_grow_are_refused(tmp_path):
    for op in ("ConstantOfShape", "Tile", "Range"):
        graph = Graph("n", 3, "t")
        given = {"ConstantOfShape": [[HUGE]], "Tile": [values(1), [HUGE]], "Range": [
            np.int64(0), np.int64(HUGE), np.int64(1),
        ]}[op]  # fmt: skip
        large = graph.node("ReduceSum", graph.node(op, *given), keepdims=0)
        path = graph.save(tmp_path / "a.onnx", graph.node("Add", "x", large))
        assert "would make a constant of" in refusal(path)


def test_products_of_products_are_not_all_looked_into(tmp_path):
    # Looked into each, they would take 2**300 steps.
    def build(g):
        y = "x"
        for _ in range(300):
            y = g.node("Mul", y, y)
        return g.node("Mul", y, np.float32(0.5))

    graph = Graph("n", 3, "t")
    path = graph.save(tmp_path / "a.onnx", build(graph))
    convert(path, tmp_path / "ours")
    # 1 stays 1 in every product; other values leave float32 at once.
    one = np.ones((2, 3, 5), np.float32)
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), one), 0.5 * one)


# Values in other files ----------------------------------------------------------------------------


def outside(folder, **said):
    """A model whose kernel lies in another file, and the model as a whole."""

    def change(model):
        tensor = model.graph.initializer[0]
        (folder / "a.data").write_bytes(b"12345678" + tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "a.data", "offset": 8, "length": 180, **said}.items():
            tensor.external_data.add(key=key, value=str(value))

    return changed(change, folder)


def test_values_beside_the_model_are_read(tmp_path):
    path = outside(tmp_path)
    convert(path, tmp_path / "ours")
    x = values(2, 3, 9)
    assert_close(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x), run(path, x))


@pytest.mark.parametrize(
    "location", ["../a.data", "/etc/passwd", "sub/../../a.data", "C:\\a", "..\\a", "", "link"]
)
def test_values_outside_the_folder_are_refused(location, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.data").write_bytes(bytes(188))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "a.data")
    assert "leads out of its folder" in refusal(outside(tmp_path / "in", location=location))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda entries: setattr(entries[1], "key", "offsat"),
            "is given by 'offsat', but",
        ),
        (
            lambda entries: setattr(entries[2], "key", "lenguh"),
            "is given by 'lenguh', but",
        ),
        (lambda entries: entries.add(key="offset", value="0"), "is given by a key twice"),
        (lambda entries: entries.add(key="basepath", value="sub"), "or a base path, but"),
        (lambda entries: setattr(entries[1], "value", "0_8"), "names no place in a file"),
    ],
)
def test_places_that_are_not_understood_are_refused(change, words, tmp_path):
    path = outside(tmp_path)
    model = ModelProto.FromString(path.read_bytes())
    change(model.graph.initializer[0].external_data)
    path.write_bytes(model.SerializeToString())
    assert words in refusal(path)


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"length": 2**40}, "claims shape (5, 3, 3)"),
        ({"offset": 9}, "which has 188"),
        ({"offset": -1}, "names no place"),
        ({"offset": "here"}, "names no place"),
        ({"location": "b.data"}, "are missing: no 'b.data'"),
    ],
)
def test_values_that_are_not_there_are_refused(entries, words, tmp_path):
    assert words in refusal(outside(tmp_path, **entries))


# What is found ------------------------------------------------------------------------------------


def test_a_model_is_recognised_by_its_fields(tmp_path):
    path = changed(lambda model: None, tmp_path).rename(tmp_path / "a.bin")
    assert detect_format(path).NAME == "onnx"
    for data in (b"\x08\x08", b"\x08\x08\x12\x03abc", b"\x08" * 40, bytes(64), b"\x08\x08\x3a\xff"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not recognised"):
            detect_format(path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = changed(lambda model: None, tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name)
    )
    assert "pip install 'tcnzoo[onnx]'" in refusal(path, kind=BackendMissing)


def test_no_file_is_said(tmp_path):
    with pytest.raises(InputError, match="nothing at"):
        convert(tmp_path / "a.onnx", tmp_path / "ours", from_format="onnx")
    with pytest.raises(InputError, match="no file at"):
        convert(tmp_path, tmp_path / "ours", from_format="onnx")
