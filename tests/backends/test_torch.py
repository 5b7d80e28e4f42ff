"""Torch modules behave as torch modules: compile, export, autocast, optimise, copy, move."""

import copy
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

import tcnzoo
from tcnzoo.models.backend import get_backend
from tcnzoo.models.pointwise import POINTWISE
from tests.support.cases import BLOCKS
from tests.support.compare import assert_close, noise, reference, rows_for, weights_of
from tests.support.tcns import tcn

SPECS = {
    "tcn": tcn(norm="weight_norm", gate=True, skip_connections=True, activation="gelu"),
    "tcn-se": tcn(norm="batch_norm", squeeze_excitation="cumulative", padding_mode="reflect"),
    "strided": BLOCKS["conv_block-strided"][0],
    "transposed": BLOCKS["conv_transpose1d-same-k5-s2-d2"][0],
    "nested": BLOCKS["sequential-nested"][0],
}


def _model(spec, **options):
    return tcnzoo.create(spec, "torch", weights=weights_of(spec), **options)


def _signal(*shape):
    return torch.from_numpy(noise(*shape).astype(np.float32))


@pytest.mark.parametrize("name", SPECS)
def test_state_dict_has_the_neutral_names_in_table_order(name):
    model = _model(SPECS[name])
    weights = tcnzoo.get_weights(model)
    assert set(model.state_dict()) == set(weights)
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[key])
    other = tcnzoo.create(SPECS[name], "torch", seed=9)
    assert str(other.load_state_dict(model.state_dict())) == "<All keys matched successfully>"


def test_statistics_are_buffers_and_all_else_is_trained():
    model = _model(SPECS["tcn-se"])
    table = model.tcnzoo.params
    assert {name for name, _ in model.named_buffers()} == {
        n for n, p in table.items() if not p.trainable
    }
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_created_and_loaded_modules_are_in_evaluation_mode(tmp_path):
    model = _model(SPECS["tcn"])
    tcnzoo.save(model, tmp_path / "saved")
    for one in (model, tcnzoo.load(tmp_path / "saved")):
        assert not any(module.training for module in one.modules())


def test_predict_leaves_every_part_in_its_mode():
    model = _model(tcn()).train()
    model.blocks.get_submodule("0").eval()  # frozen by hand, say
    before = {name: part.training for name, part in model.named_modules()}
    x = noise(2, 3, 21)
    np.testing.assert_array_equal(tcnzoo.predict(model, x), tcnzoo.predict(model, x))
    assert {name: part.training for name, part in model.named_modules()} == before
    assert model.training
    assert not model.blocks.get_submodule("0").training


@pytest.mark.parametrize("name", SPECS)
def test_called_module_gives_what_predict_gives(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    with torch.enable_grad():
        y = model(x)
    assert y.requires_grad
    expected = tcnzoo.predict(reference(SPECS[name], weights_of(SPECS[name])), x.numpy())
    assert_close(y.detach().numpy(), expected)


def test_every_parameter_gets_a_gradient():
    spec = tcn("concat", "cumulative", norm="weight_norm", gate=True, skip_connections=True)
    model, x = _model(spec), _signal(2, 3, 21)
    rows = [torch.from_numpy(row).float() for row in rows_for(spec, 2, 21)]
    model.train()(x, None, rows).square().mean().backward()
    idle = [
        name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()
    ]
    assert idle == []


@pytest.mark.parametrize("name", ["tcn", "tcn-se", "strided"])
def test_training_lowers_the_loss(name):
    torch.manual_seed(0)
    model, x = _model(SPECS[name]).train(), _signal(4, 3, 21)
    target = torch.tanh(_signal(*model(x).shape))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = F.mse_loss(model(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    after = tcnzoo.predict(reference(SPECS[name], tcnzoo.get_weights(model)), x.numpy())
    assert_close(tcnzoo.predict(model, x.numpy()), after)


def test_deep_copy_is_independent():
    model, x = _model(SPECS["tcn"]), noise(2, 3, 21)
    before = tcnzoo.predict(model, x)
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(tcnzoo.predict(twin, x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(0.5)
    assert abs(tcnzoo.predict(twin, x) - before).max() > 1e-3
    np.testing.assert_array_equal(tcnzoo.predict(model, x), before)
    tcnzoo.gradients(model, x, np.zeros_like(before))  # weight norm still works in both
    tcnzoo.gradients(twin, x, np.zeros_like(before))


@pytest.mark.parametrize("name", SPECS)
def test_export(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    exported = torch.export.export(model, (x,)).module()
    assert_close(exported(x).detach().numpy(), tcnzoo.predict(model, x.numpy()))


def test_export_of_any_length():
    spec = tcn(norm="batch_norm", gate=True)
    model, time = _model(spec), torch.export.Dim("time", min=4, max=4096)
    shapes = {"x": {2: time}, "stream": None, "embeddings": None}
    program = torch.export.export(model, (_signal(2, 3, 21), None, None), dynamic_shapes=shapes)
    for length in (5, 300):
        x = _signal(2, 3, length)
        found = program.module()(x, None, None).detach().numpy()
        assert_close(found, tcnzoo.predict(model, x.numpy()), label=str(length))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compile():
    # One block: the C++ compiler takes seconds for each kernel.
    model, x = _model({**tcn(norm="weight_norm"), "channels": [4]}), _signal(2, 3, 21)
    with torch.no_grad():
        y = torch.compile(model, fullgraph=True)(x)
    assert_close(y.numpy(), tcnzoo.predict(model, x.numpy()))


@pytest.mark.parametrize("name", ["tcn", "strided"])
def test_compiled_graph_is_whole_and_differentiates(name):
    # Without the C++ compiler: forward and backward are traced, and run operation by operation.
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    y = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    y.square().mean().backward()
    _, expected = tcnzoo.gradients(_model(SPECS[name]), x.numpy(), np.zeros(y.shape))
    for key, parameter in model.named_parameters():
        assert_close(parameter.grad.numpy(), expected[key], label=key)


@pytest.mark.parametrize("name", ["tcn", "tcn-se", "nested"])
def test_autocast(name):
    model, x = _model(SPECS[name]), _signal(2, 3, 21)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y = model(x)
    # Eight bits of mantissa through six convolutions.
    assert_close(y.float().numpy(), tcnzoo.predict(model, x.numpy()), 0.1)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_conversion_to_double_is_followed():
    spec = SPECS["tcn"]
    model, x = _model(spec).double(), noise(2, 3, 21)
    y = tcnzoo.predict(model, x)
    assert y.dtype == np.float64
    assert_close(y, tcnzoo.predict(reference(spec, weights_of(spec)), x), 1e-12)


@pytest.mark.parametrize("device", get_backend("torch").info().devices)
def test_every_device_agrees(device):
    spec = tcn("add", "cumulative", norm="batch_norm", gate=True)
    model = _model(spec, device=device)
    assert {parameter.device.type for parameter in model.parameters()} == {
        torch.device(device).type
    }
    report = tcnzoo.parity(spec, backends=[model], input_length=61)
    assert report.passed or device != "cpu", report
    x, rows = noise(2, 3, 61), rows_for(spec, 2, 61)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x, embeddings=rows)
    assert_close(tcnzoo.predict(model, x, embeddings=rows), expected)


def test_absent_device_is_named():
    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(
        tcnzoo.InputError, match=f"torch sees the devices cpu.*, but '{absent}' was asked"
    ):
        tcnzoo.create(tcn(), "torch", device=absent)


def test_a_kind_that_the_backend_lacks_is_one_sentence(monkeypatch):
    monkeypatch.delitem(get_backend("torch").BLOCKS, "pool")
    with pytest.raises(tcnzoo.SpecError, match="^backend 'torch' has no block of kind 'pool'$"):
        tcnzoo.create({"kind": "pool", "mode": "last"}, "torch")


def test_absent_parts_and_tensors_are_none_and_unnamed():
    block = _model(tcn(norm=None, dropout=0.0)).blocks["0"]
    assert block.norm1 is None
    assert block.se is None
    assert block.embedding1 is None
    assert not any("norm" in name for name in block.state_dict())
    dense = tcnzoo.create({"kind": "dense", "in_features": 3, "out_features": 2, "bias": False})
    assert dense.bias is None
    assert [*dense.state_dict()] == ["weight"]


def test_a_part_that_a_class_does_not_declare_is_an_error(monkeypatch):
    block = get_backend("torch").BLOCKS["conv_block"]
    monkeypatch.setattr(block, "declared_parts", block.declared_parts - {"conv"})
    with pytest.raises(TypeError, match="^ConvBlock declares no part 'conv'$"):
        _model(SPECS["strided"])


def test_every_pointwise_block_is_made_without_a_file_of_its_own():
    blocks = get_backend("torch").BLOCKS
    assert len({blocks[kind] for kind in POINTWISE}) == 1
