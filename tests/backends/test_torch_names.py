"""Layers may have any name in torch, that of a method of torch.nn.Module, too."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch

import tcnzoo
from tcnzoo.exporters.traced import rename_hidden_parts
from tcnzoo.models.backend import get_backend
from tcnzoo.specs.sequential import RESERVED
from tests.support.compare import assert_close, noise, reference

CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 5, "kernel_size": 3}
NORM = {"kind": "batch_norm", "channels": 5}


def _attributes():
    """Names of the attributes that a model has which a layer may be called."""
    block = tcnzoo.create({"kind": "sequential", "layers": {"only": CONV}}, "torch")
    names = {*dir(block), *dir(torch.nn.Module())} - {"only", *RESERVED}
    return sorted(name for name in names if re.fullmatch("[a-z][a-z0-9_]*", name))


def _sequential(name):
    return {"kind": "sequential", "layers": {name: CONV, "then": NORM}}


def _graph(name):
    nodes = {name: {"layer": CONV}, "then": {"inputs": [name], "layer": NORM}}
    return {"kind": "graph", "in_channels": 3, "nodes": nodes}


@pytest.fixture(params=[_sequential, _graph], ids=["sequential", "graph"])
def spec_of(request):
    return request.param


@pytest.mark.parametrize("name", _attributes())
def test_a_layer_of_any_name(spec_of, name):
    spec, x = spec_of(name), noise(2, 3, 9).astype(np.float32)
    model = tcnzoo.create(spec, "torch", seed=1)
    y = tcnzoo.predict(model, x)
    weights = tcnzoo.get_weights(model)
    assert_close(y, tcnzoo.predict(reference(spec, weights), x))
    assert model.state_dict().keys() == weights.keys()
    assert f"{name}.weight" in weights
    assert [path for path, _ in model.walk()] == ["", name, "then"]

    other = tcnzoo.create(spec, "torch", seed=2)
    assert str(other.load_state_dict(model.state_dict())) == "<All keys matched successfully>"
    for same in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(tcnzoo.predict(same, x), y)

    layer = dict(model.named_children())[name]
    assert model.train().training
    assert layer.training
    assert not model.eval().training
    assert not layer.training
    assert tcnzoo.predict(model.double(), x).dtype == np.float64
    model.float()

    calls = []
    hook = layer.register_forward_hook(lambda *call: calls.append(call))
    state = tcnzoo.init_state(model, 2)
    streamed, _ = tcnzoo.step(model, x, state)
    assert_close(streamed, y)
    hook.remove()
    assert len(calls) == 1
    assert [*get_backend("torch").trace(model, x, [])][0] == name
    _, gradients = tcnzoo.gradients(model, x, np.zeros_like(y))
    assert np.abs(gradients[f"{name}.weight"]).max() > 0


@pytest.mark.parametrize("name", ["float", "state_dict", "training", "forward"])
def test_torch_export_after_renaming(spec_of, name):
    model, x = tcnzoo.create(spec_of(name), "torch", seed=1), torch.from_numpy(noise(2, 3, 9))
    y = tcnzoo.predict(model, x)
    rename_hidden_parts(model)
    program = torch.export.export(model, (x.float(),)).module()
    assert_close(program(x.float()).detach().numpy(), y)


def test_a_layer_can_be_replaced_by_attribute():
    model = tcnzoo.create(_sequential("conv"), "torch", seed=1)
    model.conv = tcnzoo.create(CONV, "torch", seed=2)
    assert dict(model.named_children())["conv"] is model.conv
