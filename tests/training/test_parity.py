"""`tcnzoo parity --train`: the same steps in every backend, and what is said where they differ."""

import json
import math
from contextlib import ExitStack
from importlib import import_module

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.errors import InputError, SpecError
from tcnzoo.models.backend import backend_modules
from tcnzoo.training.losses import Loss
from tcnzoo.training.parity import RATES, training_parity
from tcnzoo.training.trials import random_batches, without_dropout
from tests.support.compare import assert_refused
from tests.support.train_oracles import read, uncompiled

TCN = {"kind": "tcn", "in_channels": 2, "channels": [4, 5], "kernel_size": 3,
       "dropout": 0.3, "output_projection": 3}  # fmt: skip
VECTOR = {
    "kind": "sequential",
    "layers": {
        "conv": {"kind": "conv_block", "in_channels": 2, "out_channels": 5, "kernel_size": 3,
                 "norm": "batch_norm", "activation": "relu"},
        "pool": {"kind": "pool", "mode": "global_average"},
        "head": {"kind": "dense", "in_features": 5, "out_features": 3},
    },
}  # fmt: skip
COSINE = {"kind": "cosine", "warmup_steps": 2}
SGD = {"kind": "sgd", "lr": 0.01, "momentum": 0.9}

pytestmark = pytest.mark.usefixtures("pair")


@pytest.fixture
def pair(backends):
    """Names of the backends that train, uncompiled; skips where there are less than two."""
    names = [name for name in backends if name != "numpy"]
    if len(names) < 2:
        pytest.skip("there is nothing to compare with")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(uncompiled(name))
        yield names


@pytest.mark.parametrize("norm", ["batch_norm", "weight_norm", "layer_norm"])
@pytest.mark.parametrize("told", [SGD, "adam"], ids=["sgd", "adam"])
def test_backends_train_alike(pair, norm, told):
    report = training_parity(
        {**TCN, "norm": norm}, 4, pair, optimizer=told, schedule=COSINE, clip_norm=1.0
    )
    assert report.passed
    assert [row.backend for row in report.rows] == pair
    for row in report.rows:
        assert len(row.losses) == 4
        assert (row.statistic_error is None) == (norm != "batch_norm")
        assert row.parameter is None
    # Far from the limits, and the yardstick shows that the weights of it were others.
    assert max(row.loss_error for row in report.rows) < 1e-5
    assert report.rows[0].way_error == 0.0
    assert 0.0 < report.yardstick.way_error < 0.05


# One of each: what has an exponential in it, what has a norm, and the loss over classes.
REAL = {
    "gated": {**TCN, "norm": "layer_norm", "activation": "tanh", "gate": True},
    "batch_norm": {**TCN, "norm": "batch_norm"},
    "embeddings": {**TCN, "embeddings": [{"channels": 2}, {"channels": 3, "per_step": True}]},
    "classes": VECTOR,
}


@pytest.mark.parametrize("told", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("subject", REAL.values(), ids=REAL)
def test_in_float64_backends_train_alike_at_real_rates(pair, subject, told):
    report = training_parity(
        subject, 5, pair, optimizer=told, schedule=COSINE, clip_norm=0.5, precision="64-true"
    )
    assert report.optimizer["lr"] >= 1e-3
    for row in report.rows:
        # Roundings of 1e-16, some thousand of them; Adam makes of a gradient of 1e-9 a whole step.
        assert max(row.loss_error, row.weight_error, row.statistic_error or 0.0) < 1e-11
        assert row.way_error < 1e-9
    # The weights of the yardstick are off by one rounding of float64, no more.
    assert 0.0 < report.yardstick.way_error < 1e-9


def test_a_model_of_classes_is_trained_by_cross_entropy(pair):
    report = training_parity(VECTOR, 3, pair, optimizer="adamw", clip_value=0.1, input_length=20)
    assert report.passed
    assert report.optimizer["lr"] == RATES["32-true"]["adamw"]
    assert report.input_shape == (8, 2, 20)
    assert all(0.3 < loss < 3.0 for loss in report.rows[0].losses)  # log(3) is 1.1


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_a_limit_of_the_gradients_that_is_none_is_refused_first(pair, name, limit):
    with pytest.raises(InputError, match=f"{name} must be a finite number above 0, but is"):
        training_parity(VECTOR, 3, pair, **{name: limit})


def hurry(monkeypatch, backend, more):
    """Let a backend take steps that are longer by a part `more`, but for its first."""
    module = import_module(f"{backend_modules()[backend]}.training")
    make = module.stepper

    def stepper(model, plan):
        made = make(model, plan)
        step = made.step
        made.step = lambda batches, rate, seed: step(batches, rate * (1 + more * (seed > 0)), seed)
        return made

    monkeypatch.setattr(module, "stepper", stepper)


@pytest.fixture
def hasty(pair, monkeypatch):
    """The last backend takes steps a tenth too long, but for its first."""
    hurry(monkeypatch, pair[-1], 0.1)
    return pair[-1]


def test_the_first_parameter_to_diverge_is_named(pair, hasty):
    report = training_parity({**TCN, "norm": "batch_norm"}, 4, pair, optimizer=SGD)
    *others, last = report.rows
    assert not report.passed
    assert all(row.passed for row in others)
    assert last.backend == hasty
    assert last.step == 2  # steps count from 1, and the first was right
    table = list(tcnzoo.load_spec({**TCN, "norm": "batch_norm"}).params())
    assert last.parameter in table[:9]
    assert last.way_error > 0.05


def test_float64_hides_less(pair, monkeypatch):
    # A millionth is nothing beside float32's rounding.
    hurry(monkeypatch, pair[-1], 1e-6)
    verdicts = {
        precision: training_parity(TCN, 3, pair, optimizer=SGD, precision=precision).passed
        for precision in ("32-true", "64-true")
    }
    assert verdicts == {"32-true": True, "64-true": False}


def test_small_rates_hide_nothing(pair, hasty):
    # The weights hardly move, so only the way that they went tells.
    optimizer = {"kind": "sgd", "lr": 1e-6}
    report = training_parity(TCN, 4, pair, optimizer=optimizer)
    assert report.rows[-1].parameter is None
    assert report.rows[-1].weight_error < 1e-4
    assert not report.passed
    assert report.rows[-1].way_error > 0.05


def test_dropout_is_off_and_batches_come_from_the_seed():
    spec = without_dropout(tcnzoo.load_spec(TCN))
    assert spec.dropout == 0.0
    nested = {"kind": "sequential", "layers": {"a": {"kind": "dropout", "rate": 0.4}}}
    assert without_dropout(tcnzoo.load_spec(nested)).layers["a"].rate == 0.0
    batches = [list(random_batches(spec, read(Loss, "mse"), (3, 2, 9), 2, s)) for s in (0, 0, 1)]
    np.testing.assert_array_equal(batches[0][1]["x"], batches[1][1]["x"])
    np.testing.assert_array_equal(batches[0][1]["y"], batches[1][1]["y"])
    assert batches[0][1]["y"].shape == (3, 3, 9)
    assert not np.array_equal(batches[0][0]["x"], batches[0][1]["x"])
    assert not np.array_equal(batches[0][0]["x"], batches[2][0]["x"])


BAD = {
    "numpy": (InputError, {"backends": ["torch", "numpy"]},
              "backend 'numpy' is the reference of outputs, and does not train"),
    "one": (InputError, {"backends": ["torch"]},
            "training parity compares two backends or more, but got ['torch']"),
    "plateau": (InputError, {"schedule": "plateau"},
                "training parity has no evaluations, so it takes no plateau schedule"),
    "mask": (InputError, {"loss": {"kind": "mse", "mask": "m"}},
             "training parity makes its own batches: no mask, no term, and one output"),
    "precision": (InputError, {"precision": "16-mixed"},
                  "precision must be 32-true or 64-true, but is '16-mixed'"),
    "optimizer": (SpecError, {"optimizer": {"kind": "sgd", "lr": -1.0}},
                  "optimizer.sgd.lr: Input should be greater than or equal to 0"),
}  # fmt: skip


@pytest.mark.parametrize("error, options, sentence", BAD.values(), ids=BAD)
def test_what_cannot_be_compared(error, options, sentence):
    assert_refused(error, sentence, training_parity, TCN, 2, **options)


@pytest.fixture
def spec_file(tmp_path):
    """The TCN as a file."""
    path = tmp_path / "model.json"
    path.write_text(json.dumps(TCN))
    return str(path)


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_command_prints_tables_that_fit(pair, spec_file):
    names = ",".join(pair)
    result = run(
        "parity", spec_file, "--train", 3, "--optimizer", "sgd", "--backends", names,
        "--precision", "64-true",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "64-true, sgd at 0.01" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "1 rounding" in result.stdout
    assert all(name in result.stdout for name in pair)


def test_the_command_fails_and_names_the_parameter(pair, hasty, spec_file):
    options = ("--backends", ",".join(pair), "--optimizer", "{kind: sgd, lr: 0.01}")
    result = run("parity", spec_file, "--train", 3, *options)
    assert result.exit_code == 1
    assert f"{hasty}: blocks.0.conv1." in result.stdout
    assert "diverges first, after step 2" in result.stdout
    document = json.loads(run("parity", spec_file, "--train", 2, *options, "--json").stdout)
    assert not document["passed"]
    assert [len(row["losses"]) for row in document["rows"]] == [2] * len(pair)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--layers"], "--train stands alone: no second model, no --layers, no --gradients"),
        (["--optimizer", "{"], "--optimizer takes a kind or {kind: ..., ...}, but got '{'"),
    ],
)
def test_options_that_do_not_go_together(spec_file, options, sentence):
    result = run("parity", spec_file, "--train", 2, *options)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"tcnzoo: error: {sentence}"
