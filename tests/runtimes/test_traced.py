"""Torch models as they are traced for other runtimes: the same numbers, axes open, names."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.exporters.calm import calm, converting
from tcnzoo.exporters.rewrites import rewritten
from tcnzoo.exporters.traced import input_names, labelled, program
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import (
    assert_close,
    assert_refused,
    noise,
    reference,
    rows_for,
    weights_of,
)
from tests.support.exported import options_for
from tests.support.tcns import tcn

torch = pytest.importorskip("torch")

# Blocks with an operator that is rewritten, and some that work with the length of the signal.
REWRITTEN = (
    "activation-gelu_tanh", "conv1d-causal-circular", "conv1d-same-reflect",
    "conv_transpose1d-same-k5-s2-d2",
    "pool-adaptive_average-5", "pool-adaptive_max-5", "pad-circular-3--2",
    "pad-zeros--2-0", "pad-reflect-3--2", "window_pool-average-same_upper-4-2",
)  # fmt: skip
ODD = ("circular", "adaptive", "new_ones", "alias")


def traced(spec, shape, dtype="float32", **options):
    """(traced and rewritten module, note) of a model with weights that hide nothing."""
    spec = tcnzoo.load_spec(spec)
    with calm():
        found, note = program(spec, weights_of(spec), options_for(shape, **options), dtype)
        return rewritten(found, executorch=True), note


def both(found, spec, shape):
    """Outputs for noise of `shape`: (the traced module's, the float64 reference's)."""
    spec = tcnzoo.load_spec(spec)
    x, rows = noise(*shape), rows_for(spec, shape[0], shape[-1])
    inputs = [torch.from_numpy(one).float() for one in (x, *rows)]
    with torch.no_grad(), calm():
        y = found.module()(*inputs)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x, embeddings=rows)
    return labelled(y if isinstance(y, tuple) else [y]), expected


def operators(found):
    """Names of all operators of a traced module."""
    return {str(node.target) for node in found.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize("name", REWRITTEN)
def test_rewritten_block_equals_reference(name):
    spec, shape = BLOCKS[name]
    found, _ = traced(spec, shape)
    assert not {one for one in operators(found) if any(odd in one for odd in ODD)}
    for one in ((2, 3, 37), (1, 3, 37), (3, 3, 52)):
        assert_close(*both(found, spec, one))


@pytest.mark.parametrize("name", ["pool-adaptive_max-5", "pool-adaptive_average-5"])
def test_pool_of_one_length_equals_reference(name):
    spec, shape = BLOCKS[name]
    found, _ = traced(spec, shape, dynamic=False)
    assert "aten.adaptive_max_pool1d.default" not in operators(found)
    assert_close(*both(found, spec, shape))


def test_only_the_tanh_form_of_gelu_is_rewritten():
    for name, kept in (("activation-gelu", True), ("activation-gelu_tanh", False)):
        found, _ = traced(*BLOCKS[name], dynamic=False)
        assert ("aten.gelu.default" in operators(found)) == kept


def test_negative_padding_becomes_a_slice():
    found, _ = traced(*BLOCKS["conv_transpose1d-causal-k4-s2-d1"], dynamic=False)
    pads = [node for node in found.graph.nodes if "pad" in str(node.target)]
    assert not any(value < 0 for node in pads for value in node.args[1])


@pytest.mark.parametrize(
    "spec",
    [
        tcn("concat", "cumulative", norm="layer_norm", gate=True, skip_connections=True),
        tcn(norm="batch_norm", causal=False),
    ],
    ids=["layer_norm-all", "batch_norm"],
)
def test_tcn_takes_any_batch_and_length(spec):
    found, note = traced(spec, (1, 3, 37))
    assert note == "takes any batch, and any length"
    for shape in ((1, 3, 37), (2, 3, 19), (5, 3, 3)):
        assert_close(*both(found, spec, shape))


def test_norms_of_kernels_are_folded():
    spec = {**conv1d(), "kind": "conv_block", "norm": "batch_norm"}
    found, _ = traced(spec, SIGNAL, dynamic=False)
    assert not any("norm" in one for one in operators(found))
    assert not any("norm" in one for one in operators(traced(tcn(norm="weight_norm"), SIGNAL)[0]))


def test_a_model_of_one_length_keeps_it():
    spec, shape = BLOCKS["flatten-time"]
    found, note = traced(spec, shape)
    assert note == "takes any batch, and 37 time steps only"
    assert_close(*both(found, spec, (3, 3, 37)))


def test_a_model_of_vectors():
    spec, shape = BLOCKS["dense_block-batch_norm"]
    found, note = traced(spec, shape)
    assert note == "takes any batch"
    assert_close(*both(found, spec, (9, 3)))


def test_what_cannot_stay_open_is_traced_for_its_shape(monkeypatch):
    spec = tcnzoo.load_spec(conv1d())
    block = type(tcnzoo.create(spec, "torch"))
    forward = block.forward

    def counting(self, x, stream=None):
        steps = [x[:, :, one] for one in range(x.shape[2])]  # as many as torch has seen
        return forward(self, torch.stack(steps, dim=2), stream)

    monkeypatch.setattr(block, "forward", counting)
    found, note = traced(spec, (1, 3, 9))
    assert note == "takes inputs of shape (1, 3, 9) only"
    assert_close(*both(found, spec, (1, 3, 9)))


def test_half_precision_computes_in_float16_between_float32_ends():
    found, _ = traced(tcn(), SIGNAL, dtype="float16", dynamic=False)
    assert {one.dtype for one in found.state_dict.values()} == {torch.float16}
    y, expected = both(found, tcn(), SIGNAL)
    assert y.dtype == np.float32
    assert np.abs(y - expected).max() > 1e-4
    assert_close(y, expected, tolerance=5e-3)  # each operator rounds to 11 bits


def test_names_of_inputs_are_those_of_the_trace():
    spec = tcnzoo.load_spec(tcn("add"))
    found, _ = traced(spec, SIGNAL)
    assert list(found.graph_signature.user_inputs) == input_names(spec)
    assert input_names(spec) == ["x", "embedding_0", "embedding_1"]


@pytest.mark.parametrize(
    "error, sentence",
    [
        (ValueError("no such thing\nat line 3"), "Tool cannot convert this conv1d: no such thing"),
        (AssertionError(), "Tool cannot convert this conv1d: AssertionError"),
    ],
)
def test_a_compiler_refuses_in_one_sentence(error, sentence):
    def fail():
        with converting("Tool", tcnzoo.load_spec(conv1d())):
            raise error

    assert_refused(SpecError, sentence, fail)


@pytest.mark.parametrize("error", [InputError("mine"), FileNotFoundError("gone"), MemoryError()])
def test_errors_that_are_not_the_compilers_pass(error):
    def fail():
        with converting("Tool", tcnzoo.load_spec(conv1d())):
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error


@pytest.mark.parametrize("name", ["forward", "state_dict", "training"])
def test_layers_with_names_of_torch_are_traced(name):
    layers = {name: conv1d(), "then": {"kind": "batch_norm", "channels": conv1d()["out_channels"]}}
    spec = {"kind": "sequential", "layers": layers}
    module, _ = traced(spec, SIGNAL)
    assert_close(*both(module, spec, SIGNAL))
