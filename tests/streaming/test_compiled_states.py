"""States of the compiled engine are values; weights, modes and hooks of a model are followed."""

import copy
import gc
import threading

import numpy as np
import pytest

import tcnzoo
from tcnzoo import engines
from tcnzoo.arrays import to_numpy
from tcnzoo.models.backend import installed_backends
from tests.support.cases import conv1d
from tests.support.compare import assert_close, noise, reference, stream, weights_of
from tests.support.streams import STREAMED, STREAMED_TCNS
from tests.support.tcns import tcn

pytest.importorskip("numba")
from tcnzoo.streams import tape  # noqa: E402 - it needs numba
from tcnzoo.streams.tape import TapeState  # noqa: E402

SPEC = STREAMED_TCNS["weight_norm"]
LENGTH = 30


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """The compiled one only."""
    monkeypatch.setenv(engines.ENGINE, "compiled")


@pytest.fixture(params=[name for name in ("numpy", "torch") if name in installed_backends()])
def model(request):
    return tcnzoo.create(SPEC, request.param, weights=weights_of(SPEC))


def answer(spec, x, weights=None):
    weights = weights_of(spec) if weights is None else weights
    return tcnzoo.predict(reference(spec, weights), x)


def test_the_engine_runs(model):
    y, state = tcnzoo.step(model, noise(1, 3, 4), tcnzoo.init_state(model))
    assert isinstance(state, TapeState)
    assert y.dtype == np.float32


def test_every_old_state_goes_on_as_it_would_have(model):
    # More states than a ring has room for, all of them kept.
    x = noise(1, 3, tape.ROOM + 50)
    whole = answer(SPEC, x)
    state, states = tcnzoo.init_state(model), []
    for step in range(x.shape[2]):
        states.append(state)
        _, state = tcnzoo.step(model, x[:, :, step : step + 1], state)
    for step in (0, 1, 100, tape.ROOM - 1, tape.ROOM + 30):
        rest, _ = tcnzoo.step(model, x[:, :, step:], states[step])
        assert_close(rest, whole[:, :, step:], label=f"from step {step}")


def test_a_long_stream_stays_in_its_rings(model):
    x = noise(1, 3, 5 * tape.ROOM)
    _, state = tcnzoo.step(model, x[:, :, :1], tcnzoo.init_state(model))
    first = state.tape
    for step in range(1, x.shape[2]):
        y, state = tcnzoo.step(model, x[:, :, step : step + 1], state)
    assert state.tape is first
    assert_close(y, answer(SPEC, x)[:, :, -1:])


def test_two_streams_from_one_state_do_not_meet(model):
    x, other = noise(1, 3, LENGTH), noise(1, 3, LENGTH, seed=1)
    other[:, :, :10] = x[:, :, :10]
    _, middle = tcnzoo.step(model, x[:, :, :10], tcnzoo.init_state(model))
    one, two = middle, middle
    pieces = [[], []]
    for step in range(10, LENGTH):
        y, one = tcnzoo.step(model, x[:, :, step : step + 1], one)
        pieces[0].append(y)
        y, two = tcnzoo.step(model, other[:, :, step : step + 1], two)
        pieces[1].append(y)
    for signal, parts in zip((x, other), pieces, strict=True):
        assert_close(np.concatenate(parts, axis=2), answer(SPEC, signal)[:, :, 10:])


@pytest.mark.parametrize("name", ["conv1d-replicate-s2", "up-down-se", "down-mamba2-up"])
def test_the_start_may_be_used_twice(name):
    spec, x = STREAMED[name], noise(2, 3, LENGTH)
    model = tcnzoo.create(spec, "numpy", weights=weights_of(spec))
    start = tcnzoo.init_state(model, 2)
    assert_close(stream(model, x, [1, 7], state=start)[0], answer(spec, x))
    assert_close(stream(model, x, [5], state=start)[0], answer(spec, x))
    for entry, array in start.items():
        assert not to_numpy(array).any() or spec["kind"] == "conv1d" or entry.endswith("skip")


def test_entries_are_copies(model):
    x = noise(1, 3, LENGTH)
    _, state = tcnzoo.step(model, x[:, :, :10], tcnzoo.init_state(model))
    for array in state.values():
        to_numpy(array)[...] = 1e3
    assert_close(tcnzoo.step(model, x[:, :, 10:], state)[0], answer(SPEC, x)[:, :, 10:])


def test_chunks_longer_than_a_ring_and_many_streams(model):
    x = noise(5, 3, 2 * tape.MOST_ROOM + 7)
    y, _ = stream(model, x, [3, 4, tape.MOST_ROOM + 9])
    assert_close(y, answer(SPEC, x))


def test_threads_go_on_from_states_of_each_other(model):
    x = noise(1, 3, 60)
    whole, states, wrong = answer(SPEC, x), [tcnzoo.init_state(model)], []
    for step in range(20):
        states.append(tcnzoo.step(model, x[:, :, step : step + 1], states[-1])[1])

    def go(start):
        for begin in range(start, 20):
            y, _ = stream(model, x[:, :, begin:], [1, 2, 9], state=states[begin])
            wrong.append(np.abs(y - whole[:, :, begin:]).max())

    crew = [threading.Thread(target=go, args=(start,)) for start in range(6)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert len(wrong) == sum(20 - start for start in range(6))
    assert max(wrong) < 1e-4


def test_new_weights_are_taken_in_midstream(model):
    x, other = noise(1, 3, LENGTH), weights_of(SPEC, seed=5)
    _, state = tcnzoo.step(model, x[:, :, :10], tcnzoo.init_state(model))
    tcnzoo.set_weights(model, other)
    y, _ = tcnzoo.step(model, x[:, :, 10:], state)
    double = tcnzoo.create(SPEC, "numpy", weights=other, dtype="float64")
    expected, _ = tcnzoo.step(double, x[:, :, 10:], dict(state))
    assert_close(y, expected)


def test_numpy_weights_cannot_be_written_in_place_but_replaced():
    model, x = tcnzoo.create(SPEC, "numpy", weights=weights_of(SPEC)), noise(1, 3, LENGTH)
    _, state = tcnzoo.step(model, x[:, :, :10], tcnzoo.init_state(model))
    part = model.output
    with pytest.raises(ValueError, match="read-only"):
        part.arrays["bias"] += 1.0
    part.arrays["bias"] = part.arrays["bias"] + np.float32(1.0)
    right = answer(SPEC, x)[:, :, 10:] + 1.0
    assert_close(tcnzoo.step(model, x[:, :, 10:], state)[0], right)
    part.arrays["bias"] += np.float32(1.0)  # the user's own array, which is seen at every step
    assert_close(tcnzoo.step(model, x[:, :, 10:], state)[0], right + 1.0)


def test_empty_chunks_change_nothing(model):
    x = noise(1, 3, LENGTH)
    y, state = tcnzoo.step(model, x[:, :, :0], tcnzoo.init_state(model))
    assert y.shape == (1, 2, 0)
    assert_close(stream(model, x, [0, 5, 5, 5], state=state)[0], answer(SPEC, x))


def test_chunks_of_any_layout(model):
    x = noise(2, 3, LENGTH).astype(np.float32)
    wide = np.zeros(x.size * 4 + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    wide[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for chunk in (wide, frozen, np.asfortranarray(x), x.astype(np.float64)):
        assert_close(tcnzoo.step(model, chunk, tcnzoo.init_state(model, 2))[0], answer(SPEC, x))


def test_models_with_a_stream_are_copied_and_collected(model):
    x = noise(1, 3, LENGTH)
    _, state = tcnzoo.step(model, x[:, :, :10], tcnzoo.init_state(model))
    twin = copy.deepcopy(model)
    assert_close(tcnzoo.step(twin, x[:, :, 10:], state)[0], answer(SPEC, x)[:, :, 10:])
    from tcnzoo.streams.steps import _STEPS

    assert twin in _STEPS
    before = len(_STEPS)
    del twin
    gc.collect()
    assert len(_STEPS) < before


def test_torch_hooks_and_training_run_the_parts():
    torch = pytest.importorskip("torch")
    model, x = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC)), noise(1, 3, LENGTH)
    calls = []
    handle = model.output.register_forward_hook(lambda *_: calls.append(1))
    assert_close(tcnzoo.step(model, x, tcnzoo.init_state(model))[0], answer(SPEC, x))
    assert calls == [1]
    handle.remove()
    assert_close(tcnzoo.step(model, x, tcnzoo.init_state(model))[0], answer(SPEC, x))
    assert calls == [1]
    model.train()
    assert not isinstance(tcnzoo.step(model, x, tcnzoo.init_state(model))[1], TapeState)
    model.eval()
    with torch.no_grad():
        model.output.bias += 1.0
    right = answer(SPEC, x) + 1.0
    assert_close(tcnzoo.step(model, x, tcnzoo.init_state(model))[0], right)
    model.output.bias.data = model.output.bias.data + 1.0
    assert_close(tcnzoo.step(model, x, tcnzoo.init_state(model))[0], right + 1.0)


def test_a_model_made_in_inference_mode_is_compiled_too():
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        model = tcnzoo.create(SPEC, "torch", weights=weights_of(SPEC))
        x = noise(1, 3, LENGTH)
        y, state = tcnzoo.step(model, x, tcnzoo.init_state(model))
    assert isinstance(state, TapeState)
    assert_close(y, answer(SPEC, x))


def test_a_plain_torch_step_runs_on_one_thread_and_puts_the_number_back(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv(engines.ENGINE, "plain")
    model, seen = tcnzoo.create(SPEC, "torch"), []
    model.output.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        tcnzoo.step(model, noise(1, 3, 4), tcnzoo.init_state(model))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_the_engine_is_chosen_by_a_measurement(monkeypatch, tmp_path):
    monkeypatch.delenv(engines.ENGINE)
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    engines.forget()
    spec = tcn(channels=[6], norm="batch_norm")
    model = tcnzoo.create(spec, "numpy", weights=weights_of(spec))
    tcnzoo.step(model, noise(2, 3, 5), tcnzoo.init_state(model, 2))
    (choice,) = [one for one in engines.known() if one.operation.endswith("stream step")]
    assert set(choice.seconds) == {"plain", "compiled"}
    assert choice.shape.startswith("tcn ")
    assert choice.shape.endswith("batch 2, up to 7 steps")
    engines.forget()


def test_copy_with_other_weights_has_its_own_stream(model):
    other = copy.deepcopy(model)
    other.tcnzoo = model.tcnzoo
    others = {name: 2 * array for name, array in tcnzoo.get_weights(model).items()}
    tcnzoo.set_weights(other, others)
    x = noise(1, 3, 9)
    for _ in range(2):
        for one, weights in ((model, None), (other, others)):
            y = tcnzoo.step(one, x, tcnzoo.init_state(one))[0]
            assert_close(y, answer(SPEC, x, weights))


def test_equal_chunks_stay_on_one_tape(model):
    state, x = tcnzoo.init_state(model), noise(1, 3, 60)
    tapes = []
    for start in range(0, 60, 4):
        _, state = tcnzoo.step(model, x[:, :, start : start + 4], state)
        tapes.append(state.tape)
    assert len(set(tapes)) == 1


@pytest.mark.parametrize("length", [48, 50])
def test_a_slower_part_takes_no_more_room(length):
    """Rows that a stride drops are not counted where later steps are repeated."""
    layers = {
        "down": conv1d(kernel_size=6, stride=6, out_channels=5),
        "inside": conv1d(kernel_size=3, in_channels=5, out_channels=5),
        "up": {"kind": "upsample", "factor": 6},
        "after": conv1d(kernel_size=2, in_channels=5, out_channels=2),
    }
    spec = {"kind": "sequential", "layers": layers}
    model = tcnzoo.create(spec, "numpy", weights=weights_of(spec))
    x, state, tapes, pieces = noise(1, 3, 12 * length), tcnzoo.init_state(model), set(), []
    for start in range(0, 12 * length, length):
        y, state = tcnzoo.step(model, x[:, :, start : start + length], state)
        pieces.append(y)
        tapes.add(state.tape)
    layout = state.layout
    assert (layout.rate, layout.period) == (1, 6)
    assert len(tapes) == 1
    y = np.concatenate(pieces, axis=2)
    assert_close(y, answer(spec, x)[:, :, : y.shape[2]])
