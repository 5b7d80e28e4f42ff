"""Training with quantisers: no collapse, restarts, bad batches, other processes, whole models."""

import subprocess
import sys

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of
from tests.support.quantizers import quantizer, residual, signal, train_step
from tests.support.train_oracles import plan_of, stepper_of

CLUSTERS = 20


def bouts(seed, batch=8, steps=100, scale=1.0, offset=0.0, channels=6):
    """Signals that stay near one of 20 places for 5 steps at a time, (batch, channels, steps)."""
    places = np.random.default_rng(0).standard_normal((CLUSTERS, channels))
    generator = np.random.default_rng([1, seed])
    labels = np.repeat(generator.integers(0, CLUSTERS, (batch, steps // 5)), 5, axis=1)
    values = places[labels] + 0.2 * generator.standard_normal((batch, steps, channels))
    return (scale * values + offset).swapaxes(1, 2).astype(np.float32), labels


@pytest.mark.parametrize(
    "scale, offset, fields",
    [
        (1.0, 0.0, {}),
        (0.01, 0.0, {}),
        (30.0, 0.0, {}),
        (1.0, 100.0, {}),
        (1.0, 100.0, {"kmeans_iterations": 5}),
    ],
)
def test_codes_do_not_collapse_with_the_default_settings(scale, offset, fields):
    torch = pytest.importorskip("torch")
    spec = {"kind": "vector_quantizer", "channels": 6, "codes": 64, **fields}
    model = tcnzoo.create(spec, "torch").train()
    for seed in range(80):
        model.quantize(torch.from_numpy(bouts(seed, scale=scale, offset=offset)[0]))
    x, labels = bouts(1000, scale=scale, offset=offset)
    found = tcnzoo.quantize(model, x)
    # 800 values in 20 clusters of some extent can fill all of the 64 codes.
    assert found["usage"] > 0.5
    assert found["perplexity"] > CLUSTERS
    # Each code stands for one cluster: values of a code are mostly of one label.
    pairs = np.zeros((64, CLUSTERS))
    np.add.at(pairs, (found["indices"], labels), 1)
    assert pairs.max(axis=1).sum() / labels.size > 0.9
    # Noise of variance 0.04 in every channel is what one code a cluster would leave.
    assert found["vq_loss"] / 0.25 / scale**2 < 0.05


def test_without_restarts_the_same_codes_collapse():
    # What the test above would not see, if it could not fail.
    torch = pytest.importorskip("torch")
    spec = {"kind": "vector_quantizer", "channels": 6, "codes": 64, "dead_code_threshold": 0.0}
    model = tcnzoo.create(spec, "torch").train()
    for seed in range(80):
        model.quantize(torch.from_numpy(bouts(seed)[0]))
    assert tcnzoo.quantize(model, bouts(1000)[0])["usage"] < 0.5


def test_every_backend_trains_to_the_same_codes(native):
    # Restarts happen in these steps; a value between two codes would show as a large difference.
    spec = quantizer(channels=6, codes=16, dead_code_threshold=0.5, decay=0.7)
    model, true = (tcnzoo.create(spec, one) for one in (native, "torch"))
    for seed in range(4):
        x = bouts(seed, batch=2, steps=30)[0]
        slope = np.zeros_like(x)
        found = train_step(native, model, x, slope)
        expected = train_step("torch", true, x, slope)
        for name, array in expected.weights.items():
            assert_close(found.weights[name], array, label=name)


def test_unit_codes_turn_towards_the_mean_of_their_values(native):
    spec = quantizer(
        channels=4, codes=9, cosine=True, update="unit_ema", decay=0.9, dead_code_threshold=0.0
    )
    model = tcnzoo.create(spec, native)
    weights = {name: one.astype(np.float64) for name, one in tcnzoo.get_weights(model).items()}
    codes, counted = weights["codebook"], weights["cluster_size"]
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(2, 4, 6)).astype(np.float32)
        found = train_step(native, model, x, np.zeros_like(x))
        values = np.moveaxis(x.astype(np.float64), 1, -1).reshape(-1, 4)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
        chosen = (values @ codes.T).argmax(axis=1)
        counted = 0.9 * counted + 0.1 * np.bincount(chosen, minlength=9)
        for code in set(chosen):
            mean = values[chosen == code].mean(axis=0)
            turned = 0.9 * codes[code] + 0.1 * mean / np.linalg.norm(mean)
            codes[code] = turned / np.linalg.norm(turned)
        assert len(set(chosen)) < 9  # codes that nothing chose stay as they are
        unit = found.weights["codebook"]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        assert_close(unit, codes)
        assert_close(found.weights["cluster_size"], counted)


@pytest.mark.parametrize("fields, sentence", [
    ({"dead_code_threshold": 0.0}, "it needs cosine"),
    ({"cosine": True}, "dead_code_threshold must be 0, but is 0.1"),
])  # fmt: skip
def test_unit_codes_need_length_one_and_no_restarts(fields, sentence):
    spec = {"kind": "vector_quantizer", "channels": 4, "codes": 9, "update": "unit_ema", **fields}
    with pytest.raises(SpecError, match=sentence):
        tcnzoo.load_spec(spec)


def test_a_shared_codebook_has_averages():
    unit = {"update": "unit_ema", "cosine": True, "dead_code_threshold": 0.0}
    spec = {"kind": "residual_vq", "levels": 2, "shared": True}
    with pytest.raises(SpecError, match="update 'unit_ema' cannot be"):
        tcnzoo.load_spec({**spec, "quantizer": {"channels": 4, "codes": 9, **unit}})


def test_an_encoder_learns_through_the_codes():
    torch = pytest.importorskip("torch")
    layers = {
        "encoder": {"kind": "conv1d", "in_channels": 6, "out_channels": 4, "kernel_size": 3},
        "codes": {"kind": "vector_quantizer", "channels": 4, "codes": 32},
        "decoder": {"kind": "conv1d", "in_channels": 4, "out_channels": 6, "kernel_size": 3},
    }
    model = tcnzoo.create({"kind": "sequential", "layers": layers}, "torch").train()
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for seed in range(120):
        x = torch.from_numpy(bouts(seed)[0])
        inner = model.encoder(x)
        found = model.codes.quantize(inner)
        loss = (model.decoder(found.output) - x).square().mean()
        optimiser.zero_grad()
        (loss + found.vq_loss).backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert found.usage > 0.5


def test_a_model_trains_through_forward_alone(native):
    spec = {"kind": "sequential", "layers": {"codes": quantizer(dead_code_threshold=1.0)}}
    weights, x = weights_of(spec), signal(2, 5, 19)
    model = tcnzoo.create(spec, native, weights=weights)
    tcnzoo.gradients(model, x, np.zeros_like(x), training=True)
    alone = {name.removeprefix("codes."): array for name, array in weights.items()}
    plain = tcnzoo.create(quantizer(dead_code_threshold=1.0), native, weights=alone)
    expected = train_step(native, plain, x, x).weights
    after = tcnzoo.get_weights(model)
    assert_close({name.removeprefix("codes."): one for name, one in after.items()}, expected)


@pytest.mark.parametrize("what", ["nan", "masked"])
def test_a_bad_batch_leaves_the_codebook_alone(native, what):
    for spec in (quantizer(dead_code_threshold=1.0), residual(True, dead_code_threshold=1.0)):
        x, mask = signal(2, 5, 7), None
        if what == "masked":
            mask = np.zeros((2, 7), dtype=bool)
        else:
            x[1, 2, 3] = np.nan
        # Averages that give the codes: there is then nothing to refresh.
        model = tcnzoo.create(spec, native)
        before = tcnzoo.get_weights(model)
        if native == "torch":
            with pytest.raises(InputError, match="finite values only|at least one step"):
                train_step(native, model, x, x, mask)
            assert_same_bits(tcnzoo.get_weights(model), before)
        else:
            step = train_step(native, model, x, np.ones_like(x), mask)
            assert np.isnan(step.found.vq_loss)
            for name, array in step.weights.items():
                assert_close(array, before[name])


def test_more_codes_than_values_at_the_first_step_are_refused():
    pytest.importorskip("torch")
    model = tcnzoo.create(quantizer(codes=40, kmeans_iterations=2), "torch")
    with pytest.raises(InputError) as caught:
        train_step("torch", model, signal(2, 5, 7), signal(2, 5, 7))
    assert str(caught.value) == "k-means for 40 codes needs at least 40 values, but 14 came"


def test_a_flag_says_that_kmeans_has_run(native, tmp_path):
    spec = quantizer(kmeans_iterations=2)
    model = tcnzoo.create(spec, native)
    train_step(native, model, signal(2, 5, 19), signal(2, 5, 19))
    tcnzoo.save(model, tmp_path / "net")
    again = tcnzoo.load(tmp_path / "net", native)
    held = tcnzoo.get_weights(again)
    assert held["initialised"][0] == 1.0
    x = signal(2, 5, 19, seed=4)
    expected = train_step(native, model, x, x).weights
    assert_close(train_step(native, again, x, x).weights, expected)


def test_a_compiled_step_begins_with_kmeans(native):
    # Of the frameworks that compile, none can look at a flag, or at values, in mid-step.
    layers = {
        "codes": quantizer(channels=6, codes=8, kmeans_iterations=2),
        "head": {"kind": "conv1d", "in_channels": 6, "out_channels": 3, "kernel_size": 1},
    }
    spec = {"kind": "sequential", "layers": layers}
    batch = {"x": bouts(1, batch=2, steps=30)[0], "y": signal(2, 3, 30)}
    found = {}
    for name in (native, "torch"):
        model = tcnzoo.create(spec, name, seed=2)
        stepper = stepper_of(name, model, plan_of({"kind": "sgd", "lr": 0.01}, "mse"))
        losses = [float(stepper.step([batch], 0.01, seed)["loss"]) for seed in range(3)]
        found[name] = losses, tcnzoo.get_weights(model)
    assert found[native][1]["codes.initialised"].item() == 1.0
    np.testing.assert_allclose(found[native][0], found["torch"][0], rtol=1e-5)
    assert_close(found[native][1], found["torch"][1])


def test_two_processes_keep_one_codebook(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("needs torch.distributed with gloo")
    code = f"""
import sys, numpy as np, torch, tcnzoo
from torch import distributed
torch.set_num_threads(1)
rank = int(sys.argv[1])
store = distributed.FileStore({str(tmp_path / "store")!r}, 2)
distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
held = {{}}
for threshold in (0.0, 5.0):
    spec = dict(kind="vector_quantizer", channels=5, codes=9, kmeans_iterations=2,
                dead_code_threshold=threshold)
    model = tcnzoo.create(spec, "torch").train()
    for step in range(3):
        x = np.random.default_rng([rank, step]).standard_normal((2, 5, 17)).astype("float32")
        model.quantize(torch.from_numpy(x))
    for name, array in tcnzoo.get_weights(model).items():
        held[f"{{threshold}} {{name}}"] = array
np.savez({str(tmp_path)!r} + f"/{{rank}}.npz", **held)
distributed.destroy_process_group()
"""
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    assert [one.wait(120) for one in running] == [0, 0]
    first, second = (dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2))
    assert_same_bits(first, second)
    assert (first["5.0 cluster_size"] == 5.0).any()
    # k-means sees the 34 values of one process, each step those of both.
    kept = 0.95**3
    wanted = 34 * kept + 68 * (1 - kept)
    assert first["0.0 cluster_size"].sum() == pytest.approx(wanted, rel=1e-6)


def test_half_precision_searches_in_float32():
    torch = pytest.importorskip("torch")
    spec, x = quantizer(codes=32), noise(2, 5, 50)
    weights = weights_of(spec)
    model = tcnzoo.create(spec, "torch", weights=weights, dtype="bfloat16")
    held = tcnzoo.get_weights(model)["codebook"].astype(np.float64)
    values = torch.from_numpy(x).bfloat16().double().numpy()
    rows = values.swapaxes(1, 2).reshape(-1, 5)
    chosen = ((rows[:, None] - held[None]) ** 2).sum(axis=2).argmin(axis=1)
    found = tcnzoo.quantize(model, x)
    np.testing.assert_array_equal(found["indices"].reshape(-1), chosen)
    assert str(found["output"].dtype) == "bfloat16"
