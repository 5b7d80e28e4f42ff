"""Engines of torch convolutions on a CPU: each gives the numbers, and the fastest is taken."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tcnzoo
from tcnzoo import engines
from tcnzoo.backends.torch import conv as torch_conv
from tcnzoo.backends.torch.kernels import engine, packed, toom_cook
from tests.support.cases import BLOCKS, SIGNAL, conv1d
from tests.support.compare import (
    assert_close,
    assert_gradients_close,
    noise,
    reference,
    stream,
    weights_of,
)
from tests.support.engine_draw import measured_choice
from tests.support.tcns import tcn

INFERENCE = ("plain", "packed", "k-tap", "toom-cook")
TRAINING = ("plain", "channels last", "toom-cook")
CONVOLUTIONS = ("conv1d", "conv_block", "temporal_block", "tcn", "sequential", "graph")
CASES = {
    name: case
    for name, case in BLOCKS.items()
    # Another input, or several outputs.
    if case[0]["kind"] in CONVOLUTIONS and not {"masks", "heads"} & {*name.split("-")}
}
for kernel_size in (3, 5, 7):
    for length in (1, 2, 23, 300):
        far = conv1d(kernel_size, dilation=9, weight_norm=True)
        CASES[f"conv1d-k{kernel_size}-far-length{length}"] = far, (3, 3, length)
NET = tcn(norm="batch_norm", kernel_size=7)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Offer Toom-Cook for narrow layers and short signals too, which tests are made of."""
    monkeypatch.setattr(toom_cook, "NARROWEST", 1)
    monkeypatch.setattr(engine, "WASTE", 1e9)


@pytest.fixture
def taken(monkeypatch):
    """Which engines were chosen, by the name of the operation."""
    calls = []
    choose = engine.fastest

    def fastest(operation, *args, **fields):
        calls.append((operation, choose(operation, *args, **fields)))
        return calls[-1][1]

    monkeypatch.setattr(engine, "fastest", fastest)
    return calls


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no engine that is asked for."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    monkeypatch.delenv(engines.ENGINE, raising=False)
    monkeypatch.setattr(engines, "_chosen", {})


@pytest.mark.parametrize("name", INFERENCE)
@pytest.mark.parametrize("case", CASES)
def test_every_engine_gives_the_reference(monkeypatch, case, name):
    monkeypatch.setenv(engines.ENGINE, name)
    spec, shape = CASES[case]
    weights, x = weights_of(spec), noise(*shape)
    expected = tcnzoo.predict(reference(spec, weights), x)
    assert_close(tcnzoo.predict(tcnzoo.create(spec, "torch", weights=weights), x), expected)


@pytest.mark.parametrize("name", INFERENCE)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_engine_streams_in_ragged_chunks(monkeypatch, taken, batch, name):
    monkeypatch.setenv(engines.ENGINE, name)
    weights, x = weights_of(NET), noise(batch, 3, 700)
    expected = tcnzoo.predict(reference(NET, weights), x)
    model = tcnzoo.create(NET, "torch", weights=weights)
    found, _ = stream(model, x, (2, 2, 9, 40, 300, 301))
    assert_close(found, expected)
    assert ("conv1d forward", name) in taken


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", ["stack", *(name for name in CASES if "far" in name)])
def test_every_engine_gives_the_gradients(monkeypatch, taken, case, training, name):
    # The activation is smooth: a ReLU whose input is rounded to the other side of 0 has another
    # gradient. Dropout is left out, whose masks are drawn for each engine alike only in law.
    smooth = tcn(
        norm="batch_norm", kernel_size=5, dropout=0.0,
        activation={"kind": "activation", "name": "silu"},
    )  # fmt: skip
    spec, shape = CASES.get(case, (smooth, (3, 3, 47)))
    weights, x = weights_of(spec), noise(*shape)
    target = noise(*tcnzoo.predict(reference(spec, weights), x).shape, seed=1)
    tables = []
    for chosen, dtype in (("plain", "float64"), (name, "float32")):
        monkeypatch.setenv(engines.ENGINE, chosen)
        taken.clear()
        model = tcnzoo.create(spec, "torch", dtype=dtype, weights=weights)
        tables.append(tcnzoo.gradients(model, x, target, training=training)[1])
    assert_gradients_close(tables[1], tables[0])
    assert ("conv1d training", name) in taken


@pytest.mark.parametrize(
    "fields",
    [
        {"kernel_size": 4},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "groups": 3, "out_channels": 6},
    ],
    ids=str,
)
def test_an_engine_that_does_not_serve_leaves_the_plain_one(monkeypatch, taken, fields):
    monkeypatch.setenv(engines.ENGINE, "toom-cook")
    spec = conv1d(**fields)
    weights, x = weights_of(spec), noise(*SIGNAL)
    expected = tcnzoo.predict(reference(spec, weights), x)
    assert_close(tcnzoo.predict(tcnzoo.create(spec, "torch", weights=weights), x), expected)
    assert taken == [("conv1d forward", "plain")]


def test_toom_cook_is_not_offered_where_tiles_reach_far_beyond_the_signal(monkeypatch, taken):
    monkeypatch.setattr(engine, "WASTE", 1.5)
    monkeypatch.setenv(engines.ENGINE, "toom-cook")
    model = tcnzoo.create(conv1d(7, dilation=9), "torch")
    for length in (30, 23, 37):  # tiles of 4 x 9 steps
        tcnzoo.predict(model, noise(1, 3, length))
    assert [name for _, name in taken] == ["toom-cook", "plain", "plain"]


def test_an_unknown_engine_is_refused(monkeypatch):
    monkeypatch.setenv(engines.ENGINE, "pakced")
    with pytest.raises(tcnzoo.InputError, match=r"unknown engine 'pakced'.*packed"):
        tcnzoo.predict(tcnzoo.create(conv1d(), "torch"), noise(*SIGNAL))


class Machine:
    """A processor of which each engine takes a time of its own, and nothing else any."""

    def __init__(self, monkeypatch, **seconds):
        self.now = 0.0
        monkeypatch.setattr(engines, "clock", lambda: self.now)
        by_name = {name.replace("_", "-"): taken for name, taken in seconds.items()}
        plain, folded = torch_conv._plain, engine.forward

        def slow_plain(*args):
            self.now += by_name["plain"]
            return plain(*args)

        def slow_folded(chosen, *args):
            self.now += by_name[chosen.value]
            return folded(chosen, *args)

        monkeypatch.setattr(torch_conv, "_plain", slow_plain)
        monkeypatch.setattr(engine, "forward", slow_folded)


@pytest.mark.parametrize(
    "seconds, expected",
    [
        ({"plain": 1.0, "packed": 0.5, "k_tap": 0.9, "toom_cook": 0.8}, "packed"),
        ({"plain": 1.0, "packed": 1.3, "k_tap": 0.9, "toom_cook": 0.6}, "toom-cook"),
        ({"plain": 1.0, "packed": 1.3, "k_tap": 0.7, "toom_cook": 0.9}, "k-tap"),
        ({"plain": 1.0, "packed": 1.3, "k_tap": 1.1, "toom_cook": 0.98}, "plain"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_takes_what_is_fast_on_its_machine(monkeypatch, cache, taken, seconds, expected):
    Machine(monkeypatch, **seconds)
    weights, x = weights_of(NET), noise(2, 3, 61)
    model = tcnzoo.create(NET, "torch", weights=weights)
    for _ in range(2):
        taken.clear()
        found = tcnzoo.predict(model, x)
        wide = {chosen for _, chosen in taken[:2]}  # both convolutions of the first block
        assert wide == {expected}
    assert_close(found, tcnzoo.predict(reference(NET, weights), x))
    choices = [choice for choice in engines.known() if "kernel 7" in choice.shape]
    assert {choice.engine for choice in choices} == {expected}
    assert all(choice.operation.endswith("conv1d forward") for choice in choices)


def test_measuring_leaves_no_trace(monkeypatch, cache):
    """Neither in random numbers, gradients and statistics, nor in what checkpoints keep."""
    monkeypatch.setattr(engines, "_remembered", measured_choice)
    spec = tcn(norm="batch_norm", dropout=0.3)
    weights, x = weights_of(spec), noise(2, 3, 41)
    target = noise(2, 6, 41)
    tables, statistics = [], []
    for fields in ({}, {"checkpointing": "blocks"}, {}):
        monkeypatch.setattr(engines, "_chosen", {})
        model = tcnzoo.create(spec, "torch", weights=weights, **fields)
        torch.manual_seed(3)
        tables.append(tcnzoo.gradients(model, x, target, training=True)[1])
        assert all(parameter.grad is None for parameter in model.parameters())
        statistics.append(tcnzoo.get_weights(model))
        if fields:
            engines.cache_file().unlink()  # the third measures again
    for name, array in tables[0].items():
        # Which engine is chosen may differ from measurement to measurement.
        scale = max(np.abs(array).max(), 1e-2)
        assert all(np.abs(table[name] - array).max() <= 1e-4 * scale for table in tables), name
    for name, array in statistics[0].items():
        assert all(np.allclose(table[name], array, atol=1e-5) for table in statistics), name


def test_nothing_is_measured_where_somebody_looks_on(monkeypatch):
    def refuse(*args, **fields):
        raise AssertionError("an engine was chosen")

    weights, x = weights_of(NET), noise(2, 3, 33).astype(np.float32)
    model = tcnzoo.create(NET, "torch", weights=weights)
    expected = tcnzoo.predict(reference(NET, weights), x)
    monkeypatch.setattr(engine, "fastest", refuse)
    signal = torch.from_numpy(x)
    outputs = [torch.export.export(model, (signal,)).module()(signal)]
    outputs.append(torch.compile(model, backend="eager")(signal))
    with torch.no_grad():
        outputs.append(torch.func.vmap(lambda one: model(one[None])[0])(signal))
        with FlopCounterMode(display=False) as counter:
            outputs.append(model(signal))
    assert counter.get_total_flops() > 0
    for y in outputs:
        assert_close(y.detach().numpy(), expected)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(signal)
    assert_close(rounded.detach().float().numpy(), expected, 0.1)  # bfloat16 has 8 bits
    wide = tcnzoo.create(NET, "torch", weights=weights, dtype="bfloat16")
    tcnzoo.predict(wide, x)


def _packings(monkeypatch):
    """Count the kernels that are prepared from now on."""
    count = []
    monkeypatch.setenv(engines.ENGINE, "packed")
    for name in ("prepared", "effective"):
        make = getattr(packed, name)
        monkeypatch.setattr(
            packed, name, lambda *args, make=make: (count.append(0), make(*args))[1]
        )
    return count


@pytest.mark.parametrize("change", ["made", "weights set"])
def test_a_model_of_inference_mode_packs_its_kernels_once(monkeypatch, change):
    count = _packings(monkeypatch)
    weights, x = weights_of(NET), noise(2, 3, 120)
    model = tcnzoo.create(NET, "torch", weights=weights) if change == "weights set" else None
    with torch.inference_mode():
        if model is None:
            model = tcnzoo.create(NET, "torch", weights=weights)
        else:
            tcnzoo.predict(model, x)
            tcnzoo.set_weights(model, weights)
        state = tcnzoo.init_state(model, 2)
        tcnzoo.predict(model, x)
        tcnzoo.step(model, x[:, :, :1], state)
        first = len(count)
        for _ in range(3):
            tcnzoo.predict(model, x)
            _, state = tcnzoo.step(model, x[:, :, :7], state)
            _, state = tcnzoo.step(model, x[:, :, :1], state)
    tcnzoo.predict(model, x)
    assert first > 0
    assert len(count) == first


def test_a_write_in_inference_mode_is_seen():
    weights, x = weights_of(NET), noise(2, 3, 120)
    model = tcnzoo.create(NET, "torch", weights=weights)
    tcnzoo.predict(model, x)
    with torch.inference_mode():
        for tensor in model.parameters():
            tensor.mul_(0.5)
    expected = tcnzoo.predict(reference(NET, tcnzoo.get_weights(model)), x)
    assert_close(tcnzoo.predict(model, x), expected)


@pytest.mark.parametrize("name", TRAINING)
def test_what_follows_may_work_in_place(monkeypatch, name):
    monkeypatch.setenv(engines.ENGINE, name)
    weights = weights_of(conv1d(3))
    model = tcnzoo.create(conv1d(3), "torch", weights=weights)
    slopes = []
    for rectify in (torch.relu, torch.relu_):
        x = torch.from_numpy(noise(2, 3, 37).astype(np.float32)).requires_grad_()
        rectify(model(x)).square().sum().backward()
        slopes.append(x.grad)
    assert torch.equal(*slopes)
