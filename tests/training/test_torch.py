"""Training steps of torch, against loops that are written by hand."""

import copy

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.training import losses, optimizers, train
from tcnzoo.training.stepper import Plan
from tests.support.compare import assert_same_bits
from tests.support.runs import CHANNELS, SPEC, STEPS, config_of

torch = pytest.importorskip("torch")

# Rounding of other kernels, of a gradient that is summed in two parts, over a few steps.
ROUNDING = 2e-6


def batch_of(size, seed=0):
    """Noise of two classes."""
    generator = np.random.default_rng([size, seed])
    x = generator.standard_normal((size, CHANNELS, STEPS)).astype(np.float32)
    return {"x": x, "y": generator.integers(0, 2, size)}


def spec_of(norm="batch_norm", dropout=0.0):
    """The model of the runs."""
    spec = copy.deepcopy(SPEC)
    spec["layers"]["tcn"] |= {"norm": norm, "dropout": dropout}
    return spec


def stepper_of(spec, **fields):
    """A model and its stepper."""
    plan = {"optimizer": optimizers.AdamW(lr=0.01), "losses": (losses.CrossEntropy(),), **fields}
    model = tcnzoo.create(spec, "torch", seed=1)
    return model, tcnzoo.models.backend.get_backend("torch").stepper(model, Plan(**plan))


def by_hand(spec, make, batches, rates, clip=None):
    """The same by torch alone: losses, and the model."""
    model = tcnzoo.create(spec, "torch", seed=1).train()
    optimizer, found = make(model.parameters()), []
    for batch, rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model(torch.from_numpy(batch["x"])), torch.from_numpy(batch["y"])
        )
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        found.append(float(loss.detach()))
    return found, model


KINDS = [
    (
        optimizers.Sgd(momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda some: torch.optim.SGD(some, 1.0, 0.9, nesterov=True, weight_decay=0.01),
    ),
    (
        optimizers.Adam(weight_decay=0.01, betas=(0.8, 0.95), eps=1e-6),
        lambda some: torch.optim.Adam(some, 1.0, (0.8, 0.95), 1e-6, weight_decay=0.01),
    ),
    (
        optimizers.AdamW(weight_decay=0.1),
        lambda some: torch.optim.AdamW(some, 1.0, weight_decay=0.1),
    ),
]


@pytest.mark.parametrize("told, make", KINDS, ids=["sgd", "adam", "adamw"])
def test_steps_are_those_of_a_loop_by_hand(told, make):
    spec = spec_of("layer_norm")  # a bias before a batch norm is counted as without a gradient
    batches = [batch_of(5, seed) for seed in range(6)]
    rates = [0.01 / (1 + step) for step in range(6)]
    model, stepper = stepper_of(spec, optimizer=told, clip_norm=0.3)
    found = [stepper.step([one], rate, 0) for one, rate in zip(batches, rates, strict=True)]
    expected, other = by_hand(spec, make, batches, rates, 0.3)
    np.testing.assert_allclose([float(one["loss"]) for one in found], expected, rtol=ROUNDING)
    theirs = tcnzoo.get_weights(other)
    for name, array in tcnzoo.get_weights(model).items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-5, atol=ROUNDING, err_msg=name)
    assert float(found[0]["gradient_norm"]) > 0.3


def test_micro_batches_count_by_their_examples():
    whole = batch_of(9)
    parts = [{name: array[cut] for name, array in whole.items()} for cut in
             (slice(0, 2), slice(2, 6), slice(6, 9))]  # fmt: skip
    found = []
    for batches in ([whole], parts):
        model, stepper = stepper_of(spec_of("layer_norm"))
        values = [stepper.step(batches, 0.01, 0) for _ in range(3)]
        found.append(([float(one["loss"]) for one in values], tcnzoo.get_weights(model)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for name, array in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_values_are_clipped_before_the_norm():
    model, stepper = stepper_of(
        spec_of("layer_norm"), optimizer=optimizers.Sgd(), clip_value=0.01, clip_norm=0.02
    )
    before = tcnzoo.get_weights(model)
    stepper.step([batch_of(5)], 1.0, 0)
    moved = [before[name] - array for name, array in tcnzoo.get_weights(model).items()]
    norm = np.sqrt(sum(float(np.square(one).sum()) for one in moved))
    assert norm == pytest.approx(0.02, rel=1e-3)
    largest = max(np.abs(one).max() for one in moved)
    assert largest < 0.01


def test_frozen_parameters_rest_and_then_move():
    model, stepper = stepper_of(spec_of(), frozen=frozenset({"head.weight"}))
    before = tcnzoo.get_weights(model)
    for _ in range(2):
        stepper.step([batch_of(5)], 0.01, 0)
    after = tcnzoo.get_weights(model)
    assert_same_bits({"w": after["head.weight"]}, {"w": before["head.weight"]})
    assert (after["head.bias"] != before["head.bias"]).all()
    state = stepper.state()
    assert "exp_avg.head.weight" not in state
    assert (int(state["step"]), int(state["step.head.weight"])) == (2, 0)
    stepper.freeze(frozenset())
    stepper.step([batch_of(5)], 0.01, 0)
    # Bias correction counts this parameter's own steps, so that its first one is of full size.
    moved = np.abs(tcnzoo.get_weights(model)["head.weight"] - after["head.weight"])
    np.testing.assert_allclose(moved, 0.01, rtol=0.05)
    assert int(stepper.state()["step.head.weight"]) == 1


def test_state_goes_out_and_in_to_the_bit():
    batches = [batch_of(5, seed) for seed in range(6)]
    model, stepper = stepper_of(spec_of(dropout=0.3))
    for place, one in enumerate(batches[:3]):
        stepper.step([one], 0.01, place)
    weights, state = tcnzoo.get_weights(model), stepper.state()
    other, second = stepper_of(spec_of(dropout=0.3))
    tcnzoo.set_weights(other, weights)
    second.load_state(state)
    for place, one in enumerate(batches[3:]):
        found = [float(each.step([one], 0.01, place)["loss"]) for each in (stepper, second)]
        assert found[0] == found[1]
    assert_same_bits(tcnzoo.get_weights(other), tcnzoo.get_weights(model))
    assert_same_bits(second.state(), stepper.state())


def test_evaluation_changes_nothing():
    model, stepper = stepper_of(spec_of(dropout=0.3))
    stepper.step([batch_of(5)], 0.01, 0)
    weights = tcnzoo.get_weights(model)
    batch = batch_of(4)
    values, outputs = stepper.evaluate(batch)
    assert_same_bits(tcnzoo.get_weights(model), weights)
    np.testing.assert_array_equal(outputs, tcnzoo.predict(model, batch["x"]))
    logs = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    expected = -logs[np.arange(4), batch["y"]].mean()
    assert values["loss"] == values["cross_entropy"] == pytest.approx(expected, rel=1e-5)


def test_mixed_precision_keeps_float32_weights():
    model, stepper = stepper_of(spec_of(), precision="bf16-mixed")
    values = [float(stepper.step([batch_of(16)], 0.01, 0)["loss"]) for _ in range(20)]
    assert values[-1] < 0.9 * values[0]
    assert {str(array.dtype) for array in tcnzoo.get_weights(model).values()} == {"float32"}
    exact = stepper_of(spec_of())[1].step([batch_of(16)], 0.01, 0)["loss"]
    assert 0 < abs(values[0] - float(exact)) < 0.05


def test_half_precision_without_a_gpu_is_refused():
    with pytest.raises(
        InputError, match="precision '16-mixed' needs a GPU; a CPU has 'bf16-mixed'"
    ):
        stepper_of(spec_of(), precision="16-mixed")


def test_a_trained_module_is_as_any_other(tmp_path):
    outcome = train(config_of(tmp_path, backend="torch", training={"freeze": ["head.*"]}))
    assert not outcome.model.training
    assert all(parameter.requires_grad for parameter in outcome.model.parameters())
    y = outcome.model(torch.zeros(2, CHANNELS, STEPS))
    assert y.shape == (2, 2)
