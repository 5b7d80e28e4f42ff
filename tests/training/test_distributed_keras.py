"""Several devices of one process, in Keras on TensorFlow, against one with the whole batch."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.files.safetensors import read_safetensors
from tcnzoo.training import session, train
from tests.support.compare import assert_close, noise, weights_of
from tests.support.runs import SPEC, config_of, losses_of, write_data
from tests.support.train_oracles import plan_of, stepper_of, uncompiled

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras runs on another framework", allow_module_level=True)

# 45 examples to train on: three full batches of 14 and one of 3, of which one device has 2.
EXAMPLES, BATCH = 59, 14
TOLD = {"epochs": 2, "accumulate": 2, "clip_norm": 0.5}
STEPS = 4
# Sums in another order; what the tests are there to show is a thousand times as large.
TOLERANCE = 1e-5

CODES = {"channels": 4, "codes": 6, "kmeans_iterations": 3, "dead_code_threshold": 0.8}
QUANTIZERS = {
    "codebook": {"kind": "vector_quantizer", **CODES},
    "learned": {"kind": "vector_quantizer", "channels": 4, "codes": 6, "update": "gradient"},
    "levels": {"kind": "residual_vq", "levels": 2, "shared": False, "quantizer": CODES},
    "shared": {"kind": "residual_vq", "levels": 2, "shared": True, "quantizer": CODES},
}
# The others run as they are: tracing each costs more than running it.
COMPILED = "codebook"
# Micro-batches of each step: dealt out unevenly, and one that leaves a device without any.
SIZES = [(5,), (5, 3), (1,)]

SCRIPT = """
import sys
from pathlib import Path
import tensorflow as tf

[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tests.training.test_distributed_keras import on_two

on_two(Path(sys.argv[1]))
"""


def told_of(folder, devices):
    """A run of a model with batch norm, without dropout, whose masks are each device's own."""
    spec = json.loads(json.dumps(SPEC))
    spec["layers"]["tcn"] |= {"channels": [4], "dropout": 0.0}
    config = config_of(
        folder,
        model=spec,
        backend="keras",
        output=str(folder / f"run{devices}"),
        training={**TOLD, "devices": devices},
    )
    data = config.data.model_copy(update={"batch_size": BATCH // devices, "eval_batch_size": 14})
    return config.model_copy(update={"data": data})


def quantizing(name):
    """A spec with a quantiser between convolutions with batch norm."""
    conv = {"kind": "conv_block", "kernel_size": 3, "norm": "batch_norm", "activation": "tanh"}
    return {
        "kind": "sequential",
        "layers": {
            "stem": {**conv, "in_channels": 2, "out_channels": 4},
            "codes": QUANTIZERS[name],
            "head": {"kind": "conv1d", "in_channels": 4, "out_channels": 3, "kernel_size": 1},
        },
    }


def batch_of(size, seed=0):
    return {"x": noise(size, 2, 11, seed=seed), "y": noise(size, 3, 11, seed=seed + 1)}


def steps_of(name, devices):
    """Losses, weights and moments after some steps of a model with a quantiser."""
    spec = quantizing(name)
    model = tcnzoo.create(spec, "keras", weights=weights_of(spec))
    stepper = stepper_of("keras", model, plan_of({"kind": "adamw"}, devices=devices))
    found = {}
    with contextlib.nullcontext() if name == COMPILED else uncompiled("keras"):
        for number, sizes in enumerate(SIZES):
            batches = [batch_of(size, seed=10 * number + size) for size in sizes]
            values = stepper.step(batches, 0.01, number)
            found |= {f"{key}.{number}": float(value) for key, value in values.items()}
    return {**found, **tcnzoo.get_weights(model), **stepper.state()}


def masked_losses():
    """Of one example with dropout, and of the same one twice, once on each device."""
    spec = {"kind": "conv_block", "in_channels": 2, "out_channels": 3, "kernel_size": 1}
    spec = {**spec, "activation": "none", "dropout": 0.5}
    model = tcnzoo.create(spec, "keras", weights=weights_of(spec))
    stepper = stepper_of("keras", model, plan_of({"kind": "sgd"}, devices=2))
    one = batch_of(1)
    twice = {name: np.concatenate([array, array]) for name, array in one.items()}
    return [float(stepper.step([batch], 0.0, 7)["loss"]) for batch in (one, twice, twice)]


def on_two(folder):
    """What the process with two devices does."""
    session.draw_curves = lambda folder: None
    train(told_of(folder, 2), **{"training.epochs": 1})
    outcome = train(told_of(folder, 2), resume=True)
    assert (outcome.steps, outcome.ended) == (STEPS, "finished")
    for name in QUANTIZERS:
        np.savez(folder / f"{name}.npz", **steps_of(name, 2))
    (folder / "masked.json").write_text(json.dumps(masked_losses()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What both have left: `run1`, `run2`, and files of the process with two devices."""
    folder = tmp_path_factory.mktemp("devices")
    write_data(folder, EXAMPLES)
    script = folder / "two.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-W", "error::UserWarning", str(script), str(folder)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "draw_curves", lambda folder: None)
        train(told_of(folder, 1))
    try:
        text, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, text
    return folder


def test_two_devices_are_one_with_the_doubled_batch(folder):
    expected, found = losses_of(folder / "run1"), losses_of(folder / "run2")
    assert list(found) == list(expected) == list(range(1, STEPS + 1))
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=TOLERANCE)
    last = [folder / f"run{devices}" / "checkpoints" / "last" for devices in (1, 2)]
    mine, theirs = (read_checkpoint(one)[1] for one in last)
    assert any(name.endswith("running_var") for name in mine)
    assert_close(theirs, mine, TOLERANCE)
    mine, theirs = (read_safetensors(one / "training.safetensors")[0] for one in last)
    assert any(name.startswith("exp_avg_sq.") for name in mine)
    for name, array in mine.items():
        # Relative to the largest of each: second moments are small.
        np.testing.assert_allclose(
            theirs[name], array, rtol=0, atol=TOLERANCE * np.abs(array).max(), err_msg=name
        )


def test_a_run_with_two_devices_is_resumed(folder):
    sessions = json.loads((folder / "run2" / "environment.json").read_text())
    assert [(session["processes"], session["step"]) for session in sessions] == [(1, 0), (1, 2)]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codebooks_follow_the_whole_batch(folder, name):
    with np.load(folder / f"{name}.npz") as found:
        assert_close(dict(found), steps_of(name, 1), TOLERANCE)


def test_each_device_draws_masks_of_its_own(folder):
    one, twice, again = json.loads((folder / "masked.json").read_text())
    assert twice == again
    assert abs(twice - one) > 1e-3


def refused(sentence, backend="keras", model=None, **options):
    model = model or tcnzoo.create(SPEC, backend, **options)
    with pytest.raises(InputError, match=sentence):
        stepper_of(backend, model, plan_of({"kind": "sgd"}, {"kind": "cross_entropy"}, devices=99))


def test_more_devices_than_there_are_and_a_device_are_refused():
    refused("asks for 99 devices, but TensorFlow has [0-9]+ here: [cg]pu:0")
    refused("so device must be null, but it is 'cpu:0'", device="cpu")


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_other_engines_are_refused(monkeypatch, engine):
    model = tcnzoo.create(SPEC, "keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: engine)
    refused(f"99 needs Keras on TensorFlow, but Keras runs on {engine}", model=model)


@pytest.mark.parametrize("backend, launcher", [("torch", "torchrun"), ("mlx", "mlx.launch")])
def test_other_backends_take_processes(backend, launcher, backends):
    if backend not in backends:
        pytest.skip(f"{backend} is not tested")
    refused(
        f"one device in each process, so training.devices must be 1, not 99; {launcher} starts",
        backend,
    )
