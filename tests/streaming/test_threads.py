"""Threads that share a model: one state for all of them, and a model that another one trains."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import tcnzoo
from tests.conftest import BACKENDS
from tests.support.compare import assert_close, noise, weights_of

STREAM = {
    "kind": "tcn",
    "in_channels": 4,
    "channels": [8, 8],
    "kernel_size": 3,
    "norm": None,
}
MEMORY = {**STREAM, "squeeze_excitation": {"pool": "cumulative", "reduction": 2}}
TRAINED = {**STREAM, "norm": "batch_norm", "dropout": 0.3}
CREW, STEPS = 8, 20


def _together(calls):
    """Run functions in threads that begin at one time and change as often as they can."""
    interval, gate = sys.getswitchinterval(), threading.Barrier(len(calls))

    def begin(call):
        gate.wait()
        call()

    crew = [threading.Thread(target=begin, args=(call,)) for call in calls]
    sys.setswitchinterval(1e-6)
    try:
        for one in crew:
            one.start()
        for one in crew:
            one.join()
    finally:
        sys.setswitchinterval(interval)


def wrong_streams(backend, spec, rounds):
    """How many of the streams that go on from one state in eight threads come out otherwise."""
    wrong = 0
    for seed in range(rounds):
        model = tcnzoo.create(spec, backend, weights=weights_of(spec, seed))
        x = noise(CREW, 4, 3 + STEPS, seed=seed).astype(np.float32)
        _, state = tcnzoo.step(model, x[:1, :, :1], tcnzoo.init_state(model))
        _, state = tcnzoo.step(model, x[:1, :, 1:2], state)
        right = [tcnzoo.step(model, row[None, :, 3:], state)[0] for row in x]
        found = [[] for _ in range(CREW)]

        def go(place, model=model, state=state, x=x, found=found):
            own = state
            for step in range(3, 3 + STEPS):
                y, own = tcnzoo.step(model, x[place : place + 1, :, step : step + 1], own)
                found[place].append(y)

        _together([lambda place=place, go=go: go(place) for place in range(CREW)])
        for pieces, expected in zip(found, right, strict=True):
            close = len(pieces) == STEPS and np.allclose(
                np.concatenate(pieces, axis=2), expected, atol=1e-4
            )
            wrong += not close
    return wrong


@pytest.mark.parametrize("name", ["stream", "memory"])
def test_a_state_is_not_changed_by_other_threads(backend, name):
    spec = {"stream": STREAM, "memory": MEMORY}[name]
    if backend != "mlx":
        assert wrong_streams(backend, spec, 8 if backend == "torch" else 2) == 0
        return
    # In a process of its own, which has to end well: see `Compiled` in backends/mlx/stream.py.
    source = "from tests.streaming.test_threads import wrong_streams"
    code = f"{source}; print(wrong_streams('mlx', {spec!r}, 2))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("0", 0), done.stderr


@pytest.fixture(params=[name for name in ("torch", "mlx") if name in BACKENDS])
def moody(request):
    """Each backend whose models have a mode."""
    return request.param


@pytest.fixture(params=[name for name in ("torch",) if name in BACKENDS])
def torch(request):
    """torch itself, where it is tested."""
    return pytest.importorskip(request.param)


@pytest.fixture
def in_training(moody):
    """(model in training, x, its output in evaluation)."""
    backend = moody
    model, x = tcnzoo.create(TRAINED, backend, weights=weights_of(TRAINED)), noise(2, 4, 30)
    right = tcnzoo.predict(model, x)
    model.train()
    return model, x, right


def test_calls_leave_the_mode_alone_even_while_they_run(in_training):
    model, x, right = in_training
    before = tcnzoo.get_weights(model)
    modes = []
    # Hooks of torch, and what MLX tells an observer, are called in the midst of a call.
    parts = [part for part in model.modules() if hasattr(part, "spec")]
    for part in parts:
        if hasattr(part, "register_forward_pre_hook"):
            part.register_forward_pre_hook(lambda *_: modes.append({p.training for p in parts}))
        else:
            part._observer = lambda *_: modes.append({p.training for p in parts})
    assert_close(tcnzoo.predict(model, x), right)
    assert_close(tcnzoo.step(model, x, tcnzoo.init_state(model, 2))[0], right)
    tcnzoo.gradients(model, x, right)
    assert len(modes) > 30
    assert set().union(*modes) == {True}
    after = tcnzoo.get_weights(model)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_gradients_in_training_update_the_statistics_of_the_model(in_training):
    model, x, right = in_training
    model.eval()
    before = tcnzoo.get_weights(model)
    tcnzoo.gradients(model, x, right, training=True)
    assert not model.training
    after = tcnzoo.get_weights(model)
    moved = {name for name, array in before.items() if not np.array_equal(after[name], array)}
    statistics = {name for name, param in model.tcnzoo.params.items() if not param.trainable}
    assert moved == statistics


def _trained(backend, model, x):
    """What takes a training step of a model by hand."""
    if backend == "torch":
        import torch

        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        batch = torch.from_numpy(x.astype(np.float32))

        def step():
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

        return step

    def step():
        weights = tcnzoo.get_weights(model)
        tcnzoo.set_weights(model, {name: array * 1.01 for name, array in weights.items()})

    return step


def test_training_in_the_midst_of_a_call_is_an_error(in_training, moody):
    model, x, _ = in_training
    step = _trained(moody, model, x)
    part = model.blocks.get_submodule("1") if moody == "torch" else model.blocks[1]

    def interfere(*_):
        nonlocal step
        once, step = step, None
        if once is not None:
            thread = threading.Thread(target=once)
            thread.start()
            thread.join()

    if moody == "torch":
        part.conv1.register_forward_hook(interfere)
    else:
        part["conv1"]._observer = interfere
    with pytest.raises(tcnzoo.InputError, match="trained by another thread during this call"):
        tcnzoo.predict(model, x)
    right = tcnzoo.predict(model, x)
    model.eval()
    assert_close(tcnzoo.predict(model, x), right)


def test_a_compiled_model_in_training(torch):
    # What torch.compile returns stays in training, and the model that it holds is evaluated.
    model, x = tcnzoo.create(TRAINED, "torch", weights=weights_of(TRAINED)), noise(2, 4, 30)
    right = tcnzoo.predict(model, x)
    compiled = torch.compile(model, backend="eager").train()
    assert_close(tcnzoo.predict(compiled, x), right)
    assert compiled.training
    assert model.training


def test_a_model_that_goes_into_training_in_the_midst_of_a_call(torch):
    model, x = tcnzoo.create(TRAINED, "torch"), noise(1, 4, 9)
    model.blocks.get_submodule("0").register_forward_hook(lambda *_: model.train() and None)
    with pytest.raises(tcnzoo.InputError, match="trained by another thread during this call"):
        tcnzoo.predict(model, x)


@pytest.mark.parametrize("name", ["torch", "mlx"])  # Keras is told the mode at each call
def test_a_turn_into_training_and_back_is_noticed(name):
    if name not in BACKENDS:
        pytest.skip(f"{name} is not tested")
    model, x = tcnzoo.create(STREAM, name, weights=weights_of(STREAM)), noise(2, 4, 30)
    part = model.get_submodule("blocks.0") if name == "torch" else model.blocks[0]

    def turn(*_):
        model.train()
        model.eval()

    if name == "torch":
        hook = part.register_forward_hook(turn)
    else:
        part._observer = turn
    with pytest.raises(tcnzoo.InputError, match="was trained by another thread during this call"):
        tcnzoo.predict(model, x)
    if name == "torch":
        hook.remove()
    else:
        part._observer = None
    tcnzoo.predict(model, x)
    model.eval()  # which changes nothing
    tcnzoo.predict(model, x)


def test_threads_predict_while_one_trains(torch):
    # With a rate of 0 what is right does not change.
    spec = {**STREAM, "dropout": 0.3}
    model, x = tcnzoo.create(spec, "torch", weights=weights_of(spec)), noise(2, 4, 30)
    right = tcnzoo.predict(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch, stop, outcomes = torch.from_numpy(x.astype(np.float32)), threading.Event(), []

    def train():
        while not stop.is_set():
            model.train()
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            model.eval()

    def predict():
        for _ in range(10):
            try:
                outcomes.append(np.allclose(tcnzoo.predict(model, x), right, atol=1e-5))
            except tcnzoo.InputError:
                outcomes.append(None)

    trainer = threading.Thread(target=train)
    trainer.start()
    _together([predict] * 4)
    stop.set()
    trainer.join()
    assert len(outcomes) == 40
    assert False not in outcomes
