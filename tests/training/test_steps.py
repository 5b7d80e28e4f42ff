"""Native training steps: resumed to the bit and across backends, dropout, statistics, freezing."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tcnzoo.training.shifts import cancelled_biases
from tcnzoo.training.targets import Targets
from tests.support.compare import assert_close, assert_refused, assert_same_bits, noise, weights_of
from tests.support.train_oracles import plan_of, stepper_of, uncompiled

NORMED = {
    "kind": "sequential",
    "layers": {
        "stem": {"kind": "conv_block", "in_channels": 3, "out_channels": 5, "kernel_size": 3,
                 "norm": "batch_norm", "activation": "tanh", "dropout": 0.2},
        "head": {"kind": "conv1d", "in_channels": 5, "out_channels": 4, "kernel_size": 2},
    },
}  # fmt: skip
QUIET = {
    **NORMED,
    "layers": {**NORMED["layers"], "stem": {**NORMED["layers"]["stem"], "dropout": 0.0}},
}
ADAM = {"kind": "adamw", "lr": 0.01}
ENTROPY = {"kind": "cross_entropy", "label_smoothing": 0.1}


def batch_of(seed, size=4):
    """Signals, and classes of every step."""
    generator = np.random.default_rng([seed, 9])
    return {"x": noise(size, 3, 11, seed=seed), "y": generator.integers(0, 4, (size, 11))}


def train(stepper, steps):
    """Losses of some steps, numbered as in a run."""
    rate = [0.01 * (1.0 - 0.01 * step) for step in range(100)]
    return [float(stepper.step([batch_of(step)], rate[step], step)["loss"]) for step in steps]


@pytest.fixture
def eager(native):
    """Each backend that differentiates, its steps uncompiled."""
    with uncompiled(native):
        yield native


def test_a_resumed_run_ends_with_the_same_bits(native):
    # Compiled, with dropout and running statistics.
    plan = plan_of(ADAM, ENTROPY, clip_norm=1.0)
    whole = tcnzoo.create(NORMED, native, seed=2)
    stepper = stepper_of(native, whole, plan)
    losses = train(stepper, range(3))
    weights, state = tcnzoo.get_weights(whole), stepper.state()
    losses += train(stepper, range(3, 6))
    again = tcnzoo.create(NORMED, native, weights=weights)
    resumed = stepper_of(native, again, plan)
    resumed.load_state(state)
    assert train(resumed, range(3, 6)) == losses[3:]
    assert_same_bits(tcnzoo.get_weights(again), tcnzoo.get_weights(whole))
    assert_same_bits(resumed.state(), stepper.state())
    assert int(state["step"]) == 3


@pytest.mark.parametrize("told", [ADAM, {"kind": "sgd", "momentum": 0.9}], ids=["adamw", "sgd"])
def test_a_run_goes_on_in_another_backend(backends, told):
    if "torch" not in backends:
        pytest.skip("the run begins in torch")
    plan = plan_of(told, ENTROPY)
    model = tcnzoo.create(QUIET, "torch", seed=2)
    stepper = stepper_of("torch", model, plan)
    train(stepper, range(5))
    weights, state = tcnzoo.get_weights(model), stepper.state()
    expected = train(stepper, range(5, 25))
    for name in set(backends) - {"torch", "numpy"}:
        with uncompiled(name):
            other = tcnzoo.create(QUIET, name, weights=weights)
            resumed = stepper_of(name, other, plan)
            resumed.load_state(state)
            np.testing.assert_allclose(train(resumed, range(5, 25)), expected, rtol=1e-4)
        assert_close(tcnzoo.get_weights(other), tcnzoo.get_weights(model), 1e-4, name)


def test_dropout_is_drawn_from_the_seed_of_the_step(eager):
    plan = plan_of({"kind": "sgd"}, ENTROPY)
    found = {}
    for name, seeds in {"a": (7, 8), "same": (7, 8), "other": (9, 8)}.items():
        stepper = stepper_of(eager, tcnzoo.create(NORMED, eager), plan)
        batch = batch_of(0)
        found[name] = [float(stepper.step([batch], 0.0, seed)["loss"]) for seed in seeds]
    assert found["a"] == found["same"]
    assert found["a"][0] != found["other"][0]
    assert found["a"][1] == found["other"][1]
    assert found["a"][0] != found["a"][1]


def test_micro_batches_have_masks_of_their_own(eager):
    # Twice the same examples, at rate 0: were the masks alike, two would give the loss of one.
    plan = plan_of({"kind": "sgd"}, ENTROPY)
    batch = batch_of(0)
    losses = []
    for batches in ([batch], [batch, batch]):
        stepper = stepper_of(eager, tcnzoo.create(NORMED, eager), plan)
        losses.append(float(stepper.step(batches, 0.0, 7)["loss"]))
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


def test_evaluation_moves_nothing_and_drops_nothing(eager):
    model = tcnzoo.create(NORMED, eager, weights=weights_of(NORMED))
    stepper = stepper_of(eager, model, plan_of(ADAM, ENTROPY))
    train(stepper, range(2))
    weights, state = tcnzoo.get_weights(model), stepper.state()
    one, y = stepper.evaluate(batch_of(5))
    two, again = stepper.evaluate(batch_of(5))
    assert one == two
    np.testing.assert_array_equal(y, again)
    assert_close(y, tcnzoo.predict(model, batch_of(5)["x"]))
    assert_same_bits(tcnzoo.get_weights(model), weights)
    assert_same_bits(stepper.state(), state)


def test_running_statistics_move_with_each_step(eager):
    # Of noise of mean 0 and variance 1 through a batch norm that comes first.
    norm = {"kind": "batch_norm", "channels": 3, "momentum": 0.5}
    head = {"kind": "conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 1}
    spec = {"kind": "sequential", "layers": {"norm": norm, "head": head}}
    model = tcnzoo.create(spec, eager)
    stepper = stepper_of(eager, model, plan_of({"kind": "sgd"}, ENTROPY))
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(3):
        x = batch_of(step)["x"]
        stepper.step([batch_of(step)], 0.1, step)
        mean = 0.5 * mean + 0.5 * x.mean(axis=(0, 2))
        variance = 0.5 * variance + 0.5 * x.var(axis=(0, 2), ddof=1)
    after = tcnzoo.get_weights(model)
    assert_close(after["norm.running_mean"], mean)
    assert_close(after["norm.running_var"], variance)


def test_a_bias_that_a_batch_norm_takes_away_rests(eager):
    # Its gradient is rounding, of which Adam would make steps of full size.
    weights = weights_of(QUIET)
    model = tcnzoo.create(QUIET, eager, weights=weights)
    train(stepper_of(eager, model, plan_of({"kind": "adam"}, ENTROPY)), range(2))
    after = tcnzoo.get_weights(model)
    assert_same_bits({"bias": after["stem.conv.bias"]}, {"bias": weights["stem.conv.bias"]})
    assert not np.array_equal(after["head.bias"], weights["head.bias"])
    assert not np.array_equal(after["stem.norm.bias"], weights["stem.norm.bias"])


CONV = {"kind": "conv1d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
NORM = {"kind": "batch_norm", "channels": 3}


def graph_of(**nodes):
    """A graph of named (layer, inputs)."""
    rows = {name: {"layer": layer, "inputs": inputs} for name, (layer, inputs) in nodes.items()}
    return {"kind": "graph", "in_channels": 3, "nodes": rows}


LOST = {
    "block": (NORMED, {"stem.conv.bias"}),
    "tcn": ({"kind": "tcn", "in_channels": 2, "channels": [3], "norm": "batch_norm"},
            {"blocks.0.conv1.bias", "blocks.0.conv2.bias"}),
    "other norm": ({"kind": "tcn", "in_channels": 2, "channels": [3], "norm": "layer_norm"}, set()),
    "row": ({"kind": "sequential", "layers": {"a": CONV, "b": NORM, "c": CONV}}, {"a.bias"}),
    "between": ({"kind": "sequential", "layers": {
        "a": CONV, "b": {"kind": "activation", "name": "relu"}, "c": NORM}}, set()),
    "graph": (graph_of(a=(CONV, ["input"]), b=(NORM, ["a"])), {"a.bias"}),
    "two readers": (graph_of(a=(CONV, ["input"]), b=(NORM, ["a"]),
                             c=({"kind": "merge", "mode": "add"}, ["a", "b"])), set()),
}  # fmt: skip


@pytest.mark.parametrize("spec, names", LOST.values(), ids=LOST)
def test_which_biases_a_batch_norm_takes_away(spec, names):
    assert cancelled_biases(tcnzoo.load_spec(spec)) == names


def test_a_lost_bias_has_no_gradient_in_the_reference():
    spec = tcnzoo.load_spec(QUIET)
    torch = pytest.importorskip("torch")
    model = tcnzoo.create(spec, "torch", weights=weights_of(spec), dtype="float64")
    batch = batch_of(0)
    _, slopes = tcnzoo.gradients(model, batch["x"], batch["y"], "cross_entropy", training=True)
    (name,) = cancelled_biases(spec)
    assert np.abs(slopes[name]).max() < 1e-15
    assert np.abs(slopes["stem.norm.bias"]).max() > 1e-3
    assert torch.is_grad_enabled()


def test_mixed_precision_keeps_float32_weights_and_moments(backends):
    if "mlx" not in backends:
        pytest.skip("of MLX")
    ends = []
    with uncompiled("mlx"):
        for precision in ("32-true", "bf16-mixed"):
            model = tcnzoo.create(QUIET, "mlx", seed=2)
            stepper = stepper_of("mlx", model, plan_of(ADAM, ENTROPY, precision=precision))
            ends.append(train(stepper, range(3)))
            arrays = {**tcnzoo.get_weights(model), **stepper.state()}
            arrays.pop("step")
            assert {str(one.dtype) for one in arrays.values()} == {"float32"}
    assert ends[0] != ends[1]
    np.testing.assert_allclose(ends[1], ends[0], rtol=2e-2)  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    "name, precision, sentence",
    [
        ("mlx", "16-mixed", "32-true, 64-true, bf16-mixed, not in '16-mixed'"),
        ("keras", "bf16-mixed", "32-true, 64-true, not in 'bf16-mixed'"),
    ],
)
def test_precisions_that_a_backend_has_not(backends, name, precision, sentence):
    if name not in backends:
        pytest.skip(f"{name} is not tested here")
    plan = plan_of(ADAM, ENTROPY, precision=precision)
    model = tcnzoo.create(QUIET, name)
    whole = f"backend {name!r} trains in {sentence}"
    assert_refused(InputError, whole, stepper_of, name, model, plan)


@pytest.mark.parametrize("name", ["mlx", "keras"])
def test_a_strategy_that_a_backend_has_not(backends, name):
    if name not in backends:
        pytest.skip(f"{name} is not tested here")
    plan = plan_of(ADAM, ENTROPY, strategy="fsdp")
    sentence = f"backend {name!r} trains by strategy ddp, not by 'fsdp'"
    assert_refused(InputError, sentence, stepper_of, name, tcnzoo.create(QUIET, name), plan)


@pytest.mark.parametrize(
    "precision, dtype, taken",
    [("32-true", "bfloat16", "float32"), ("32-true", "float64", "float32"),
     ("64-true", "float32", "float64")],
)  # fmt: skip
def test_weights_of_another_type_than_the_precision_are_refused(native, precision, dtype, taken):
    model = tcnzoo.create(QUIET, native, dtype=dtype)
    sentence = f"training in {precision} takes {taken} weights, but the model is {dtype}"
    plan = plan_of(ADAM, ENTROPY, precision=precision)
    assert_refused(InputError, sentence, stepper_of, native, model, plan)


def test_plans_that_cannot_be_carried_out():
    spec = tcnzoo.load_spec(QUIET)
    sentence = "training needs at least one loss, but got none"
    assert_refused(InputError, sentence, Targets, spec, [], None)
    twice = plan_of(ADAM, "mse", {"kind": "bce", "name": "loss"}).losses
    sentence = "two losses would be logged as 'loss'; give one of them a `name`"
    assert_refused(SpecError, sentence, Targets, spec, twice, None)


def test_model_fit_stays_usable(backends):
    if "keras" not in backends:
        pytest.skip("of Keras")
    model = tcnzoo.create(QUIET, "keras")
    with uncompiled("keras"):
        train(stepper_of("keras", model, plan_of(ADAM, ENTROPY)), range(1))
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    before = tcnzoo.get_weights(model)
    history = model.fit(noise(4, 11, 3), noise(4, 11, 4), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert not np.array_equal(tcnzoo.get_weights(model)["head.weight"], before["head.weight"])
