"""The packed kernels and the one-sample step follow every change of weights, and any listener."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import tcnzoo
from tcnzoo.arrays import to_numpy
from tcnzoo.models.backend import get_backend
from tcnzoo.specs.params import varied_weights

BLOCK = {
    "kind": "tcn",
    "in_channels": 3,
    "channels": [5, 7],
    "kernel_size": 3,
    "norm": "batch_norm",
}
STACK = {
    "kind": "sequential",
    "layers": {
        "stem": {
            "kind": "conv_block",
            "in_channels": 3,
            "out_channels": 6,
            "kernel_size": 4,
            "stride": 2,
            "norm": "batch_norm",
            "activation": "leaky_relu",
        },
        "tcn": {**BLOCK, "in_channels": 6},
    },
}
# float32 rounding of a few layers; the packed kernels sum in another order.
ROUNDING = 2e-6


def _model(spec=BLOCK):
    weights = varied_weights(tcnzoo.load_spec(spec).params(), 3)
    return tcnzoo.create(spec, "torch", weights=weights)


def _signal(batch=2, steps=23):
    return np.random.default_rng(4).standard_normal((batch, 3, steps)).astype(np.float32)


def _plain(model, x):
    """The module's output with gradients on: never packed."""
    with torch.enable_grad():
        return model(torch.from_numpy(x)).detach().numpy()


def _streamed(model, x):
    """The output one sample at a time."""
    state, pieces = tcnzoo.init_state(model, x.shape[0]), []
    for step in range(x.shape[2]):
        piece, state = tcnzoo.step(model, x[:, :, step : step + 1], state)
        pieces.append(piece)
    return np.concatenate(pieces, axis=2)


def _assert_served(model, x):
    expected = _plain(model, x)
    assert np.abs(tcnzoo.predict(model, x) - expected).max() <= ROUNDING * np.abs(expected).max()
    assert np.abs(_streamed(model, x) - expected).max() <= ROUNDING * np.abs(expected).max()
    return expected


def _halve_in_place(model):
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.mul_(0.5)


def _replace_parameters(model):
    for module in model.modules():
        for name, tensor in list(module._parameters.items()):
            if tensor is not None:
                setattr(module, name, nn.Parameter(tensor.detach() * 0.5))


def _swap_data(model):
    for tensor in model.parameters():
        tensor.data = tensor.data * 0.5


def _data_in_place_then_eval(model):
    for tensor in model.parameters():
        tensor.data.mul_(0.5)
    model.train()
    model.eval()


def _load_state_dict(model):
    model.load_state_dict({name: value * 0.5 for name, value in model.state_dict().items()})


def _set_weights(model):
    tcnzoo.set_weights(model, {k: v * 0.5 for k, v in tcnzoo.get_weights(model).items()})


def _optimiser_step(model):
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    model(torch.from_numpy(_signal())).square().mean().backward()
    optimiser.step()


CHANGES = [
    _halve_in_place,
    _replace_parameters,
    _swap_data,
    _data_in_place_then_eval,
    _load_state_dict,
    _set_weights,
    _optimiser_step,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
@pytest.mark.parametrize("spec", [BLOCK, STACK], ids=["tcn", "stack"])
def test_a_change_of_weights_is_seen(spec, change):
    model, x = _model(spec), _signal()
    before = _assert_served(model, x)
    change(model)
    after = _assert_served(model, x)
    assert np.abs(after - before).max() > 1e-3


def test_a_listener_gets_unfused_outputs_and_leaves_nothing_behind():
    model, x = _model(), _signal()
    reference = tcnzoo.create(BLOCK, "numpy", weights=tcnzoo.get_weights(model), dtype="float64")
    expected = get_backend("numpy").trace(reference, x.astype(np.float64), [])
    for _ in range(2):
        _assert_served(model, x)
        seen = get_backend("torch").trace(model, x, [])
        assert seen.keys() == expected.keys()
        for path, output in expected.items():
            assert np.abs(seen[path] - output).max() <= ROUNDING * max(1, np.abs(output).max()), (
                path
            )


def test_a_hook_on_a_part_fires_in_a_one_sample_step():
    model, x, seen = _model(), _signal(1, 4), []
    _streamed(model, x)
    hook = model.blocks["1"].conv2.register_forward_hook(lambda *call: seen.append(call[2].shape))
    streamed = _streamed(model, x)
    hook.remove()
    assert len(seen) == 4
    assert np.abs(streamed - _plain(model, x)).max() <= ROUNDING * np.abs(streamed).max()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_kernels_of_its_own(duplicate):
    model, x = _model(), _signal()
    _assert_served(model, x)
    other = duplicate(model)
    _halve_in_place(other)
    _assert_served(other, x)
    _assert_served(model, x)
    assert model.state_dict().keys() == tcnzoo.load_spec(BLOCK).params().keys()


def test_a_model_made_in_inference_mode_is_served_and_followed():
    x = _signal()
    with torch.inference_mode():
        model = _model()
        before = tcnzoo.predict(model, x)
        for tensor in model.parameters():
            tensor.mul_(0.5)
    weights = {name: array.copy() for name, array in tcnzoo.get_weights(model).items()}
    expected = tcnzoo.predict(tcnzoo.create(BLOCK, "torch", weights=weights), x)
    for found in (tcnzoo.predict(model, x), _streamed(model, x)):
        assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()
    assert np.abs(before - expected).max() > 1e-3


def test_a_parametrisation_is_followed():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(1.0))

        def forward(self, weight):
            return self.factor * weight

    model, x = _model(), _signal()
    conv = model.blocks["0"].conv1
    nn.utils.parametrize.register_parametrization(conv, "weight", Scaled())
    before = _assert_served(model.eval(), x)
    with torch.no_grad():
        conv.parametrizations.weight[0].factor.mul_(0.3)
    assert np.abs(_assert_served(model, x) - before).max() > 1e-3


def test_two_streams_through_one_model_do_not_mix():
    model = _model()
    signals = [_signal(1, 9), _signal(1, 9)[:, :, ::-1].copy()]
    states, pieces = [tcnzoo.init_state(model) for _ in signals], [[], []]
    for step in range(9):
        for place, x in enumerate(signals):
            y, states[place] = tcnzoo.step(model, x[:, :, step : step + 1], states[place])
            pieces[place].append(y)
    for x, parts in zip(signals, pieces, strict=True):
        expected = _plain(model, x)
        assert (
            np.abs(np.concatenate(parts, 2) - expected).max() <= ROUNDING * np.abs(expected).max()
        )


def test_a_state_can_be_continued_twice():
    model, x = _model(), _signal(1, 12)
    state = tcnzoo.init_state(model)
    for step in range(6):
        _, state = tcnzoo.step(model, x[:, :, step : step + 1], state)
    kept = {name: to_numpy(value).copy() for name, value in state.items()}
    first, _ = tcnzoo.step(model, x[:, :, 6:7], state)
    second, _ = tcnzoo.step(model, x[:, :, 6:7], state)
    assert np.array_equal(first, second)
    assert all(np.array_equal(kept[name], to_numpy(state[name])) for name in kept)


def test_packed_kernels_are_in_use_here(monkeypatch):
    monkeypatch.setenv("TCNZOO_ENGINE", "plain")  # steps without the compiled engine
    packed = pytest.importorskip("tcnzoo.backends.torch.kernels.packed")
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    model = _model()
    tcnzoo.predict(model, _signal(1, 200))
    assert packed.cached(model.blocks["0"].conv1).blocked is not None
    tcnzoo.step(model, _signal(1, 1), tcnzoo.init_state(model))
    assert packed.cached(model) is not None


def test_steps_of_fused_optimizers_are_seen():
    # torch does not count what they write as a write; fine-tuning often keeps evaluation mode.
    model, x = _model(), _signal()
    before = tcnzoo.predict(model, x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    model(torch.from_numpy(x)).square().mean().backward()
    optimizer.step()
    found = tcnzoo.predict(model, x)
    assert np.abs(found - before).max() > 0.01
    np.testing.assert_allclose(found, _plain(model, x), atol=1e-5)  # weights have grown
