"""ONNX files of rank 4, and the check of what Hailo's compiler takes."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.runtimes.protocol import get_check
from tcnzoo.specs.folding import fold
from tests.parity.test_presets import LENGTHS
from tests.support.cases import BLOCKS, conv1d
from tests.support.compare import assert_close, assert_refused, weights_of
from tests.support.exported import ran, written
from tests.support.tcns import tcn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper = onnx.helper

# What Hailo's compiler never takes, whatever the check says.
NEVER = {"Gather", "Where", "ReduceMean", "Shape", "Range", "Expand", "CumSum", "ReduceMax", "Cast"}
WIDE = {"rank": 4, "dynamic": False}
REFUSED = {
    name
    for name in BLOCKS
    if any(
        word in name
        for word in (
            "cumulative",
            "mamba2",
            "rms_norm",
            "attention",
            "hdp",
            "hsmm",
            "sequential-devices",
            "fsq",
            "residual_vq",
            "vector_quantizer",
            "group_norm",
            "patch_embed",
            "spectrum",
            "perceiver",
            "transformer_block",
            "transformer-",
            "lstm",
            "gru",
            "electrode_embedding",
            "sequential-tokens",
        )
    )
    or name in ("pool-adaptive_max-5", "pool-adaptive_max-41")
}
# What takes arrays beside its signal; see `test_embeddings_are_refused`.
BESIDE = {name for name, (spec, _) in BLOCKS.items() if tcnzoo.load_spec(spec).embedding_specs}
# Presets without a sum or a state that runs along time, and without a choice of one step.
WITHOUT_MEMORY = [
    name
    for name in LENGTHS
    if name not in ("tcn-adding", "tcn-se-gated", "tcn-eeg-mem")
    and not name.startswith(("seizure-", "labram-"))
]
CHAIN = {
    "kind": "sequential",
    "layers": {
        "body": tcn(norm="batch_norm", squeeze_excitation="global", activation="leaky_relu"),
        "up": {"kind": "conv_transpose1d", "in_channels": 6, "out_channels": 4, "kernel_size": 2},
        "pool": {"kind": "window_pool", "mode": "max", "size": 2},
        "mean": {"kind": "pool"},
        "head": {"kind": "dense", "in_features": 4, "out_features": 2},
    },
}


def check(path):
    """What the check finds, as (node, operator) -> advice."""
    return {(one.node, one.operator): one.advice for one in get_check("hailo").check(path)}


def file_of(path, node, inputs, weights=None, domain=""):
    """An ONNX file of one node."""
    node.name = "it"
    axes = [f"axis{place}" for place in range(max(map(len, inputs.values()), default=3))]
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, axes)
    held = [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph([node], "one", ports, [output], held)
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("name", sorted(BLOCKS.keys() - REFUSED - BESIDE))
def test_block_of_rank_4_equals_reference(name, tmp_path):
    spec, (_, *shape) = BLOCKS[name]
    path, options = written("onnx", spec, (1, *shape), tmp_path, **WIDE)
    assert not NEVER & {node.op_type for node in onnx.load(path).graph.node}
    assert_close(*ran("onnx", spec, path, options, (1, *shape)))


@pytest.mark.parametrize("name", sorted(REFUSED - BESIDE))
def test_block_that_rank_4_cannot_hold_is_refused(name, tmp_path):
    spec, (_, *shape) = BLOCKS[name]
    with pytest.raises(SpecError, match="which rank 4 (cannot hold|leaves to the host)") as raised:
        written("onnx", spec, (1, *shape), tmp_path, **WIDE)
    assert "\n" not in str(raised.value)


def test_embeddings_are_refused(tmp_path):
    sentence = "a model that takes embeddings cannot be written with rank 4; leave it out"
    arguments = ("onnx", tcn(embeddings="add"), (1, 3, 37), tmp_path)
    assert_refused(SpecError, sentence, written, *arguments, **WIDE)


@pytest.mark.parametrize("name", WITHOUT_MEMORY)
def test_preset_of_rank_4_passes_the_check(name, tmp_path):
    path = tmp_path / "a.onnx"
    report = tcnzoo.export(name, path, rank=4, input_length=LENGTHS[name])
    assert report.passed
    assert not check(path)
    graph = onnx.load(path).graph
    sizes = [one.dim_value for one in graph.input[0].type.tensor_type.shape.dim]
    channels, *devices, length = tcnzoo.load_spec(name).signal_shape(LENGTHS[name])
    assert sizes == [1, channels, *(devices or [1]), length]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    kernels = [one for one in graph.initializer if one.name.endswith("conv.weight")]
    assert {one.dims[2] for one in kernels} <= {1}


def test_every_part_of_a_chain_of_rank_4_passes_the_check(tmp_path):
    path, options = written("onnx", CHAIN, (1, 3, 40), tmp_path, **WIDE)
    assert not check(path)
    assert_close(*ran("onnx", CHAIN, path, options, (1, 3, 40)))


def test_rank_3_is_told_to_take_rank_4(tmp_path):
    path, _ = written("onnx", CHAIN, (1, 3, 40), tmp_path)
    found = check(path)
    assert "has the open shape ? x 3 x ?" in found["x", "input"]
    for (node, operator), advice in found.items():
        assert "--rank 4" in advice, node
        assert operator in {"input", "Conv", "ConvTranspose", "MaxPool", "GlobalAveragePool"}
    assert ("/body.blocks.0.conv1/Conv", "Conv") in found


@pytest.mark.parametrize(
    "operator, attributes, words",
    [
        ("Erf", {}, "use relu, silu or gelu_tanh"),
        ("ReduceMean", {"axes": [3]}, "GlobalAveragePool"),
        ("Softplus", {}, "is not known to compile; end the graph before it"),
        ("ArgMax", {"axis": 1}, "run the rest on the host"),
        ("Relu", {}, None),
        ("Softmax", {"axis": 1}, None),
    ],
)
def test_operators_by_themselves(operator, attributes, words, tmp_path):
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    found = check(file_of(tmp_path / "a.onnx", node, {"x": [1, 3, 1, 8]}))
    assert list(found) == ([] if words is None else [("it", operator)])
    assert words is None or words in found["it", operator]


@pytest.mark.parametrize(
    "shape, words",
    [
        ([2, 3, 1, 8], "has the shape 2 x 3 x 1 x 8, but the batch must be 1"),
        ([1, 3, 8], "has the shape 1 x 3 x 8, but signals must have four axes"),
        ([1, 3, 1, "time"], "has the open shape 1 x 3 x 1 x ?, but shapes must be fixed"),
        ([1, 8], None),
    ],
)
def test_shape_of_the_input(shape, words, tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    found = check(file_of(tmp_path / "a.onnx", node, {"x": shape}))
    assert list(found) == ([] if words is None else [("x", "input")])
    assert words is None or found["x", "input"].startswith(words)


def test_convolution_along_one_axis_is_found_behind_a_reshape(tmp_path):
    node = helper.make_node("Conv", ["w", "w"], ["y"])
    weights = {"w": np.ones((1, 3, 4), np.float32)}
    found = check(file_of(tmp_path / "a.onnx", node, {}, weights))
    assert "works along one axis" in found["it", "Conv"]


def test_padding_other_than_zeros_is_named(tmp_path):
    spec = conv1d(padding="same", padding_mode="reflect")
    path, _ = written("onnx", spec, (1, 3, 37), tmp_path, **WIDE)
    assert "pads in mode 'reflect'" in check(path)["/Pad", "Pad"]


def test_operator_of_another_domain_is_named(tmp_path):
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    found = check(file_of(tmp_path / "a.onnx", node, {"x": [1, 3, 1, 8]}, domain="com.microsoft"))
    assert "'com.microsoft'" in found["it", "Gelu"]


@pytest.mark.parametrize("content", [b"", b"text and no graph", b"\x08\x08\x12\x7f"])
def test_what_is_no_onnx_file_is_refused(content, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    sentence = f"{str(path)!r} is not a valid ONNX file"
    assert_refused(InputError, sentence, get_check("hailo").check, path)


def test_an_absent_file_and_an_unknown_check_are_refused(tmp_path):
    path = tmp_path / "a.onnx"
    assert_refused(InputError, f"no file at {str(path)!r}", get_check("hailo").check, path)
    assert_refused(InputError, "unknown check 'halo'; did you mean 'hailo'?", get_check, "halo")


def test_file_of_rank_4_is_read_back(tmp_path):
    path, _ = written("onnx", CHAIN, (1, 3, 40), tmp_path, **WIDE)
    tcnzoo.convert(path, tmp_path / "back")
    model = tcnzoo.load(tmp_path / "back", "numpy", dtype="float64")
    folded, weights = fold(tcnzoo.load_spec(CHAIN), weights_of(CHAIN), batch_norm=False)
    assert model.tcnzoo.spec == folded
    for name, array in tcnzoo.get_weights(model).items():
        np.testing.assert_array_equal(array, weights[name])
