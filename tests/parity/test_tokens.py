"""Tokens of EEG: braindecode's LaBraM as an oracle, tables of names, and what is refused."""

import re

import numpy as np
import pytest

import tcnzoo
from tcnzoo.specs.electrodes import TABLES
from tests.support.braindecode_nets import braindecode_models
from tests.support.compare import assert_close, assert_gradients_close, noise

STEM = {"kind": "patch_embed", "patch": 200, "electrodes": 3}


@pytest.fixture(scope="module")
def labram():
    """The module of braindecode's Labram."""
    braindecode_models()
    from braindecode.models import labram

    return labram


def _stem_weights(net):
    """The weights of braindecode's stem, whose kernels have an axis of size 1, by our names."""
    arrays = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    return {name: a[:, :, 0] if a.ndim == 4 else a for name, a in arrays.items()}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_stem_equals_braindecode(backend, labram, size):
    import torch

    torch.manual_seed(1)
    net = labram._TemporalConv()
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.add_(0.2 * torch.randn_like(tensor))
    x = size * noise(2, 3, 800)
    patches = torch.from_numpy(x).float().reshape(2, 3, 4, 200)
    expected = net.double()(patches.double()).detach().transpose(1, 2).numpy()
    model = tcnzoo.create(STEM, backend, weights=_stem_weights(net.float()))
    # A stem of 1e3 is a norm of 1e3: rounding of the input is all that is lost.
    assert_close(tcnzoo.predict(model, x.astype(np.float32)), expected)


def test_gradients_of_the_stem_equal_braindecode(native, labram):
    import torch

    torch.manual_seed(2)
    net = labram._TemporalConv().double()
    x, target = noise(2, 3, 800), noise(2, 200, 12, seed=3)
    signal = torch.from_numpy(x).requires_grad_()
    tokens = net(signal.reshape(2, 3, 4, 200)).transpose(1, 2)
    torch.nn.functional.mse_loss(tokens, torch.from_numpy(target)).backward()
    expected = {name: tensor.grad.numpy() for name, tensor in net.named_parameters()}
    expected = {name: a[:, :, 0] if a.ndim == 4 else a for name, a in expected.items()}
    weights = {name: a.astype(np.float32) for name, a in _stem_weights(net).items()}
    _, found = tcnzoo.gradients(tcnzoo.create(STEM, native, weights=weights), x, target)
    expected["input"] = signal.grad.numpy()
    assert set(found) == set(expected)
    assert_gradients_close(found, {name: expected[name] for name in found})


def test_table_of_labram_equals_that_of_braindecode(labram):
    assert list(TABLES["labram-128"]) == labram.LABRAM_CHANNEL_ORDER
    assert len(TABLES["labram-128"]) == 128


def _electrodes(*names, **fields):
    return {"kind": "electrode_embedding", "channels": 4, "electrodes": list(names), **fields}


NOT_THERE = {
    "unknown": (
        _electrodes("Cz", "TT7"),
        "electrode 'TT7' is not among the 128 of the table; the nearest name there is 'T7'",
    ),
    "twice": (_electrodes("Cz", "CZ"), "electrodes name 'CZ' twice"),
    "none": (_electrodes(), "electrodes must name one electrode or more"),
    "table": (_electrodes(table="labram"), "no electrode table 'labram'; there are labram-128"),
    "table-twice": (_electrodes("a", table=["a", "A"]), "the electrode table name 'A' twice"),
    "width": (
        {**STEM, "channels": 100},
        "stem 'conv' makes tokens of width 200, but channels is 100; leave it out, or set "
        "projection",
    ),
    "no-width": (
        {**STEM, "stem": "linear"}, "stem 'linear' needs channels, the width of the tokens",
    ),
    "stride-of-linear": (
        {**STEM, "stem": "linear", "channels": 4, "stride": 2}, "stem 'linear' takes no stride",
    ),
    "groups": ({**STEM, "groups": 3}, "groups must divide the 8 out_channels, but is 3"),
    "norm-groups": (
        {"kind": "group_norm", "channels": 8, "groups": 3},
        "groups must divide the 8 channels, but is 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_THERE)
def test_a_spec_that_cannot_be_is_refused(name):
    spec, sentence = NOT_THERE[name]
    with pytest.raises(tcnzoo.SpecError, match=re.escape(sentence)):
        tcnzoo.load_spec(spec)


REFUSED = {
    "part-of-a-patch": (
        STEM, (1, 3, 450),
        "patch_embed takes whole patches of 200 steps, but the signal has 450 steps",
    ),
    "too-short": (
        STEM, (1, 3, 150),
        "patch_embed takes whole patches of 200 steps, but the signal has 150 steps",
    ),
    "electrodes": (
        STEM, (1, 4, 200),
        "patch_embed expects 3 channels on axis 1 of (batch, channels, time), but 4 came",
    ),
    "uneven": (
        _electrodes("Cz", "T7", cls="own"), (1, 4, 6),
        "electrode_embedding takes a leading token and as many tokens for each of 2 electrodes, "
        "but 6 came",
    ),
    "rows": (
        {"kind": "time_embedding", "channels": 4, "rows": 3, "electrodes": 2}, (1, 4, 8),
        "time_embedding has 3 rows, one for each patch of an electrode, but 4 patches came; "
        "shorten the signal, or use a model of more rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_input_that_does_not_fit_is_refused(backend, name):
    spec, shape, sentence = REFUSED[name]
    model = tcnzoo.create(spec, backend)
    with pytest.raises(tcnzoo.InputError, match=f"^{re.escape(sentence)}$"):
        tcnzoo.predict(model, noise(*shape))


@pytest.mark.parametrize("electrodes", [None, 2])
def test_names_and_tokens_of_other_electrodes_do_not_go_together(electrodes):
    small = {"kind": "patch_embed", "patch": 20, "out_channels": 4, "groups": 2}
    names = _electrodes("Cz", "T7", "T8", channels=12)
    spec = {"stem": {**small, "electrodes": electrodes}, "names": names}
    made = "any number of" if electrodes is None else "2"
    sentence = (
        f"layer 'names' takes tokens of 3 electrodes, but layer 'stem' makes those of {made} "
        "electrodes; set its electrodes to 3"
    )
    with pytest.raises(tcnzoo.SpecError, match=re.escape(sentence)):
        tcnzoo.load_spec({"kind": "sequential", "layers": spec})


def test_any_number_of_electrodes_will_do_without_names(backend):
    layers = {"stem": {**STEM, "electrodes": None}, "norm": {"kind": "layer_norm", "channels": 200}}
    model = tcnzoo.create({"kind": "sequential", "layers": layers}, backend)
    assert model.tcnzoo.spec.input_channels is None
    assert tcnzoo.predict(model, noise(1, 2, 400)).shape == (1, 200, 4)
    assert tcnzoo.predict(model, noise(1, 5, 400)).shape == (1, 200, 10)


@pytest.mark.parametrize("value", ["amplitude", "phase"])
def test_spectra_equal_those_of_labram(backend, value):
    """As LaBraM's tokenizer makes its targets: torch.fft, and a z-score over each signal."""
    torch = pytest.importorskip("torch")
    x = noise(2, 3, 800)
    bins = torch.fft.fft(torch.from_numpy(x).reshape(2, 3, 4, 200))
    plain = bins.abs() if value == "amplitude" else bins.angle()
    mean = plain.mean(dim=(1, 2, 3), keepdim=True)
    expected = (plain - mean) / plain.std(dim=(1, 2, 3), keepdim=True)
    expected = expected.flatten(1, 2).transpose(1, 2).numpy()
    spec = {"kind": "spectrum", "patch": 200, "value": value, "bins": "full", "normalized": True}
    model = tcnzoo.create(spec, backend, dtype="float64")
    assert_close(tcnzoo.predict(model, x), expected, 1e-10)


@pytest.mark.parametrize("value", ["amplitude", "phase"])
def test_a_silent_signal_has_a_spectrum_and_a_gradient(native, value):
    spec = {"kind": "spectrum", "patch": 10, "value": value, "normalized": True}
    model, x = tcnzoo.create(spec, native), np.zeros((1, 2, 20))
    assert not tcnzoo.predict(model, x).any()
    _, found = tcnzoo.gradients(model, x, np.ones((1, 6, 4)))
    assert np.isfinite(found["input"]).all()


def test_the_first_token_is_pooled(backend):
    model, x = tcnzoo.create({"kind": "pool", "mode": "first"}, backend), noise(2, 3, 5)
    assert_close(tcnzoo.predict(model, x), x[:, :, 0])
