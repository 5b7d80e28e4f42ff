"""A Keras stream on the compiled engine is never one of old weights."""

import keras
import numpy as np
import pytest

import tcnzoo
from tcnzoo import engines
from tests.support.compare import assert_close, noise, reference, weights_of
from tests.support.tcns import tcn

pytest.importorskip("numba")
from tcnzoo.backends.keras.stream import Streams  # noqa: E402 - after numba is looked for
from tcnzoo.streams.tape import TapeState  # noqa: E402 - it needs numba

pytestmark = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"), reason="torch's tensors are written to"
)
ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="functions of TensorFlow"
)
SPEC = tcn(norm="batch_norm", channels=[4, 5])


@pytest.fixture(autouse=True)
def _compiled(monkeypatch):
    monkeypatch.setenv(engines.ENGINE, "compiled")


def _model(spec=SPEC, seed=0):
    return tcnzoo.create(spec, "keras", weights=weights_of(spec, seed))


def _stepped(model, x, state):
    """One step, by the compiled engine."""
    y, after = tcnzoo.step(model, x, state)
    assert isinstance(after, TapeState)
    return y, after


def _neutral(state):
    return {name: np.asarray(array) for name, array in state.items()}


def _assigned(model):
    variable = next(v for n, v in model.root.named_variables() if n.endswith("conv1.weight"))
    variable.assign(variable + 0.25)


def _added(model):
    for _, variable in model.root.named_variables():
        variable.assign_add(keras.ops.full(variable.shape, 0.125))


def _set(model):
    tcnzoo.set_weights(model, weights_of(SPEC, seed=3))


def _set_natively(model):
    model.set_weights([array * 1.5 for array in model.get_weights()])


def _optimised(model):
    optimiser = keras.optimizers.Adam(0.05)
    variables = model.trainable_variables
    optimiser.apply([keras.ops.ones(v.shape) for v in variables], variables)


def _fitted(model):
    model.compile(keras.optimizers.SGD(0.05), loss="mse", jit_compile=False)
    model.fit(np.ones((2, 9, 3), "float32"), np.zeros((2, 9, 5), "float32"), verbose=0)


def _fitted_by_xla(model):
    model.compile(keras.optimizers.SGD(0.05), loss="mse", jit_compile=True)
    model.fit(np.ones((2, 9, 3), "float32"), np.zeros((2, 9, 5), "float32"), verbose=0)


def _statistic_moved(model):
    model(np.ones((2, 9, 3), "float32"), training=True)


CHANGES = [_assigned, _added, _set, _set_natively, _optimised, _fitted, _fitted_by_xla]
CHANGES += [_statistic_moved]


def _assert_current(model, state, x):
    """A step is one of the weights that the model has now."""
    twin = reference(SPEC, tcnzoo.get_weights(model))
    expected, _ = tcnzoo.step(twin, x, _neutral(state))
    y, after = _stepped(model, x, state)
    assert_close(y, expected)
    return expected, after


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_seen_at_the_next_step(change):
    model, x = _model(), noise(1, 3, 5)
    _, state = _stepped(model, x, tcnzoo.init_state(model, 1))
    before, state = _assert_current(model, state, x)
    old, _ = _stepped(model, x, state)
    for _ in range(2):  # an update in place, of values that a step has read before
        change(model)
        new, _ = _assert_current(model, state, x)
    assert abs(new - old).max() > 1e-4


def test_weights_of_a_file_are_seen(tmp_path):
    _model(seed=3).save_weights(tmp_path / "other.weights.h5")
    model, x = _model(), noise(1, 3, 5)
    _, state = _stepped(model, x, tcnzoo.init_state(model, 1))
    model.load_weights(tmp_path / "other.weights.h5")
    _assert_current(model, state, x)


@ON_TENSORFLOW
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_function_that_trains_is_seen_after_every_call(jit_compile):
    import tensorflow as tf

    model, x = _model(), noise(1, 3, 5)
    optimiser = keras.optimizers.SGD(0.05)
    optimiser.build(model.trainable_variables)
    signal = tf.constant(np.ones((2, 9, 3), "float32"))

    @tf.function(jit_compile=jit_compile)
    def train():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(signal, training=True)))
        variables = model.trainable_variables
        optimiser.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    _, state = _stepped(model, x, tcnzoo.init_state(model, 1))
    for _ in range(3):
        train()
        _, state = _assert_current(model, state, x)


@ON_TENSORFLOW
def test_row_that_is_written_is_seen():
    import tensorflow as tf

    model, x = _model(), noise(1, 3, 5)
    _, state = _stepped(model, x, tcnzoo.init_state(model, 1))
    bias = next(v for n, v in model.root.named_variables() if n.endswith("conv1.bias")).value
    for value in (1.0, 2.0):
        bias.scatter_update(tf.IndexedSlices(tf.constant([value]), tf.constant([1])))
        _, state = _assert_current(model, state, x)
        bias[0].assign(value)
        _, state = _assert_current(model, state, x)


def test_unchanged_weights_are_read_once(monkeypatch):
    model, x = _model(), noise(1, 3, 1)
    _, state = _stepped(model, x, tcnzoo.init_state(model, 1))
    _, state = _stepped(model, x, state)
    monkeypatch.setattr("tcnzoo.backends.keras.stream.read_weights", lambda model: 1 / 0)
    for _ in range(3):
        _, state = _stepped(model, x, state)
    _set(model)
    with pytest.raises(ZeroDivisionError):
        _stepped(model, x, state)


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"dtype": "float64"}])
def test_other_types_run_with_layers(options):
    if options["dtype"] == "float64" and keras.backend.backend() != "tensorflow":
        pytest.skip("Keras has float64 on TensorFlow only")
    model = tcnzoo.create(SPEC, "keras", weights=weights_of(SPEC), **options)
    _, state = tcnzoo.step(model, noise(1, 3, 5), tcnzoo.init_state(model, 1))
    assert not isinstance(state, TapeState)


def test_mixed_precision_runs_with_layers():
    from tcnzoo.backends.keras import SpecModel

    model = SpecModel(tcnzoo.load_spec(SPEC), dtype="mixed_bfloat16")
    assert not Streams(model).works
