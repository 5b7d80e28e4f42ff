"""ONNX files of every block and preset, run with onnxruntime beside the float64 reference."""

from typing import get_args

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.exporters.onnx.block import WRITERS
from tcnzoo.exporters.onnx.builder import Graph
from tcnzoo.exporters.onnx.model import to_proto
from tcnzoo.runtimes.protocol import get_exporter
from tcnzoo.specs import AnySpec
from tcnzoo.specs.folding import fold
from tests.parity.test_presets import LENGTHS, shallow
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import assert_close, assert_refused, assert_same_bits, noise, weights_of
from tests.support.exported import options_for, ran, written
from tests.support.tcns import covering, tcn, tcn_grid

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ROWS = covering(tcn_grid())
# Every value is rounded to 11 bits between operators.
HALF = 5e-3

# Blocks that work with the length of the signal, and so are written otherwise where it is open.
OF_LENGTH = {
    name: BLOCKS[name][0]
    for name in (
        "conv1d-causal-circular", "conv1d-same-reflect", "conv1d-same_upper-k4-s3-d2-L37",
        "window_pool-average-same_upper-4-2", "window_pool-max-same_upper-4-2",
        "pool-adaptive_average-5", "pool-adaptive_max-5", "pool-adaptive_max-41", "pool-middle",
        "pool-last", "upsample-linear-5", "squeeze_excitation-cumulative-r2-res0",
        "conv_transpose1d-same-k5-s2-d2", "pad-circular-2-3", "pad-reflect-3--2",
        "rms_norm-g2", "mamba2-groups", "mamba2-d_ssm", "bi_mamba2-shared1",
    )
}  # fmt: skip
# A recursion over time, which is refused.
WRITTEN = [name for name, (spec, _) in BLOCKS.items() if spec["kind"] != "hsmm"]


def inside(path):
    """The model of a file, checked whole."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("dynamic", [True, False], ids=["open", "static"])
@pytest.mark.parametrize("name", WRITTEN)
def test_block_equals_reference(name, dynamic, tmp_path):
    spec, shape = BLOCKS[name]
    path, options = written("onnx", spec, shape, tmp_path, dynamic=dynamic)
    assert_close(*ran("onnx", spec, path, options, shape))


def test_every_kind_of_block_can_be_written():
    classes = get_args(get_args(AnySpec)[0])
    kinds = {spec.model_fields["kind"].default for spec in classes}
    assert kinds | {"merge", "qkv"} == WRITERS.keys()  # nodes and parts


@pytest.mark.parametrize("name", OF_LENGTH)
def test_open_axes_take_any_batch_and_length(name, tmp_path):
    spec = OF_LENGTH[name]
    channels = BLOCKS[name][1][1]
    path, options = written("onnx", spec, (2, channels, 37), tmp_path)
    for batch, length in ((1, 19), (3, 52), (2, 41)):
        assert_close(*ran("onnx", spec, path, options, (batch, channels, length)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.values())))
def test_tcn_equals_reference(row, tmp_path):
    path, options = written("onnx", tcn(**row), SIGNAL, tmp_path)
    assert_close(*ran("onnx", tcn(**row), path, options, (3, 3, 29)))


@pytest.mark.parametrize("name", LENGTHS)
def test_preset_equals_reference(name, tmp_path):
    spec = shallow(name)
    shape = (1, *spec.signal_shape(LENGTHS[name]))
    path, options = written("onnx", spec, shape, tmp_path)
    inside(path)
    assert_close(*ran("onnx", spec, path, options, shape))


@pytest.mark.parametrize("name", [name for name in WRITTEN if "d3" not in name])
def test_half_precision_is_near_the_reference(name, tmp_path):
    spec, shape = BLOCKS[name]
    path, options = written("onnx", spec, shape, tmp_path, precision="float16")
    for one in inside(path).graph.initializer:
        if not one.name.startswith("/constant/"):
            assert one.data_type == onnx.TensorProto.FLOAT16, one.name
    # The layers come one after the other, each with roundings of its own.
    layers = spec.get("layers", 1) if spec["kind"] == "bi_mamba2" else 1
    assert_close(*ran("onnx", spec, path, options, shape), tolerance=layers * HALF)


def test_half_precision_refuses_a_weight_that_it_does_not_hold(tmp_path):
    spec = tcnzoo.load_spec(conv1d(bias=False))
    weights = {"weight": np.full((5, 3, 4), 7e4, np.float32)}
    exporter, options = get_exporter("onnx"), options_for(SIGNAL, precision="float16")
    sentence = "tensor 'weight' holds values that float16 does not; use float32"
    path = tmp_path / "a.onnx"
    assert_refused(WeightError, sentence, exporter.export, spec, weights, path, options)


def test_file_holds_the_folded_spec_and_the_neutral_weights(tmp_path):
    spec = tcnzoo.load_spec(tcn("concat", "cumulative", norm="weight_norm", gate=True))
    path, _ = written("onnx", spec, SIGNAL, tmp_path)
    model = inside(path)
    said = {one.key: one.value for one in model.metadata_props}
    folded, weights = fold(spec, weights_of(spec))
    assert said["format"] == "tcnzoo-onnx"
    assert read_config(said["config"], "the file") == folded
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for name, array in weights.items():
        np.testing.assert_array_equal(held[name], array)
    assert all(name in weights or name.startswith("/constant/") for name in held)


@pytest.mark.parametrize("name", ["rms_norm-g2", "mamba2-d_ssm", "bi_mamba2-shared0"])
def test_file_with_a_loop_is_read_back_to_the_bit(name, tmp_path):
    spec, shape = BLOCKS[name]
    path, _ = written("onnx", spec, shape, tmp_path)
    tcnzoo.convert(path, tmp_path / "back")
    model = tcnzoo.load(tmp_path / "back", "numpy")
    assert model.tcnzoo.spec == tcnzoo.load_spec(spec)
    assert_same_bits(tcnzoo.get_weights(model), weights_of(spec))


def test_batch_norm_stays_a_node_with_its_eps(tmp_path):
    spec = {**conv1d(), "kind": "conv_block", "norm": {"kind": "batch_norm", "eps": 0.25}}
    path, _ = written("onnx", spec, SIGNAL, tmp_path)
    (node,) = [one for one in inside(path).graph.node if one.op_type == "BatchNormalization"]
    assert [one.f for one in node.attribute if one.name == "epsilon"] == [0.25]
    assert list(node.input)[1:] == [
        f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    ]


def test_open_axes_are_named(tmp_path):
    path, _ = written("onnx", conv1d(), SIGNAL, tmp_path)
    (port,) = inside(path).graph.input
    sizes = port.type.tensor_type.shape.dim
    assert [one.dim_param or one.dim_value for one in sizes] == ["batch", 3, "time"]


def test_equal_constants_are_one(tmp_path):
    path, _ = written("onnx", tcn(norm="layer_norm", embeddings="add"), SIGNAL, tmp_path)
    constants = [
        (one.data_type, tuple(one.dims), one.raw_data)
        for one in inside(path).graph.initializer
        if one.name.startswith("/constant/")
    ]
    assert len(constants) == len(set(constants))


def test_one_value_can_be_several_outputs():
    graph = Graph(np.dtype(np.float32))
    x = graph.input("x", (2,))
    (y,) = graph.add("Relu", [x])
    for value, name in ((y, "a"), (y, "b"), (x, "c")):
        graph.output(value, name, (2,))
    session = onnxruntime.InferenceSession(to_proto(graph, {}).SerializeToString())
    found = session.run(None, {"x": np.array([-1.0, 2.0], np.float32)})
    np.testing.assert_array_equal(found, [[0, 2], [0, 2], [-1, 2]])


def test_int8_answers_like_its_source(tmp_path):
    spec = {
        "kind": "sequential",
        "layers": {
            "a": {**conv1d(), "kind": "conv_block", "norm": "batch_norm", "activation": "relu"},
            "pool": {"kind": "pool"},
            "head": {"kind": "dense", "in_features": 5, "out_features": 4},
        },
    }
    model = tcnzoo.create(spec, "numpy", weights=weights_of(spec))
    signals = noise(60, 3, 37).astype(np.float32)
    path = tmp_path / "a.onnx"
    report = tcnzoo.export(
        model, path, precision="int8", representative=signals, input_length=37, samples=40
    )
    random, given = report.comparisons
    assert (random.shape, given.input, given.shape) == ((40, 3, 37), "representative", (60, 3, 37))
    assert report.tolerance is None
    # Not the same numbers, but near ones: 255 steps for the range of each value.
    assert 1e-3 < random.absolute < 0.3
    assert given.agreement > 0.8
    assert "QuantizeLinear" in {one.op_type for one in inside(path).graph.node}
    said = {one.key: one.value for one in inside(path).metadata_props}
    assert said["format"] == "tcnzoo-onnx-int8"


def test_int8_leaves_the_recurrence_and_its_norm_in_float(tmp_path):
    spec, (_, channels, length) = BLOCKS["mamba2-plain"]
    model = tcnzoo.create(spec, "numpy", weights=weights_of(spec))
    report = tcnzoo.export(
        model,
        tmp_path / "a.onnx",
        precision="int8",
        representative=noise(60, channels, length).astype(np.float32),
        input_length=length,
        samples=40,
    )
    # Of values of 3; with the norm in 8 bits it is 5.
    assert 1e-3 < report.comparisons[1].absolute < 1.0
    assert report.comparisons[1].agreement > 0.9


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            {"rank": 4, "streaming": True, "dynamic": False},
            "rank 4 is written offline, for one shape and batch size 1 only",
        ),
        (
            {"precision": "int8", "streaming": True},
            "int8 is written offline, and for models without embeddings only",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(change, sentence, tmp_path):
    exporter, options = get_exporter("onnx"), options_for((1, 3, 37), **change)
    spec = tcnzoo.load_spec(conv1d())
    arguments = (spec, weights_of(spec), tmp_path / "a.onnx", options)
    assert_refused(InputError, sentence, exporter.export, *arguments)
    assert not list(tmp_path.iterdir())


def test_more_than_a_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tcnzoo.exporters.onnx.model.LARGEST", 100)
    with pytest.raises(SpecError, match="less than 2 GiB, but the weights take 2"):
        written("onnx", conv1d(), SIGNAL, tmp_path)
