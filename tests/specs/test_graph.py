"""Graphs and models of a fixed length: what they compute, and how bad ones are refused."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SignalTooLong, SpecError
from tcnzoo.specs.analysis import describe, fitting_length
from tests.specs.test_field import extent, influence
from tests.support.cases import BLOCKS, conv1d, node
from tests.support.compare import assert_close, assert_refused, noise, reference, weights_of

ADD = {"kind": "merge", "mode": "add"}
SQUARE = conv1d(out_channels=3)


def graph(**nodes):
    return {"kind": "graph", "in_channels": 3, "nodes": nodes}


def test_a_residual_is_a_sum():
    spec = graph(body=node(SQUARE), sum=node(ADD, "body", "input"))
    weights, x = weights_of(spec), noise(2, 3, 20)
    conv = {name.removeprefix("body."): array for name, array in weights.items()}
    expected = x + tcnzoo.predict(reference(SQUARE, conv), x)
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, 1e-12)


@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_a_vector_acts_on_every_step(mode):
    spec = graph(mean=node({"kind": "pool"}), both=node({**ADD, "mode": mode}, "mean", "input"))
    x = noise(2, 3, 20)
    mean = x.mean(axis=2, keepdims=True)
    expected = x + mean if mode == "add" else x * mean
    assert_close(tcnzoo.predict(reference(spec, {}), x), expected, 1e-12)


def test_concat_puts_channels_in_the_named_order():
    nodes = {"crop": node({"kind": "pad", "left": 2, "right": -2})}
    spec = graph(**nodes, both=node({**ADD, "mode": "concat"}, "crop", "input"))
    x = noise(2, 3, 20)
    found = tcnzoo.predict(reference(spec, {}), x)
    np.testing.assert_array_equal(found[:, 3:], x)
    np.testing.assert_array_equal(found[:, :3, 2:], x[:, :, :-2])
    assert tcnzoo.load_spec(spec).out_channels == 6


def test_field_of_a_graph_reaches_as_far_as_any_branch_on_either_side():
    ahead = conv1d(4, out_channels=3, padding="same", dilation=2)
    nodes = {"back": node(conv1d(5, out_channels=3)), "ahead": node(ahead)}
    spec = tcnzoo.load_spec(graph(**nodes, sum=node(ADD, "back", "ahead")))
    seen = influence(spec, 30)
    # Four steps back, and half of (4 - 1) * 2 ahead.
    assert extent(seen[:, 15]) == spec.receptive_field() == 4 + 3 + 1


def test_description_lists_the_nodes_but_no_merges():
    spec = tcnzoo.load_spec(BLOCKS["graph-strided"][0])
    found = describe(spec, 36)
    assert [row.path for row in found.layers] == ["long", "short", "pooled", "inner.one"]
    assert [row.receptive_field for row in found.layers] == [4, 2, 8, 8 + 3 * 2 * 4]
    assert found.trainable == tcnzoo.count_params(spec).trainable
    assert found.macs == sum(row.macs for row in found.layers)


def test_branches_that_lag_differently_cannot_stream():
    late = conv1d(3, out_channels=3, padding="valid")
    spec = graph(
        late=node(late), crop=node({"kind": "pad", "right": -2}), sum=node(ADD, "late", "crop")
    )
    model = tcnzoo.create(spec, "numpy")
    with pytest.raises(InputError, match="lag differently .late by 2, crop by 0 steps."):
        tcnzoo.init_state(model)
    odd = graph(
        late=node({**late, "stride": 2}),
        even=node(conv1d(2, out_channels=3, stride=2)),
        sum=node({**ADD, "mode": "concat"}, "late", "even"),
    )
    with pytest.raises(SpecError, match="merge 'concat' takes signals of one length"):
        tcnzoo.load_spec(odd)


REFUSED = {
    "unknown input": (
        graph(a=node(SQUARE, "b")), "node 'a' reads 'b', which is no earlier node"
    ),
    "later input": (
        graph(a=node(SQUARE, "b"), b=node(SQUARE)), "node 'a' reads 'b', which is no earlier node"
    ),
    "unread": (
        graph(a=node(SQUARE), b=node(SQUARE)), "no node reads 'a', and it is not the last one"
    ),
    "lone merge": (graph(a=node(ADD)), "a merge takes two or more inputs, but got 1"),
    "two inputs": (
        graph(a=node(SQUARE), b=node(SQUARE, "a", "input")), "a conv1d takes one input, but got 2"
    ),
    "channels": (
        graph(a=node(conv1d(out_channels=4)), b=node(ADD, "a", "input")),
        "node 'b': merge 'add' takes signals of one shape, but got (4, 1048576) and (3, 1048576)",
    ),
    "reserved": (graph(input=node(SQUARE)), "node name 'input' is reserved; choose another"),
    "merge alone": (ADD, "unknown kind 'merge'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_graph_is_refused(name):
    document, sentence = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec(document)
    assert sentence in str(caught.value)


def flattened(length, width, **conv):
    return {
        "kind": "sequential",
        "layers": {
            "conv": conv1d(**conv),
            "flat": {"kind": "flatten", "length": length},
            "head": {"kind": "dense", "in_features": width, "out_features": 2},
        },
    }


def test_a_flattened_model_takes_one_length():
    spec = tcnzoo.load_spec(flattened(7, 35, stride=3))
    assert spec.min_length() == describe(spec).input_shape[1] == 19
    model = tcnzoo.create(spec, "numpy")
    assert tcnzoo.predict(model, noise(2, 3, 21)).shape == (2, 2)
    sentence = "layer 'flat': flatten expects 7 time steps, but {} came"
    for length, steps, error in ((18, 6, InputError), (22, 8, SignalTooLong)):
        x = noise(2, 3, length)
        assert_refused(error, sentence.format(steps), tcnzoo.predict, model, x)


def test_a_dense_layer_on_a_flattened_input_says_the_channels():
    layers = {"flat": {"kind": "flatten", "length": 12}}
    layers["head"] = {"kind": "dense", "in_features": 36, "out_features": 2}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    assert (spec.input_channels, spec.min_length()) == (3, 12)
    model = tcnzoo.create(spec, "numpy")
    assert tcnzoo.predict(model, noise(2, 3, 12)).shape == (2, 2)


def test_a_length_that_never_comes_out_is_refused():
    document = flattened(7, 35)
    document["layers"]["conv"] = {"kind": "upsample", "factor": 2}
    document["layers"]["head"]["in_features"] = 14
    with pytest.raises(SpecError, match="flatten expects 7 time steps, but 8 came"):
        tcnzoo.load_spec(document)


def test_a_width_that_does_not_fit_a_flattened_signal_is_refused():
    with pytest.raises(SpecError, match="expects 36 channels, but the layer before it gives 35"):
        tcnzoo.load_spec(flattened(7, 36))


@pytest.mark.parametrize(
    "spec, sentence",
    [
        ({"kind": "window_pool", "mode": "max", "size": 3, "padding": "same"}, "looks ahead"),
        ({"kind": "window_pool", "mode": "max", "size": 3}, "must name its channels to stream"),
        ({"kind": "flatten", "length": 7}, "flatten needs the whole signal"),
        ({"kind": "pad", "left": 1}, "use padding 'causal' of the convolution"),
        (conv1d(padding="same_upper"), "padding 'same_upper' looks ahead"),
        ({"kind": "pool", "mode": "last"}, "needs the whole signal"),
    ],
)
def test_what_cannot_stream_says_why(spec, sentence):
    with pytest.raises(InputError, match=sentence):
        tcnzoo.init_state(tcnzoo.create(spec, "numpy"))


def test_a_model_of_lengths_that_divide_is_given_one():
    down = node(conv1d(2, stride=2, padding="valid", out_channels=3))
    back = node({"kind": "upsample", "factor": 2}, "down")
    spec = tcnzoo.load_spec(graph(down=down, back=back, sum=node(ADD, "back", "input")))
    assert fitting_length(spec, 7) == 8
    assert tcnzoo.parity(spec, None, ["numpy"]).passed
