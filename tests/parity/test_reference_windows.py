"""Moving windows, flattening and padding against torch, and `same_upper` against Keras itself."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

import tcnzoo
from tests.support.cases import MODES, conv1d
from tests.support.compare import assert_close, noise, reference, weights_of

EXACT = 1e-12  # both in float64

SIZES = [(2, None), (3, 1), (4, 2), (5, 3), (2, 3)]


def _run(spec, x):
    return tcnzoo.predict(reference(spec, weights_of(spec)), x)


@pytest.mark.parametrize("size, stride", SIZES)
@pytest.mark.parametrize("mode", ["average", "max"])
def test_valid_windows_equal_torch(mode, size, stride):
    x = noise(2, 3, 37)
    pool = F.max_pool1d if mode == "max" else F.avg_pool1d
    spec = {"kind": "window_pool", "mode": mode, "size": size, "stride": stride}
    assert_close(_run(spec, x), pool(torch.from_numpy(x), size, stride).numpy(), EXACT)


@pytest.mark.parametrize("count", [False, True])
def test_windows_padded_on_both_sides_equal_torch(count):
    x = noise(2, 3, 37)
    spec = {"kind": "window_pool", "mode": "average", "size": 5, "stride": 2, "padding": "same"}
    expected = F.avg_pool1d(torch.from_numpy(x), 5, 2, padding=2, count_include_pad=count)
    assert_close(_run({**spec, "count_padding": count}, x), expected.numpy(), EXACT)
    expected = F.max_pool1d(torch.from_numpy(x), 5, 2, padding=2)
    assert_close(_run({**spec, "mode": "max"}, x), expected.numpy(), EXACT)


@pytest.mark.parametrize("order", ["channels", "time"])
def test_flatten_puts_values_in_the_named_order(order):
    x = noise(2, 3, 5)
    found = _run({"kind": "flatten", "length": 5, "order": order}, x)
    for n, c, t in np.ndindex(*x.shape):
        assert found[n, c * 5 + t if order == "channels" else t * 3 + c] == x[n, c, t]


@pytest.mark.parametrize("mode", MODES)
def test_pad_equals_torch(mode):
    x = noise(2, 3, 9)
    how = {"zeros": "constant"}.get(mode, mode)
    expected = F.pad(torch.from_numpy(x), (4, 2), mode=how).numpy()
    assert_close(_run({"kind": "pad", "left": 4, "right": 2, "mode": mode}, x), expected, EXACT)
    assert_close(_run({"kind": "pad", "left": -4, "right": -2, "mode": mode}, x), x[:, :, 4:7], 0)


KERNELS = list(itertools.product((1, 2, 3, 5), (1, 2, 3, 4), (10, 11, 12, 13)))


@pytest.mark.parametrize("kernel_size, stride, length", KERNELS)
def test_same_upper_is_what_keras_calls_same(kernel_size, stride, length):
    keras = pytest.importorskip("keras")
    x = noise(2, 3, length)
    spec = conv1d(kernel_size, stride=stride, padding="same_upper")
    weights = weights_of(spec)
    kernel = weights["weight"].transpose(2, 1, 0).astype(np.float64)
    y = keras.ops.conv(x.swapaxes(1, 2), kernel, strides=stride, padding="same")
    expected = keras.ops.convert_to_numpy(y).swapaxes(1, 2) + weights["bias"][:, None]
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, EXACT)
    for mode, pool in (("max", keras.ops.max_pool), ("average", keras.ops.average_pool)):
        spec = {"kind": "window_pool", "mode": mode, "size": kernel_size, "stride": stride}
        y = keras.ops.convert_to_numpy(pool(x.swapaxes(1, 2), kernel_size, stride, "same"))
        assert_close(_run({**spec, "padding": "same_upper"}, x), y.swapaxes(1, 2), EXACT)


@pytest.mark.parametrize("kernel_size, stride, length", [(3, 2, 10), (5, 2, 10), (5, 3, 12)])
def test_same_and_same_upper_differ_behind_a_stride(kernel_size, stride, length):
    x = noise(2, 3, length)
    spec = conv1d(kernel_size, stride=stride)
    weights = weights_of(spec)
    found = [
        tcnzoo.predict(reference({**spec, "padding": padding}, weights), x)
        for padding in ("same", "same_upper")
    ]
    assert found[0].shape == found[1].shape == (2, 5, -(-length // stride))
    assert np.abs(found[0] - found[1]).max() > 0.1
