"""MLX keeps folded kernels while weights stay, and notices every change of them."""

import copy
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_map

import tcnzoo
from tcnzoo.engines import ENGINE, PLAIN
from tcnzoo.models.backend import get_backend
from tcnzoo.streams.steps import AVAILABLE, COMPILED
from tests.support.cases import BLOCKS, conv1d
from tests.support.compare import assert_close, noise, reference, rows_for, weights_of
from tests.support.tcns import covering, tcn, tcn_grid

CONVOLUTIONS = [name for name in BLOCKS if name.startswith(("conv1d", "conv_block", "conv_transp"))]
# Wide enough for the form with halved products, which the reference BLAS takes.
WIDE = conv1d(5, in_channels=32, out_channels=33, dilation=2, padding="causal", weight_norm=True)
SPECS = {
    "weight norm": tcn(norm="weight_norm"),
    "batch norm": tcn(norm="batch_norm"),
    "neither": tcn(norm="none"),
    "block": BLOCKS["conv_block-batch_norm"][0],
}
X = noise(2, 3, 23)
SIGHTS = 3  # from the second on kernels are kept, from the third on they are taken from there


def _kept(model):
    """How many kernels a model keeps."""
    return sum(part._kept._made is not None for _, part in model.walk() if hasattr(part, "_kept"))


def _used(spec):
    """A model that has kept its kernels."""
    model = tcnzoo.create(spec, "mlx", weights=weights_of(spec))
    for _ in range(SIGHTS):
        tcnzoo.predict(model, X)
    assert _kept(model)
    return model


def _assert_current(model, x=X):
    """Outputs are those of the weights that the model has now, again and again."""
    expected = tcnzoo.predict(reference(model.spec, tcnzoo.get_weights(model)), x)
    for _ in range(SIGHTS):
        assert_close(tcnzoo.predict(model, x), expected)


def _convolution(model):
    """Some convolution of a model."""
    return next(part for _, part in model.walk() if hasattr(part, "_kept"))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_kept_kernels_of_blocks_equal_the_reference(name):
    spec, shape = BLOCKS[name]
    model, x = tcnzoo.create(spec, "mlx", weights=weights_of(spec)), noise(*shape)
    _assert_current(model, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kept_kernel_of_a_wide_convolution(dtype):
    model, x = tcnzoo.create(WIDE, "mlx", weights=weights_of(WIDE), dtype=dtype), noise(2, 32, 40)
    _assert_current(model, x)
    assert _kept(model) == 1


@pytest.mark.parametrize(
    "options", covering(tcn_grid()), ids=lambda row: "-".join(map(str, row.values()))
)
def test_kept_kernels_of_tcns_equal_the_reference(options):
    spec = tcn(**options)
    weights, rows = weights_of(spec), rows_for(spec, 2, 23)
    model = tcnzoo.create(spec, "mlx", weights=weights)
    expected = tcnzoo.predict(reference(spec, weights), X, embeddings=rows)
    for _ in range(SIGHTS):
        assert_close(tcnzoo.predict(model, X, embeddings=rows), expected)


def _assigned(model):
    conv = _convolution(model)
    name = "weight_v" if "weight_v" in conv else "weight"
    conv[name] = conv[name] + 0.25


def _overwritten(model):
    conv = _convolution(model)
    conv["weight_v" if "weight_v" in conv else "weight"][...] = 0.125


def _row_overwritten(model):
    _convolution(model)["bias"][1] = 3.0


def _multiplied(model):
    conv = _convolution(model)
    kernel = conv["weight_v" if "weight_v" in conv else "weight"]
    kernel *= mx.arange(1, len(kernel) + 1)[:, None, None]


def _updated(model):
    model.update(tree_map(lambda array: array * 1.5, model.parameters()))


def _set(model):
    tcnzoo.set_weights(model, weights_of(model.spec, seed=5))


def _optimised(model):
    optimiser = optim.SGD(0.1)
    gradients = tree_map(mx.ones_like, model.trainable_parameters())
    optimiser.update(model, gradients)


def _trained(model):
    model.train()
    mx.eval(model(mx.array(X.swapaxes(1, 2).astype(np.float32))), model.state)
    model.eval()


CHANGES = [_assigned, _overwritten, _row_overwritten, _multiplied, _updated, _set, _optimised]


@pytest.mark.parametrize("change", [*CHANGES, _trained])
@pytest.mark.parametrize("name", SPECS)
def test_changed_weights_are_seen_at_once(name, change):
    model = _used(SPECS[name])
    change(model)
    _assert_current(model)


STREAM = tcn(norm="weight_norm", padding_mode="zeros")
ENGINES = [PLAIN, *([COMPILED] if AVAILABLE else [])]


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    monkeypatch.setenv(ENGINE, request.param)
    return request.param


def _streamed(spec=STREAM, steps=20):
    """A model after some steps of a stream, by when MLX would have compiled them, and its state."""
    model, x = tcnzoo.create(spec, "mlx", weights=weights_of(spec)), noise(1, 3, steps)
    state = tcnzoo.init_state(model, 1)
    for first in range(steps):
        _, state = tcnzoo.step(model, x[:, :, first : first + 1], state)
    return model, state


def _assert_current_stream(model, state):
    """A step is one of the weights that the model has now."""
    twin, x = reference(model.spec, tcnzoo.get_weights(model)), noise(1, 3, 1, seed=2)
    neutral = {name: np.array(array) for name, array in state.items()}
    expected, _ = tcnzoo.step(twin, x, neutral)
    y, after = tcnzoo.step(model, x, state)
    assert_close(y, expected)
    return after


@pytest.mark.parametrize("change", [*CHANGES, _trained])
@pytest.mark.parametrize("name", ["weight norm", "batch norm"])
def test_changed_weights_are_seen_by_a_stream(change, name, engine):
    model, state = _streamed({**SPECS[name], "padding_mode": "zeros"})
    for _ in range(2):
        change(model)
        state = _assert_current_stream(model, state)


def test_replaced_part_is_seen_by_a_stream(engine):
    model, state = _streamed()
    other = tcnzoo.create(STREAM, "mlx", weights=weights_of(STREAM, 1))
    model.blocks[0].conv1 = other.blocks[0].conv1
    state = _assert_current_stream(model, state)
    model.blocks[1] = other.blocks[1]
    _assert_current_stream(model, state)


def test_change_in_training_is_seen_by_a_stream_in_evaluation(engine):
    model, state = _streamed()
    model.train()
    _set(model)
    state = _assert_current_stream(model, state)
    model.eval()
    _assert_current_stream(model, state)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_streams_of_a_copy_and_of_its_original(copied, engine):
    model, state = _streamed()
    twin = copied(model)
    twin.update(tree_map(lambda array: array * 1.5, twin.parameters()))
    for one in (twin, model, twin, model):
        state = _assert_current_stream(one, state)


def test_native_change_of_type_is_followed_by_a_stream(engine):
    model, state = _streamed()
    model.set_dtype(mx.float16)
    x = noise(1, 3, 1, seed=2)
    twin = reference(STREAM, tcnzoo.get_weights(model))
    expected, _ = tcnzoo.step(twin, x, {name: np.array(state[name]) for name in state})
    y, _ = tcnzoo.step(model, x, state)
    # Ten bits of mantissa through six convolutions.
    assert_close(y, expected, 0.01)


@pytest.mark.parametrize("name", ["batch_norm.weight", "running_mean", "running_var"])
def test_changed_norm_is_seen(name):
    model = _used(SPECS["block"])
    norm = model.norm
    norm[name.rpartition(".")[2]][...] = 0.75
    _assert_current(model)


@pytest.mark.parametrize("name", SPECS)
def test_gradients_of_weights_in_evaluation_reach_kernels_that_are_kept(name):
    model = _used(SPECS[name])
    x = mx.array(X.swapaxes(1, 2).astype(np.float32))
    target = mx.zeros_like(model(x))

    def loss(model, x):
        return nn.losses.mse_loss(model(x), target, reduction="mean")

    fresh = tcnzoo.create(SPECS[name], "mlx", weights=weights_of(SPECS[name]))
    _, expected = nn.value_and_grad(fresh, loss)(fresh, x)
    for _ in range(SIGHTS):
        _, gradients = nn.value_and_grad(model, loss)(model, x)
        flat = dict(nn.utils.tree_flatten(gradients))
        for key, array in nn.utils.tree_flatten(expected):
            # Both are float32 sums over 23 steps, in another order.
            assert_close(np.array(flat[key]), np.array(array), 1e-5, key)


def test_compiled_function_over_the_state_follows_it():
    model = _used(SPECS["weight norm"])
    x = mx.array(X.swapaxes(1, 2).astype(np.float32))
    run = partial(mx.compile, inputs=model.state)(lambda x: model(x))
    for seed in (0, 1):
        tcnzoo.set_weights(model, weights_of(model.spec, seed))
        expected = tcnzoo.predict(reference(model.spec, tcnzoo.get_weights(model)), X)
        for _ in range(SIGHTS):
            assert_close(np.array(run(x)).swapaxes(1, 2), expected)
    _assert_current(model)


def test_copy_keeps_nothing_of_the_original():
    model = _used(SPECS["batch norm"])
    twin = copy.deepcopy(model)
    assert _kept(twin) == 0
    _set(twin)
    _assert_current(twin)
    _assert_current(model)


def test_training_keeps_nothing():
    model = _used(SPECS["weight norm"])
    model.train()
    x = mx.array(X.swapaxes(1, 2).astype(np.float32))
    optimiser = optim.SGD(0.01)
    for _ in range(SIGHTS):
        _, gradients = nn.value_and_grad(model, lambda x: model(x).square().mean())(x)
        optimiser.update(model, gradients)
    _assert_current(model)


def test_trace_has_the_parts_before_their_norm():
    model = _used(SPECS["batch norm"])
    expected = get_backend("numpy").trace(reference(model.spec, tcnzoo.get_weights(model)), X, ())
    found = get_backend("mlx").trace(model, X, ())
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert_close(found[name], array, label=name)
