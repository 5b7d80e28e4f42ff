"""The float64 reference against torch.nn.functional in float64, which is not ours."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

import tcnzoo
from tests.support.cases import ACTIVATIONS, MODES
from tests.support.compare import assert_close, noise, reference, weights_of

# float64 on both sides; erf, exp and sums in another order.
EXACT = 1e-12

FUNCTIONS = {
    "linear": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),  # F.softplus is linear above 20
    "softmax": lambda x: F.softmax(x, dim=1),
    "log_softmax": lambda x: F.log_softmax(x, dim=1),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu6": F.relu6,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "square": torch.square,
    "safe_log": lambda x: torch.log(torch.clamp(x, min=1e-6)),
}


def _run(spec, x, weights=None):
    return tcnzoo.predict(reference(spec, weights_of(spec) if weights is None else weights), x)


def _tensors(weights):
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_equals_torch(name):
    x = 4.0 * noise(2, 3, 37)
    expected = FUNCTIONS[name](torch.from_numpy(x)).numpy()
    assert_close(_run({"kind": "activation", "name": name}, x), expected, EXACT)


def test_activation_constants_equal_torch():
    x = noise(2, 3, 37)
    leaky = _run({"kind": "activation", "name": "leaky_relu", "slope": 0.2}, x)
    assert_close(leaky, F.leaky_relu(torch.from_numpy(x), 0.2).numpy(), EXACT)
    elu = _run({"kind": "activation", "name": "elu", "alpha": 0.7}, x)
    assert_close(elu, F.elu(torch.from_numpy(x), 0.7).numpy(), EXACT)


def test_glu_equals_torch():
    x = noise(2, 6, 37)
    assert_close(_run({"kind": "glu"}, x), F.glu(torch.from_numpy(x), dim=1).numpy(), EXACT)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride, dilation, groups", [(1, 1, 1), (2, 1, 3), (1, 3, 3), (3, 2, 1)])
def test_conv1d_equals_torch(mode, stride, dilation, groups):
    spec = {
        "kind": "conv1d", "in_channels": 3, "out_channels": 6, "kernel_size": 4, "stride": stride,
        "dilation": dilation, "groups": groups, "padding": "same", "padding_mode": mode,
    }  # fmt: skip
    weights, x = weights_of(spec), noise(2, 3, 37)
    reach = 3 * dilation
    name = {"zeros": "constant"}.get(mode, mode)
    padded = F.pad(torch.from_numpy(x), (reach // 2, reach - reach // 2), mode=name)
    held = _tensors(weights)
    expected = F.conv1d(padded, held["weight"], held["bias"], stride, 0, dilation, groups).numpy()
    assert_close(_run(spec, x, weights), expected, EXACT)


@pytest.mark.parametrize("k, s, d", [(4, 2, 1), (3, 3, 1), (5, 2, 2), (2, 3, 1)])
def test_conv_transpose1d_equals_torch(k, s, d):
    spec = {
        "kind": "conv_transpose1d", "in_channels": 3, "out_channels": 5, "kernel_size": k,
        "stride": s, "dilation": d, "padding": "valid", "weight_norm": True,
    }  # fmt: skip
    weights, x = weights_of(spec), noise(2, 3, 37)
    held = _tensors(weights)
    length = held["weight_v"].norm(dim=(0, 2), keepdim=True)
    kernel = held["weight_g"] * held["weight_v"] / length
    expected = F.conv_transpose1d(torch.from_numpy(x), kernel, held["bias"], s, dilation=d)
    assert_close(_run(spec, x, weights), expected.numpy(), EXACT)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 37)])
def test_norms_equal_torch(shape):
    x = 3.0 * noise(*shape) + 1.0
    tensor = torch.from_numpy(x)
    spec = {"kind": "batch_norm", "channels": 3, "eps": 1e-3}
    weights = weights_of(spec)
    w = _tensors(weights)
    expected = F.batch_norm(
        tensor, w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=1e-3
    )
    assert_close(_run(spec, x, weights), expected.numpy(), EXACT)
    spec = {"kind": "layer_norm", "channels": 3, "eps": 1e-2}
    weights = weights_of(spec)
    w = _tensors(weights)
    expected = F.layer_norm(tensor.movedim(1, -1), (3,), w["weight"], w["bias"], 1e-2).movedim(
        -1, 1
    )
    assert_close(_run(spec, x, weights), expected.numpy(), EXACT)


@pytest.mark.parametrize("size", [1, 5, 36, 37, 41])
def test_pools_equal_torch(size):
    x = noise(2, 3, 37)
    tensor = torch.from_numpy(x)
    average = _run({"kind": "pool", "mode": "adaptive_average", "output_size": size}, x)
    assert_close(average, F.adaptive_avg_pool1d(tensor, size).numpy(), EXACT)
    maximum = _run({"kind": "pool", "mode": "adaptive_max", "output_size": size}, x)
    assert_close(maximum, F.adaptive_max_pool1d(tensor, size).numpy(), EXACT)


def test_global_average_is_the_mean():
    x = noise(2, 3, 37)
    assert_close(_run({"kind": "pool"}, x), torch.from_numpy(x).mean(dim=2).numpy(), EXACT)


@pytest.mark.parametrize("factor", [1, 2, 5])
@pytest.mark.parametrize("mode, options", [("nearest", {}), ("linear", {"align_corners": False})])
def test_upsample_equals_torch(mode, options, factor):
    x = noise(2, 3, 37)
    expected = F.interpolate(torch.from_numpy(x), scale_factor=factor, mode=mode, **options).numpy()
    assert_close(_run({"kind": "upsample", "mode": mode, "factor": factor}, x), expected, EXACT)
