"""Options of the torch backend: they change memory and speed, and no switch of torch's own."""

import contextlib
import copy
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tcnzoo
from tcnzoo.backends.torch import options
from tcnzoo.backends.torch.run import activation_bytes
from tcnzoo.models.backend import installed_backends
from tests.support.cases import BLOCKS, mamba2
from tests.support.compare import assert_close, noise, weights_of
from tests.support.tcns import tcn

MAMBA = {"head_dim": 2, "d_state": 5, "chunk_size": 8}
SPECS = {
    "tcn": tcn(norm="batch_norm", skip_connections=True),
    "tcn-dropout": tcn(norm="batch_norm", dropout=0.4),
    "tcn-se-weight_norm": tcn(norm="weight_norm", squeeze_excitation="cumulative", gate=True),
    "mamba2": mamba2(chunk_size=8),
    "bi_mamba2": {
        "kind": "bi_mamba2", "channels": 3, "layers": 2, "mamba": {**MAMBA, "expand": 4},
        "dropout": 0.3,
    },
    "temporal_block": BLOCKS["temporal_block_2d-batch_norm-causal1"][0],
}  # fmt: skip


def _signal(name, batch=2, length=37):
    devices = (2,) if name == "temporal_block" else ()
    return noise(batch, 3, *devices, length).astype(np.float32)


def _create(spec, **fields):
    return tcnzoo.create(spec, "torch", weights=weights_of(spec), **fields)


def _step(model, x):
    """Loss and gradients in training, with the random numbers of a seed."""
    target = np.ones_like(tcnzoo.predict(model, x))
    torch.manual_seed(5)
    return tcnzoo.gradients(model, x, target, training=True)


@pytest.mark.parametrize("name", SPECS)
def test_checkpointing_gives_the_same_numbers(name):
    """Bit for bit: outputs, gradients with dropout, and running statistics updated once."""
    plain, saving = _create(SPECS[name]), _create(SPECS[name], checkpointing="blocks")
    x = _signal(name)
    (loss, expected), (again, found) = _step(plain, x), _step(saving, x)
    assert loss == again
    for key, gradient in expected.items():
        np.testing.assert_array_equal(found[key], gradient, key)
    for key, array in tcnzoo.get_weights(plain).items():
        np.testing.assert_array_equal(tcnzoo.get_weights(saving)[key], array, key)
    np.testing.assert_array_equal(tcnzoo.predict(saving, x), tcnzoo.predict(plain, x))


def test_statistics_do_change_and_dropout_does_draw():
    """What the test above compares is not what it was before the step."""
    model, x = _create(SPECS["tcn-dropout"], checkpointing="blocks"), _signal("tcn")
    before = tcnzoo.get_weights(model)
    _, first = _step(model, x)
    moved = [n for n, one in tcnzoo.get_weights(model).items() if (one != before[n]).any()]
    assert moved
    assert all("running" in name for name in moved)
    tcnzoo.set_weights(model, before)
    torch.manual_seed(6)
    _, second = tcnzoo.gradients(model, x, np.ones_like(tcnzoo.predict(model, x)), training=True)
    assert any((first[name] != second[name]).any() for name in first)


@pytest.mark.parametrize("name", SPECS)
def test_checkpointing_keeps_fewer_bytes(name):
    x = _signal(name, length=200)
    kept = activation_bytes(_create(SPECS[name]), x)
    assert activation_bytes(_create(SPECS[name], checkpointing="blocks"), x) < 0.5 * kept


def test_a_layer_of_two_mambas_is_one_block():
    model = _create(SPECS["bi_mamba2"], checkpointing="blocks")
    assert [one.spec.kind for one in options.checkpointed(model)] == ["bi_mamba2_layer"] * 2


def test_options_live_through_copies_and_files():
    model, x = _create(SPECS["tcn"], checkpointing="blocks"), _signal("tcn", length=200)
    kept = activation_bytes(model, x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert activation_bytes(twin, x) == kept
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert np.abs(tcnzoo.predict(twin, x)).max() == 0.0
        assert np.abs(tcnzoo.predict(model, x)).max() > 0.0


def test_a_checkpoint_is_loaded_with_options(tmp_path):
    tcnzoo.save(_create(SPECS["tcn"]), tmp_path / "saved")
    model = tcnzoo.load(tmp_path / "saved", checkpointing="blocks")
    assert model.options.checkpointing == "blocks"


def test_checkpointing_streams():
    model, x = _create(SPECS["mamba2"], checkpointing="blocks"), _signal("mamba2")
    state, parts = tcnzoo.init_state(model, 2), []
    for part in np.split(x, [1, 20], axis=2):
        y, state = tcnzoo.step(model, part, state)
        parts.append(y)
    assert_close(np.concatenate(parts, axis=2), tcnzoo.predict(model, x))


@pytest.mark.parametrize("dtype", options.DTYPES)
@pytest.mark.parametrize("name", ["tcn", "mamba2", "bi_mamba2"])
def test_autocast_is_of_this_model_alone(name, dtype):
    model, other = _create(SPECS[name], autocast=dtype), _create(SPECS[name])
    seen = []
    part = next(one for one in model.modules() if one.__class__.__name__ in ("Conv1d", "Dense"))
    part.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    x = _signal(name)
    y = model(torch.from_numpy(x))
    assert seen == [True]
    assert not torch.is_autocast_enabled("cpu")
    assert y.dtype == torch.float32
    expected = tcnzoo.predict(other, x)
    found = tcnzoo.predict(model, x)
    assert np.abs(found - expected).max() > 1e-6
    assert_close(found, expected, 0.1)  # eight bits of mantissa through up to six layers
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    with pytest.raises((RuntimeError, IndexError)):
        model(torch.ones(1, 2))
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_trains_float32_weights():
    model = _create(SPECS["bi_mamba2"], autocast="bfloat16", checkpointing="blocks")
    x = _signal("bi_mamba2")
    _, expected = _step(_create(SPECS["bi_mamba2"]), x)
    _, found = _step(model, x)
    assert {one.dtype for one in found.values()} == {np.dtype(np.float32)}
    for key, gradient in expected.items():
        assert_close(found[key], gradient, 0.2, key)  # sums of values of eight bits


def test_a_stream_is_computed_in_full(monkeypatch):
    monkeypatch.setenv("TCNZOO_ENGINE", "plain")  # the same operations, so the same bits
    model, plain = _create(SPECS["mamba2"], autocast="bfloat16"), _create(SPECS["mamba2"])
    x = _signal("mamba2", length=5)
    y, state = tcnzoo.step(model, x, tcnzoo.init_state(model, 2))
    expected, _ = tcnzoo.step(plain, x, tcnzoo.init_state(plain, 2))
    np.testing.assert_array_equal(y, expected)
    assert {np.asarray(one).dtype for one in state.values()} == {np.dtype(np.float32)}


@pytest.fixture(params=[True, False])
def switches(request, monkeypatch):
    """Switches for TF32 that begin on or off, on a machine that seems to have CUDA."""
    sums = dict.fromkeys(options.SUMS_IN_16_BITS, True)
    held = SimpleNamespace(allow_tf32=request.param, **sums)
    cudnn = SimpleNamespace(allow_tf32=request.param)

    @contextlib.contextmanager
    def flags(enabled, allow_tf32):
        before, cudnn.allow_tf32 = cudnn.allow_tf32, allow_tf32
        yield
        cudnn.allow_tf32 = before

    monkeypatch.setattr(options.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(options.torch.backends.cuda, "matmul", held)
    monkeypatch.setattr(options.torch.backends.cudnn, "flags", flags)
    return held, cudnn


@pytest.mark.parametrize("wanted", [True, False])
def test_tf32_is_of_this_model_alone(wanted, switches):
    start = switches[0].allow_tf32
    model, seen = _create(SPECS["tcn"], tf32=wanted), []
    model.register_forward_hook(lambda *_: seen.append("root"))
    part = next(one for one in model.modules() if one.__class__.__name__ == "Conv1d")
    part.register_forward_hook(lambda *_: seen.append([one.allow_tf32 for one in switches]))
    x = _signal("tcn")
    tcnzoo.predict(model, x)
    tcnzoo.gradients(model, x, np.zeros_like(tcnzoo.predict(model, x)))
    assert [one for one in seen if one != "root"] == [[wanted, wanted]] * 3
    assert [one.allow_tf32 for one in switches] == [start, start]
    seen.clear()
    model(torch.from_numpy(x))  # as the switches say, unless the model was made with TF32
    assert seen[0] == [wanted or start, wanted or start]
    assert [one.allow_tf32 for one in switches] == [start, start]


@pytest.mark.parametrize("switch", options.SUMS_IN_16_BITS)
def test_sums_of_16_bit_products_are_taken_in_float32(switch, switches):
    model, seen = _create(SPECS["tcn"], dtype="bfloat16"), []
    part = next(one for one in model.modules() if one.__class__.__name__ == "Conv1d")
    part.register_forward_hook(lambda *_: seen.append(getattr(switches[0], switch)))
    tcnzoo.predict(model, _signal("tcn"))
    assert seen == [False]
    assert getattr(switches[0], switch)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"checkpointing": "all"}, "checkpointing must be 'blocks' or None, but is 'all'"),
        ({"tf32": 1}, "tf32 must be True or False, but is 1"),
        ({"autocast": "float64"}, "autocast must be 'bfloat16', 'float16' or None, but is "),
        ({"autocast": "float16", "dtype": "bfloat16"}, "autocast takes a model of float32 weights"),
        ({"sede": 1}, "backend 'torch' has no option 'sede'; did you mean 'seed'"),
    ],
)
def test_values_that_torch_does_not_take(fields, sentence):
    with pytest.raises(tcnzoo.InputError, match=sentence):
        tcnzoo.create(SPECS["tcn"], "torch", **fields)


def test_checkpointing_needs_blocks():
    with pytest.raises(tcnzoo.InputError, match="takes a model with one of temporal_block"):
        tcnzoo.create({"kind": "activation", "name": "relu"}, "torch", checkpointing="blocks")


@pytest.mark.parametrize("name", [one for one in installed_backends() if one != "torch"])
@pytest.mark.parametrize("field", ["checkpointing", "tf32", "autocast"])
def test_other_backends_refuse(name, field):
    with pytest.raises(tcnzoo.InputError, match=f"^backend '{name}' has no option '{field}'"):
        tcnzoo.create(SPECS["tcn"], name, **{field: None})
