"""Losses of training: values and gradients in every backend, targets, masks, refusals."""

from importlib import import_module

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.models.backend import backend_modules
from tcnzoo.training.losses import Loss, loss_names
from tcnzoo.training.targets import Targets
from tests.support.compare import assert_close, assert_refused, noise, weights_of
from tests.support.train_oracles import (
    loss_in_numpy,
    plan_of,
    read,
    sigmoid,
    stepper_of,
    uncompiled,
)

SIZE, CHANNELS, TIME = 4, 3, 5
PER_STEP, PER_EXAMPLE = "steps", "examples"

CLASSES = {
    "plain": {"kind": "cross_entropy"},
    "smooth": {"kind": "cross_entropy", "label_smoothing": 0.2, "mask": PER_EXAMPLE},
    "all": {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": [0.5, 2.0, 1.5],
            "ignore": 1, "mask": PER_STEP},
    "focal": {"kind": "focal", "activation": "softmax", "gamma": 1.5},
    "focal-all": {"kind": "focal", "activation": "softmax", "alpha": [0.2, 1.0, 3.0],
                  "ignore": 2, "mask": PER_EXAMPLE},
}  # fmt: skip
BINARY = {
    "bce": {"kind": "bce", "pos_weight": 3.0},
    "bce-each": {"kind": "bce", "pos_weight": [0.5, 2.0, 4.0], "mask": PER_STEP},
    "focal": {"kind": "focal", "alpha": 0.25},
    "focal-all": {"kind": "focal", "gamma": 0.5, "alpha": 0.7, "pos_weight": 2.0,
                  "mask": PER_EXAMPLE},
}  # fmt: skip
VALUES = {
    "mse": {"kind": "mse", "mask": PER_STEP},
    "mae": {"kind": "mae"},
    "huber": {"kind": "huber", "delta": 0.7, "mask": PER_EXAMPLE},
}
TARGETS = {"class": CLASSES, "binary": BINARY, "value": VALUES}
CASES = [
    pytest.param(told, target, id=f"{target}-{name}")
    for target, table in TARGETS.items()
    for name, told in table.items()
]


@pytest.fixture
def eager(native):
    """Each backend that differentiates, its steps uncompiled."""
    with uncompiled(native):
        yield native


def batch_of(target, signal=True):
    """A batch with a target of a sort, and both masks."""
    generator = np.random.default_rng(3)
    steps = (TIME,) if signal else ()
    shape = (SIZE, CHANNELS, *steps)
    y = {
        "class": generator.integers(0, CHANNELS, (SIZE, *steps)),
        "binary": generator.integers(0, 2, shape).astype(float),
        "value": generator.standard_normal(shape),
    }[target]
    return {
        "x": noise(*shape),
        "y": y,
        PER_STEP: (generator.random((SIZE, *steps)) < 0.6).astype(float),
        PER_EXAMPLE: np.array([1.0, 0.0, 1.0, 1.0]),
    }


def slopes_in_numpy(told, weights, batch):
    """Central differences of a loss by the weights of one dense layer, in float64."""

    def loss_at(moved):
        y = np.einsum("oi,bi...->bo...", moved["weight"], batch["x"])
        bias = moved["bias"].reshape(-1, *[1] * (y.ndim - 2))
        return loss_in_numpy(told, y + bias, batch)

    found = {name: np.zeros(array.shape) for name, array in weights.items()}
    for name, array in weights.items():
        for place in np.ndindex(array.shape):
            way = np.zeros(array.shape)
            way[place] = 1e-5
            ends = [loss_at({**weights, name: array + sign * way}) for sign in (1, -1)]
            found[name][place] = (ends[0] - ends[1]) / 2e-5
    return loss_at(weights), found


@pytest.mark.parametrize("told, target", CASES)
def test_value_and_gradient(eager, told, target):
    # One step of plain SGD at rate 1 shows the gradient.
    spec = {"kind": "dense", "in_features": CHANNELS, "out_features": CHANNELS}
    weights, batch = weights_of(spec), batch_of(target)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    value, slopes = slopes_in_numpy(told, wide, batch)
    model = tcnzoo.create(spec, eager, weights=weights)
    stepper = stepper_of(eager, model, plan_of({"kind": "sgd"}, {**told, "weight": 0.5}))
    terms, output = stepper.evaluate(batch)
    assert_close(output, tcnzoo.predict(model, batch["x"]))
    assert terms["loss"] == pytest.approx(0.5 * value, rel=1e-5)
    assert terms[told["kind"]] == pytest.approx(value, rel=1e-5)
    found = stepper.step([batch], 1.0, 0)
    assert float(found["loss"]) == pytest.approx(0.5 * value, rel=1e-5)
    after = tcnzoo.get_weights(model)
    for name in weights:
        # Differences of float32 weights near 1.
        assert_close(wide[name] - after[name], 0.5 * slopes[name], 1e-6, name)
    norm = np.sqrt(sum(np.square(0.5 * slope).sum() for slope in slopes.values()))
    assert float(found["gradient_norm"]) == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("told", [CLASSES["all"], BINARY["bce"]], ids=["classes", "values"])
def test_vectors_and_sums_of_losses(eager, told):
    spec = {"kind": "dense", "in_features": CHANNELS, "out_features": CHANNELS}
    weights = weights_of(spec)
    batch = batch_of("class" if told is CLASSES["all"] else "binary", signal=False)
    batch["other"] = noise(SIZE, CHANNELS, seed=5)
    model = tcnzoo.create(spec, eager, weights=weights)
    other = {"kind": "mae", "target": "other", "weight": 2.0, "name": "far"}
    terms, y = stepper_of(eager, model, plan_of({"kind": "sgd"}, told, other)).evaluate(batch)
    one = loss_in_numpy(told, y.astype(np.float64), batch)
    two = np.abs(y - batch["other"]).mean()
    assert terms[told["kind"]] == pytest.approx(one, rel=1e-5)
    assert terms["far"] == pytest.approx(two, rel=1e-5)
    assert terms["loss"] == pytest.approx(one + 2.0 * two, rel=1e-5)


@pytest.mark.parametrize("told", [CLASSES["all"], VALUES["mse"]], ids=["classes", "values"])
def test_where_nothing_counts_the_loss_is_nought_and_nothing_moves(eager, told):
    spec = {"kind": "dense", "in_features": CHANNELS, "out_features": CHANNELS}
    weights = weights_of(spec)
    model = tcnzoo.create(spec, eager, weights=weights)
    batch = batch_of("class" if told is CLASSES["all"] else "value")
    batch[PER_STEP][:] = 0.0
    found = stepper_of(eager, model, plan_of({"kind": "sgd"}, told)).step([batch], 1.0, 0)
    assert float(found["loss"]) == 0.0
    after = tcnzoo.get_weights(model)
    assert all(np.array_equal(after[name], weights[name]) for name in weights)


@pytest.mark.parametrize("told", [CLASSES["focal"], BINARY["focal"]], ids=["softmax", "sigmoid"])
def test_focal_loss_of_certain_outputs_has_a_finite_gradient(eager, told):
    spec = {"kind": "dense", "in_features": CHANNELS, "out_features": CHANNELS, "bias": False}
    model = tcnzoo.create(spec, eager, weights={"weight": 200.0 * np.eye(3, dtype=np.float32)})
    x = np.eye(3)
    y = np.arange(3) if told is CLASSES["focal"] else x
    plan = plan_of({"kind": "sgd"}, {**told, "gamma": 0.5})
    stepper_of(eager, model, plan).step([{"x": x, "y": y}], 1.0, 0)
    assert np.isfinite(tcnzoo.get_weights(model)["weight"]).all()


def _native_array(backend, array):
    """An array as the losses of a backend take it."""
    array = np.asarray(array, dtype=np.float32)
    if backend == "torch":
        return import_module("torch").from_numpy(array)
    if backend == "mlx":
        return import_module("mlx.core").array(array)
    return import_module("keras").ops.convert_to_tensor(array)


def test_terms_and_named_outputs(native):
    losses = import_module(f"{backend_modules()[native]}.losses")
    told = {
        "commitment": read(Loss, {"kind": "term", "output": "commitment", "weight": 0.25}),
        "mse": read(Loss, {"kind": "mse", "output": "copy"}),
    }
    values = {"first": [[9.0, 9.0]], "commitment": 3.0, "copy": [[1.0, 2.0]]}
    outputs = {name: _native_array(native, value) for name, value in values.items()}
    total, found = losses.total(told, outputs, {"target.mse": _native_array(native, [[0.0, 4.0]])})
    assert float(found["commitment"]) == 3.0
    assert float(found["mse"]) == 2.5
    assert float(total) == 3.25


def test_names():
    told = [read(Loss, one) for one in ("mse", {"kind": "term", "output": "drift"}, "bce")]
    assert loss_names(told) == ("mse", "drift", "bce")
    twice = [read(Loss, "mse"), read(Loss, "mse")]
    sentence = "two losses would be logged as 'mse'; give one of them a `name`"
    assert_refused(SpecError, sentence, loss_names, twice)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "focal", "alpha": [1.0, 2.0]},
        {"kind": "focal", "alpha": 0.5, "activation": "softmax"},
        {"kind": "focal", "ignore": 1},
        {"kind": "focal", "activation": "softmax", "pos_weight": 2.0},
        {"kind": "huber", "delta": 0.0},
        {"kind": "cross_entropy", "label_smoothing": 1.5},
        {"kind": "mse", "wieght": 1.0},
        {"kind": "term"},
    ],
)
def test_configurations_that_mean_nothing(told):
    with pytest.raises(ValueError, match="validation error"):
        read(Loss, told)


SPEC = tcnzoo.load_spec({"kind": "dense", "in_features": 3, "out_features": 3})
ONE = tcnzoo.load_spec({"kind": "dense", "in_features": 3, "out_features": 1})


def targets_of(spec, told, batch):
    """Checked targets."""
    return Targets(spec, [read(Loss, told)], lambda x, rows: x).of(batch)


def test_targets_of_one_channel_may_leave_out_its_axis():
    x, y = noise(2, 3, 5), np.array([[True, False, True, True, False]] * 2)
    found = targets_of(ONE, "bce", {"x": x, "y": y})["target.bce"]
    assert found.shape == (2, 1, 5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 0], y)


X = np.zeros((2, 3, 5))
BAD = {
    "class too high": ("cross_entropy", {"y": np.full((2, 5), 3)},
                       "the classes of loss 'cross_entropy' must be 0 to 2, but the target has 3"),
    "class below": ({"kind": "cross_entropy", "ignore": -100}, {"y": np.full((2, 5), -1)},
                    "the classes of loss 'cross_entropy' must be 0 to 2, but the target has -1"),
    "real classes": ("cross_entropy", {"y": np.zeros((2, 5))},
                     "loss 'cross_entropy' takes integer classes, but the target is float64"),
    "words": ("mse", {"y": np.array([["a"]])},
              "loss 'mse' takes real targets, but the target is <U1"),
    "shape": ("mse", {"y": np.zeros((2, 5))},
              "the target of loss 'mse' must have shape (2, 3, 5), but has (2, 5)"),
    "mask": ({"kind": "mse", "mask": "m"}, {"y": X, "m": np.ones((2, 4))},
             "the mask of loss 'mse' must have shape (2,) or (2, 5), but has (2, 4)"),
    "absent": ("mse", {"z": X}, "loss 'mse' needs 'y', but the batch holds x, z"),
    "output": ({"kind": "mse", "output": "odd"}, {"y": X},
               "a loss names the output 'odd', but the model has one output"),
}  # fmt: skip


@pytest.mark.parametrize("told, more, sentence", BAD.values(), ids=BAD)
def test_targets_that_do_not_fit(told, more, sentence):
    assert_refused(InputError, sentence, targets_of, SPEC, told, {"x": X, **more})


EMBEDDED = tcnzoo.load_spec(
    {"kind": "temporal_block", "in_channels": 3, "channels": 3,
     "embeddings": [{"channels": 2}, {"channels": 4, "per_step": True}]}
)  # fmt: skip


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ({"embedding0": (2, 2)},
         "the model needs 'embedding1', but the batch holds x, y, embedding0"),
        ({"embedding0": (2, 2), "embedding1": (2, 4)},
         "embedding 1 must have shape (2, 4, 5), but has (2, 4)"),
    ],
)  # fmt: skip
def test_embeddings_that_do_not_fit(rows, sentence):
    batch = {"x": X, "y": X, **{name: np.zeros(shape) for name, shape in rows.items()}}
    assert_refused(InputError, sentence, targets_of, EMBEDDED, "mse", batch)


def test_class_weights_of_another_number_are_refused(eager):
    told = {"kind": "cross_entropy", "class_weights": [1.0, 2.0]}
    stepper = stepper_of(eager, tcnzoo.create(SPEC, eager), plan_of({"kind": "sgd"}, told))
    sentence = "class_weights has 2 values, but the output has 3 channels"
    batch = {"x": X, "y": np.zeros((2, 5), dtype=int)}
    assert_refused(InputError, sentence, stepper.evaluate, batch)


def test_the_oracle_itself_knows_a_loss_by_heart():
    y, batch = np.log([[0.2, 0.3, 0.5]]), {"y": np.array([2])}
    assert loss_in_numpy({"kind": "cross_entropy"}, y, batch) == pytest.approx(-np.log(0.5))
    zero = {"y": np.array([[0.0]])}
    value = loss_in_numpy({"kind": "bce"}, np.array([[1.0]]), zero)
    assert value == pytest.approx(-np.log(sigmoid(-1.0)))
