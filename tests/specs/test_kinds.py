"""Specs answer for themselves: kinds, widths that go together, kernels before norms, trees."""

import subprocess
import sys
from typing import Literal

import pytest

import tcnzoo
from tcnzoo.specs import Spec
from tcnzoo.specs.base import KINDS
from tcnzoo.specs.families import FAMILIES
from tests.support.cases import BLOCKS, conv1d

GLU = {"kind": "glu"}
DENSE = {"kind": "dense", "in_features": 5, "out_features": 4}


def _sequential(*layers):
    named = {f"layer_{index}": layer for index, layer in enumerate(layers)}
    return tcnzoo.load_spec({"kind": "sequential", "layers": named})


def test_a_class_registers_itself_for_its_kind():
    class ScaleSpec(Spec):
        kind: Literal["scale_of_a_test"] = "scale_of_a_test"

    try:
        assert KINDS["scale_of_a_test"] is ScaleSpec
    finally:
        del KINDS["scale_of_a_test"]


def test_a_subclass_of_a_kind_does_not_take_its_place():
    class Named(type(tcnzoo.load_spec(DENSE))):
        """A dense layer of one's own."""

    assert Named.model_fields["kind"].default == "dense"
    assert KINDS["dense"] is type(tcnzoo.load_spec(DENSE)) is not Named


def test_kinds_that_are_fields_or_nodes_only_are_no_models():
    for kind in ("weight_norm", "merge"):
        with pytest.raises(tcnzoo.SpecError, match=f"unknown kind '{kind}'"):
            tcnzoo.load_spec({"kind": kind, "mode": "add"})


def test_fields_are_validated_without_asserts():
    script = (
        "import tcnzoo\n"
        "spec = dict(kind='conv_block', in_channels=3, out_channels=5, kernel_size=2, groups=2)\n"
        "try:\n    tcnzoo.load_spec(spec)\n"
        "except tcnzoo.SpecError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "in_channels must be a multiple of groups=2, but is 3"


@pytest.mark.parametrize(
    "layers, multiple",
    [
        ([GLU], 2),
        ([GLU, GLU], 4),
        ([{"kind": "device_split", "devices": 3}], 3),
        ([GLU, {"kind": "device_split", "devices": 3}, {"kind": "device_pool"}], 6),
        ([{"kind": "flatten", "length": 4}, GLU], 1),
        ([{"kind": "flatten", "length": 3}, GLU], 2),
        ([{"kind": "activation", "name": "relu"}], 1),
    ],
)
def test_channels_are_a_multiple_that_all_layers_divide(layers, multiple):
    spec = _sequential(*layers)
    assert spec.input_channels is None
    assert spec.channel_multiple == multiple
    length = spec.min_length()
    spec.output_shape(spec.signal_shape(length, multiple + 1))
    if multiple > 1:
        with pytest.raises(tcnzoo.InputError):
            spec.output_shape((multiple + 1, length))


def test_layers_within_a_stack_double_the_channels_of_its_input():
    inner = {"kind": "sequential", "layers": {"gate": GLU}}
    assert _sequential(inner, DENSE).input_channels == 10
    assert _sequential({"kind": "flatten", "length": 5}, DENSE).input_channels == 1


@pytest.mark.parametrize("kind", ["hdp", "hsmm"])
def test_a_layer_after_probabilities_takes_one_channel_for_each(kind):
    block = {
        "hdp": {"kind": "hdp", "clusters": 5, "channels": 3},
        "hsmm": {"kind": "hsmm", "states": 5, "max_duration": 4, "channels": 3},
    }[kind]
    assert _sequential(block, DENSE).channels_after(None) == 4
    with pytest.raises(tcnzoo.SpecError, match="but the layer before it gives 5"):
        _sequential(block, {**DENSE, "in_features": 3})


@pytest.mark.parametrize("name", BLOCKS)
def test_channels_after_are_those_of_the_output(name):
    spec = tcnzoo.load_spec(BLOCKS[name][0])
    shape = spec.signal_shape(spec.min_length(), 6)
    if spec.output_names:
        return
    assert spec.channels_after(shape[0]) == spec.output_shape(shape)[0]


def test_kernels_before_norms():
    norm = {"kind": "batch_norm", "channels": 5}
    spec = _sequential(conv1d(), norm, DENSE, {"kind": "glu"})
    assert spec.normed_kernels() == {"layer_0": "layer_1"}
    nodes = {
        "conv": {"layer": conv1d()},
        "norm": {"layer": norm, "inputs": ["conv"]},
        "both": {"layer": {"kind": "merge", "mode": "add"}, "inputs": ["conv", "norm"]},
    }
    graph = {"kind": "graph", "in_channels": 3, "nodes": nodes}
    assert tcnzoo.load_spec(graph).normed_kernels() == {}
    nodes["both"]["inputs"] = ["norm", "norm"]
    assert tcnzoo.load_spec(graph).normed_kernels() == {"conv": "norm"}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_batch_norm_of_a_block_has_its_kernel(name):
    for _, part in tcnzoo.load_spec(BLOCKS[name][0]).walk():
        if part.kind in ("sequential", "graph"):
            continue
        parts = part.children()
        normed = {child for child, spec in parts.items() if spec.kind == "batch_norm"}
        pairs = part.normed_kernels()
        assert normed <= set(pairs.values())
        assert pairs.keys() <= parts.keys()
        assert all(parts[kernel].is_kernel for kernel in pairs)


def test_layers_at_any_depth_are_mapped():
    inner = {"kind": "sequential", "layers": {"gate": GLU, "dense": DENSE}}
    graph = {"kind": "graph", "in_channels": 10, "nodes": {"stack": {"layer": inner}}}
    spec = _sequential(graph, {"kind": "activation", "name": "relu"})
    seen = []

    def change(layer):
        seen.append(layer.kind)
        return layer.model_copy(update={"bias": False}) if layer.kind == "dense" else layer

    changed = spec.map(change)
    assert seen == ["glu", "dense", "sequential", "graph", "activation", "sequential"]
    assert dict(changed.walk())["layer_0.stack.dense"].bias is False
    assert changed.map(lambda layer: layer) == changed != spec


def test_widths_come_from_the_spec_in_a_proof(backends):
    for spec in (GLU, {"kind": "device_split", "devices": 3}):
        report = tcnzoo.parity(spec, backends=backends, input_length=9, gradients=True)
        assert report.passed
        assert report.input_shape[1] % tcnzoo.load_spec(spec).channel_multiple == 0


def test_every_kind_is_of_a_family():
    modules = {spec.__module__ for spec in KINDS.values()}  # tests define kinds of their own
    assert {name for name in modules if name.startswith("tcnzoo.")} == {
        f"tcnzoo.specs.{family}" for family in FAMILIES
    }
