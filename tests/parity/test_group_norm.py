"""Group norm: torch's own layer, inputs of any size, and what is refused."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tests.support.compare import assert_close, noise, reference, weights_of

SPEC = {"kind": "group_norm", "channels": 6, "groups": 2}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 1), (2, 6, 37)])
def test_torch_gives_the_same(backend, size, shape):
    """An eps that is off hides at size 1: at 1e-3 it is a tenth of the variance."""
    torch = pytest.importorskip("torch")
    weights, x = weights_of(SPEC), size * noise(*shape)
    layer = torch.nn.GroupNorm(2, 6).double()
    layer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    expected = layer(torch.tensor(x.astype(np.float64))).detach().numpy()
    assert_close(tcnzoo.predict(reference(SPEC, weights), x), expected, tolerance=1e-12)
    assert_close(tcnzoo.predict(tcnzoo.create(SPEC, backend, weights=weights), x), expected)


def test_one_sample_does_not_see_another(backend):
    model, x = tcnzoo.create(SPEC, backend), noise(3, 6, 9)
    alone = tcnzoo.predict(model, x[:1])
    x[1:] *= 100.0
    assert_close(tcnzoo.predict(model, x)[:1], alone)


def test_devices_belong_to_the_sample(backend):
    conv = {"kind": "conv2d", "in_channels": 3, "out_channels": 6, "kernel_size": [1, 3]}
    spec = {"kind": "sequential", "layers": {"conv": conv, "norm": SPEC}}
    weights, x = weights_of(spec), noise(2, 3, 4, 9)
    expected = tcnzoo.predict(reference(spec, weights), x)
    before = tcnzoo.predict(
        reference(conv, {n.removeprefix("conv."): a for n, a in weights.items() if "conv" in n}), x
    )
    groups = before.reshape(2, 2, -1)
    normed = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    scale, shift = (weights[f"norm.{name}"][:, None, None] for name in ("weight", "bias"))
    assert_close(expected, normed.reshape(before.shape) * scale + shift, tolerance=1e-12)
    assert_close(tcnzoo.predict(tcnzoo.create(spec, backend, weights=weights), x), expected)


def test_groups_must_divide():
    with pytest.raises(SpecError, match="groups must divide the 6 channels, but is 4"):
        tcnzoo.load_spec({**SPEC, "groups": 4})


def test_a_stream_has_no_statistics_yet(backend):
    model = tcnzoo.create(SPEC, backend)
    with pytest.raises(InputError, match="a group norm takes statistics of the whole signal"):
        tcnzoo.step(model, noise(1, 6, 3), tcnzoo.init_state(model))
