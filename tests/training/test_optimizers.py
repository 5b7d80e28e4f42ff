"""Optimisers: torch.optim's update in every backend, clipping, accumulation, state."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, WeightError
from tcnzoo.training.counts import Counts
from tcnzoo.training.optimizers import Optimizer, updated
from tests.support.compare import assert_close, assert_refused, noise, weights_of
from tests.support.train_oracles import NumpyOptimizer, plan_of, read, stepper_of, uncompiled

CASES = {
    "sgd": {"kind": "sgd", "lr": 0.1, "weight_decay": 0.2},
    "momentum": {"kind": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
    "nesterov": {"kind": "sgd", "lr": 0.05, "momentum": 0.8, "nesterov": True},
    "adam": {"kind": "adam", "lr": 0.03, "weight_decay": 0.3, "betas": [0.8, 0.95]},
    "eps": {"kind": "adam", "lr": 0.03, "eps": 0.1},
    "adamw": {"kind": "adamw", "lr": 0.03, "weight_decay": 0.5, "no_decay": ["bias"]},
}
STEPS = 8
SPEC = {"kind": "dense", "in_features": 3, "out_features": 4}


def rate_of(told, step):
    """A rate that changes with every step."""
    return told["lr"] * (1.0 - 0.1 * step)


@pytest.fixture(params=CASES)
def told(request):
    """Each optimiser."""
    return CASES[request.param]


@pytest.fixture
def eager(native):
    """Each backend that differentiates, its steps uncompiled."""
    with uncompiled(native):
        yield native


def test_the_update_is_that_of_torch_optim(told):
    torch = pytest.importorskip("torch")
    optimizer = read(Optimizer, told)
    start, slopes = noise(3, 4), noise(STEPS, 3, 4, seed=1)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    names = {"lr": "lr", "betas": "betas", "eps": "eps", "momentum": "momentum"}
    names |= {"nesterov": "nesterov", "weight_decay": "weight_decay"}
    options = {name: told[name] for name in names if name in told}
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    theirs = kinds[told["kind"]]([parameter], **options)
    mine, slots = start, dict.fromkeys(optimizer.slots, np.zeros((3, 4)))
    by_hand, hand = NumpyOptimizer({**told, "no_decay": []}), {"w": start}
    for step, slope in enumerate(slopes):
        theirs.param_groups[0]["lr"] = rate_of(told, step)
        parameter.grad = torch.from_numpy(slope)
        theirs.step()
        factors = optimizer.factors(rate_of(told, step), step + 1)
        decays = optimizer.weight_decay > 0
        mine, slots = updated(optimizer, decays, mine, slope, slots, factors, np.sqrt)
        hand = by_hand.step(hand, {"w": slope}, rate_of(told, step))
        assert_close(mine, parameter.detach().numpy(), 1e-13)
        assert_close(hand["w"], mine, 1e-13)


def slopes_of(weights, batch):
    """Gradients of the mean squared error of a dense layer, float64."""
    y = np.einsum("oi,bit->bot", weights["weight"], batch["x"]) + weights["bias"][:, None]
    back = 2.0 * (y - batch["y"]) / y.size
    return {"weight": np.einsum("bot,bit->oi", back, batch["x"]), "bias": back.sum(axis=(0, 2))}


def batch_of(seed, size=4):
    """A batch for the dense layer."""
    return {"x": noise(size, 3, 5, seed=seed), "y": noise(size, 4, 5, seed=seed + 50)}


def clipped(slopes, value=None, norm=None):
    """Gradients limited by value, then by norm."""
    if value is not None:
        slopes = {name: np.clip(slope, -value, value) for name, slope in slopes.items()}
    if norm is not None:
        length = np.sqrt(sum(np.square(slope).sum() for slope in slopes.values()))
        slopes = {name: slope * min(1.0, norm / length) for name, slope in slopes.items()}
    return slopes


def follow(backend, told, **limits):
    """Take steps in a backend and in numpy; hold both equal, and return (stepper, oracle)."""
    weights = weights_of(SPEC)
    model = tcnzoo.create(SPEC, backend, weights=weights)
    plan = plan_of(told, clip_norm=limits.get("norm"), clip_value=limits.get("value"))
    stepper = stepper_of(backend, model, plan)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    oracle = NumpyOptimizer(told)
    for step in range(STEPS):
        batch = batch_of(step)
        slopes = slopes_of(wide, batch)
        found = stepper.step([batch], rate_of(told, step), step)
        length = np.sqrt(sum(np.square(slope).sum() for slope in slopes.values()))
        assert float(found["gradient_norm"]) == pytest.approx(length, rel=1e-4)
        wide = oracle.step(wide, clipped(slopes, **limits), rate_of(told, step))
    assert_close(tcnzoo.get_weights(model), wide)
    return stepper, oracle


@pytest.mark.parametrize(
    "limits", [{"norm": 0.3}, {"value": 0.05}, {"value": 0.1, "norm": 0.2}], ids=str
)
def test_gradients_are_clipped_by_value_then_by_norm(eager, limits):
    follow(eager, CASES["momentum"], **limits)


def test_steps_and_moments_are_those_of_numpy(eager, told):
    stepper, oracle = follow(eager, told)
    state = stepper.state()
    assert int(state.pop("step")) == STEPS
    moments = {
        "sgd": {"momentum": lambda held: held} if told.get("momentum") else {},
        "adam": {"exp_avg": lambda held: held[0], "exp_avg_sq": lambda held: held[1]},
    }[told["kind"].rstrip("w")]
    assert set(state) == {f"{slot}.{name}" for slot in moments for name in oracle.counts}
    for slot, part in moments.items():
        for name, held in oracle.held.items():
            assert_close(state[f"{slot}.{name}"], part(held), label=f"{slot} {name}")


def test_micro_batches_count_by_their_examples(eager):
    weights = weights_of(SPEC)
    whole = batch_of(1, size=6)
    parts = [{name: array[rows] for name, array in whole.items()} for rows in
             (slice(0, 1), slice(1, 3), slice(3, 6))]  # fmt: skip
    after, values = [], []
    for batches in ([whole], parts):
        model = tcnzoo.create(SPEC, eager, weights=weights)
        found = stepper_of(eager, model, plan_of({"kind": "sgd"})).step(batches, 0.5, 0)
        values.append([float(found[name]) for name in ("loss", "mse", "gradient_norm")])
        after.append(tcnzoo.get_weights(model))
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert_close(after[1], after[0], 1e-6)


def test_frozen_parameters_rest_and_count_for_themselves_afterwards(eager):
    told = CASES["adamw"]
    weights = weights_of(SPEC)
    model = tcnzoo.create(SPEC, eager, weights=weights)
    stepper = stepper_of(eager, model, plan_of(told, frozen=frozenset({"weight"})))
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    oracle = NumpyOptimizer(told)
    for step in range(6):
        if step == 3:
            np.testing.assert_array_equal(tcnzoo.get_weights(model)["weight"], weights["weight"])
            state = stepper.state()
            assert int(state["step"]) == 3
            assert int(state["step.weight"]) == 0
            assert "exp_avg.weight" not in state
            stepper.freeze(frozenset())
        batch = batch_of(step)
        slopes = slopes_of(wide, batch)
        moving = slopes if step >= 3 else {"bias": slopes["bias"]}
        stepper.step([batch], 0.02, step)
        wide = oracle.step(wide, moving, 0.02)
    assert_close(tcnzoo.get_weights(model), wide)
    state = stepper.state()
    assert int(state["step"]) == 6
    assert int(state["step.weight"]) == 3
    again = tcnzoo.create(SPEC, eager, weights=tcnzoo.get_weights(model))
    resumed = stepper_of(eager, again, plan_of(told))
    resumed.load_state(state)
    assert_close(resumed.state(), state, 0.0)
    batch = batch_of(9)
    resumed.step([batch], 0.02, 9)
    assert_close(tcnzoo.get_weights(again), oracle.step(wide, slopes_of(wide, batch), 0.02))


def test_what_cannot_be_frozen(native):
    model = tcnzoo.create(SPEC, native)
    stepper = stepper_of(native, model, plan_of({"kind": "sgd"}))
    sentence = "'wieght' cannot be frozen: no such parameter; did you mean 'weight'?"
    assert_refused(InputError, sentence, stepper.freeze, frozenset({"wieght"}))
    sentence = "every parameter is frozen: there is nothing left to train"
    assert_refused(InputError, sentence, stepper.freeze, frozenset({"weight", "bias"}))


def _without(state, name):
    return {key: array for key, array in state.items() if key != name}


BAD = {
    "no step": (lambda s: _without(s, "step"),
                "an optimiser state must have 'step', but this one has none"),
    "other optimiser": (lambda s: {**s, "momentum.weight": s["exp_avg.weight"]},
                        "adam keeps no state 'momentum.weight' for this model; did you mean "),
    "missing": (lambda s: _without(s, "exp_avg_sq.bias"),
                "the optimiser state lacks 'exp_avg_sq.bias', which adam keeps"),
    "shape": (lambda s: {**s, "exp_avg.bias": np.zeros(5)},
              "optimiser state 'exp_avg.bias' must have shape (4,), but has (5,)"),
}  # fmt: skip


@pytest.mark.parametrize("change, sentence", BAD.values(), ids=BAD)
def test_states_that_do_not_fit_change_nothing(eager, change, sentence):
    model = tcnzoo.create(SPEC, eager)
    stepper = stepper_of(eager, model, plan_of(CASES["adam"]))
    stepper.step([batch_of(0)], 0.1, 0)
    before = stepper.state()
    with pytest.raises(WeightError) as caught:
        stepper.load_state(change(before))
    assert str(caught.value).startswith(sentence)
    assert_close(stepper.state(), before, 0.0)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "sgd", "nesterov": True},
        {"kind": "adam", "betas": [0.9, 1.0]},
        {"kind": "adam", "eps": 0.0},
        {"kind": "sgd", "lr": -1.0},
        {"kind": "rmsprop"},
        {"kind": "sgd", "eps": 1e-8},
    ],
)
def test_configurations_that_mean_nothing(told):
    with pytest.raises(ValueError, match="validation error"):
        read(Optimizer, told)


def test_patterns_of_what_does_not_decay():
    optimizer = read(Optimizer, {"kind": "adamw", "no_decay": ["*.bias", "norm*"]})
    assert optimizer.decays("conv.weight")
    assert not optimizer.decays("conv.bias")
    assert not optimizer.decays("norm1.weight")
    assert not read(Optimizer, {"kind": "sgd"}).decays("conv.weight")


def test_scalars_are_exact_where_float32_would_not_be():
    # In float32, 1 - 0.999 has lost three digits, and the first steps with them.
    optimizer = read(Optimizer, {"kind": "adam"})
    counts = Counts(optimizer, tcnzoo.load_spec(SPEC).params())
    (row,) = counts.advance(1e-3)
    assert row[0] == np.float32(1e-3 / (1.0 - 0.9))
    assert row[1] == np.float32(np.sqrt(1.0 - 0.999))
