"""One training step of each stage of the behaviour model: the same parameters in every backend."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.behaviour import simulate
from tcnzoo.behaviour.demo import STAGES
from tcnzoo.training import load_config
from tcnzoo.training.freezing import frozen_in
from tcnzoo.training.stepper import Plan
from tests.support.compare import weights_of
from tests.support.train_oracles import stepper_of, uncompiled

BACKENDS = ("torch", "mlx", "keras")
STEPS = 24


def stepped(backend, stage):
    """Weights after one step of a stage without dropout, and the losses of the step."""
    config = load_config(stage, **{"model.encoder.layers.tcn.dropout": 0.0})
    spec, told = config.spec, config.training
    model = tcnzoo.create(spec, backend, weights=weights_of(spec))
    frozen = frozen_in(told, spec.params(), 0)
    plan = Plan(config.optimizer, config.losses, clip_norm=told.clip_norm, frozen=frozen)
    made = simulate(4 * STEPS, seed=5)
    x = np.moveaxis(made.signal.reshape(9, 2, 4, STEPS), 2, 0)
    batch = {"x": np.ascontiguousarray(x), "y": made.labels.reshape(4, STEPS)}
    with uncompiled(backend):
        values = stepper_of(backend, model, plan).step([batch], config.optimizer.lr, seed=1)
    return tcnzoo.get_weights(model), {name: float(value) for name, value in values.items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_gives_the_same_parameters(stage):
    for backend in BACKENDS:
        pytest.importorskip({"mlx": "mlx.core"}.get(backend, backend))
    known, losses = stepped("torch", stage)
    start = weights_of(load_config(stage).spec)
    assert any((known[name] != start[name]).any() for name in start)
    for backend in BACKENDS[1:]:
        weights, values = stepped(backend, stage)
        for name, value in losses.items():
            assert values[name] == pytest.approx(value, rel=1e-4), (backend, name)
        for name, one in known.items():
            # Adam divides by a gradient's size, so one near 0 may go another way: 1e-4 of weights.
            np.testing.assert_allclose(weights[name], one, rtol=1e-4, atol=1e-4, err_msg=name)
