"""Numbers that are not finite: in the data, in gradients, in what is saved; and lone examples."""

import math

import numpy as np
import pytest

from tcnzoo.backends import numpy as plain
from tcnzoo.errors import InputError
from tcnzoo.training import session, train
from tcnzoo.training.batches import Step
from tcnzoo.training.data.dataset import ArrayDataset, Subset
from tcnzoo.training.data.finite import check_finite_examples
from tcnzoo.training.failing import check_finite
from tests.support.runs import CHANNELS, SPEC, STEPS, PlainStepper, config_of, write_data

SMALL = {
    "kind": "sequential",
    "layers": {
        "pool": {"kind": "pool"},
        "head": {"kind": "dense", "in_features": CHANNELS, "out_features": 2},
    },
}
NORMED = {
    "kind": "sequential",
    "layers": {
        "pool": {"kind": "pool"},
        "hidden": {
            "kind": "dense_block", "in_features": CHANNELS, "out_features": 4, "norm": "batch_norm",
        },
        "head": {"kind": "dense", "in_features": 4, "out_features": 2},
    },
}  # fmt: skip


@pytest.fixture
def plain_steps(monkeypatch):
    """Steps of no framework, in the backend numpy."""
    monkeypatch.setattr(plain, "stepper", PlainStepper, raising=False)
    monkeypatch.setattr(session, "draw_curves", lambda folder: None)


def write_parts(folder, part, array, place, value, **more):
    """Files train.npz, val.npz and test.npz, one of which has a bad value; and their `data`."""
    paths = {}
    for seed, name in enumerate(("train", "val", "test")):
        generator = np.random.default_rng(seed)
        arrays = {
            "x": generator.standard_normal((16, CHANNELS, STEPS)).astype(np.float32),
            "y": np.arange(16) % 2,
            "weight": np.ones((16, STEPS), np.float32),
        }
        if name == part:
            arrays[array][place] = value
        paths[name] = folder / f"{name}.npz"
        np.savez(paths[name], **arrays)
    own = {name: str(paths[name]) for name in ("val", "test")}
    return {
        "kind": "arrays",
        "path": str(paths["train"]),
        **own,
        "extra": ["weight"],
        "batch_size": 8,
        **more,
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["val", "test"])
def test_values_that_are_not_finite_are_named_before_the_first_step(
    tmp_path, plain_steps, part, value
):
    data = write_parts(tmp_path, part, "x", (13, 2, 4), value)
    sentence = f"the {part} data are not finite: x is {value:g} at example 13, channel 2, step 4$"
    with pytest.raises(InputError, match=sentence):
        train(config_of(tmp_path, data=data))
    assert not (tmp_path / "run").exists()


def test_every_array_of_a_batch_is_looked_at(tmp_path, plain_steps):
    data = write_parts(tmp_path, "val", "weight", (5, 7), np.nan)
    with pytest.raises(InputError, match="weight is nan at example 5, position 7"):
        train(config_of(tmp_path, data=data))


def test_a_value_among_more_axes_than_signals_have_is_named():
    more = np.zeros((4, 2, 2, 2, 2), np.float32)
    more[3, 1, 0, 1, 1] = np.inf
    held = ArrayDataset({"x": np.zeros((4, 2), np.float32), "y": np.zeros(4), "more": more})
    with pytest.raises(InputError, match=r"more is inf at example 3, position \(1, 0, 1, 1\)$"):
        check_finite_examples(held, "val", 3)


def test_an_example_of_a_split_is_found_in_the_file_too():
    x = np.zeros((6, 2, 3), np.float32)
    x[4, 1, 2] = np.nan
    whole = ArrayDataset({"x": x, "y": np.zeros(6, np.int64)})
    part = Subset(whole, np.array([5, 1, 4]))
    with pytest.raises(InputError, match=r"example 2, channel 1, step 2 .example 4 before the spl"):
        check_finite_examples(part, "val", 2)
    check_finite_examples(Subset(whole, np.array([5, 1])), "val", 2)


def test_bad_training_data_are_named_where_a_step_fails(tmp_path, native):
    data = write_parts(tmp_path, "train", "x", (13, 2, 4), np.nan, extra=[])
    sentence = "the loss is nan at step .*x is nan at example 13, channel 2, step 4; the batch is"
    with pytest.raises(InputError, match=sentence):
        train(config_of(tmp_path, model=SMALL, backend=native, data=data, loggers="jsonl"))


# Gradients too large


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_glitch_ends_a_run_before_it_is_saved(tmp_path, native, optimizer):
    # The loss is finite, and so may be the gradients; but the square of 1e22 is no float32.
    data = write_parts(tmp_path, "train", "x", (13, 2), 1e22, extra=[])
    told = config_of(
        tmp_path, model=SMALL, backend=native, data=data, optimizer={"kind": optimizer, "lr": 1e-3}
    )
    sentence = r"the norm of the gradients is .* at step .*largest: x is 1e\+22 at example 13, chan"
    with pytest.raises(InputError, match=sentence):
        train(told)
    assert (tmp_path / "run" / "failed_batch.safetensors").is_file()
    assert not (tmp_path / "run" / "checkpoints" / "last").exists()


@pytest.mark.parametrize(
    "precision, norm, good",
    [
        ("32-true", 1.8e19, True),
        ("32-true", 1.9e19, False),
        ("bf16-mixed", math.inf, False),
        ("64-true", 1.9e19, True),
        ("64-true", 1e160, False),
        ("16-mixed", math.inf, True),  # the framework leaves such a step out and scales anew
        ("32-true", math.nan, False),
    ],
)
def test_how_large_gradients_may_be(tmp_path, precision, norm, good):
    step = Step(({"x": np.ones((1, 2, 3))},), (np.array([4]),))
    values = {"loss": 1.0, "gradient_norm": norm}
    if good:
        assert check_finite(values, step, 3, 0, tmp_path, 0, precision)["gradient_norm"] == norm
        return
    with pytest.raises(InputError, match="the norm of the gradients is"):
        check_finite(values, step, 3, 0, tmp_path, 0, precision)


# What is saved, and what an evaluation finds


@pytest.mark.parametrize(
    "where, sentence",
    [
        ("weight", "weight 'head.bias' is not finite after step 6, so no checkpoint"),
        ("moment", "moment 'm.head.bias' is not finite after step 6, so no checkpoint"),
    ],
)
def test_nothing_that_is_not_finite_is_saved(tmp_path, plain_steps, monkeypatch, where, sentence):
    original = PlainStepper.step

    def step(self, batches, rate, seed):
        values = original(self, batches, rate, seed)
        if where == "moment" and self.count == 6:
            self.moments["head.bias"][1] = np.inf
        elif where == "weight":
            weights = plain.get_weights(self.model)
            plain.set_weights(self.model, weights | {"head.bias": np.array([0.0, np.inf])})
        return values | {"loss": 1.0}

    monkeypatch.setattr(PlainStepper, "step", step)
    monkeypatch.setattr(PlainStepper, "loss", lambda self: 1.0)
    with pytest.raises(InputError, match=sentence):
        train(config_of(tmp_path))
    assert not (tmp_path / "run" / "checkpoints" / "last").exists()


def test_a_loss_of_validation_that_is_not_finite_ends_the_run(tmp_path, plain_steps, monkeypatch):
    bad = {"loss": math.nan, "cross_entropy": 1.0}
    monkeypatch.setattr(
        PlainStepper, "evaluate", lambda self, batch: (bad, np.zeros((len(batch["x"]), 2)))
    )
    with pytest.raises(InputError, match="val_loss is nan after step 6, although the validation"):
        train(config_of(tmp_path))


# One example under a batch norm


@pytest.mark.parametrize(
    "size, sentence",
    [
        (3, "the last batch of an epoch has 1 example, of which batch norm 'hidden.norm' sees one"),
        (1, "each batch has 1 example, of which batch norm 'hidden.norm' sees one value a channel"),
    ],
)
def test_a_lone_example_under_a_batch_norm_is_refused(tmp_path, native, size, sentence):
    data = write_parts(tmp_path, None, "x", 0, 0, extra=[], batch_size=size)
    with pytest.raises(InputError, match=sentence):
        train(config_of(tmp_path, model=NORMED, backend=native, data=data))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size, steps", [(3, 12), (1, 17)])
def test_a_norm_that_is_thawed_before_a_lone_example_is_refused_too(
    tmp_path, plain_steps, size, steps
):
    data = write_parts(tmp_path, None, "x", 0, 0, extra=[], batch_size=size)
    thawed = {"freeze": ["hidden.*"], "freeze_epochs": 1, "epochs": None, "steps": steps}
    with pytest.raises(InputError, match="1 example, of which batch norm 'hidden.norm' sees one"):
        train(config_of(tmp_path, model=NORMED, data=data, training=thawed))
    told = config_of(tmp_path, model=NORMED, data=data, training=thawed | {"steps": steps - 1})
    assert train(told).ended == "finished"


def test_a_lone_example_is_no_matter_where_nothing_needs_its_variance(tmp_path, plain_steps):
    data = write_parts(tmp_path, None, "x", 0, 0, extra=[], batch_size=3)
    for number, (model, change, training) in enumerate(
        [
            (SPEC, {}, {}),  # over the steps of the example
            (NORMED, {"drop_last": True}, {}),
            (NORMED, {"epoch_size": 18}, {}),
            (NORMED, {}, {"freeze": ["hidden.*"]}),  # by its running statistics
            (NORMED, {}, {"epochs": None, "steps": 5}),  # of 6 steps an epoch
            (SMALL, {}, {}),
        ]
    ):
        told = config_of(
            tmp_path,
            model=model,
            data=data | change,
            output=str(tmp_path / f"run{number}"),
            training={"epochs": 1} | training,
        )
        assert train(told).ended == "finished"


def test_a_whole_run_is_as_it_was(tmp_path, plain_steps):
    write_data(tmp_path)
    assert train(config_of(tmp_path)).ended == "finished"
