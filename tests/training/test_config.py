"""Configurations: what they resolve to, what they refuse, and schedules against closed forms."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

import tcnzoo
from tcnzoo.errors import BackendMissing, InputError, SpecError
from tcnzoo.training import load_config
from tcnzoo.training.run_directory import differences
from tcnzoo.training.schedule import PlateauState, Schedule
from tcnzoo.training.stopping import Watch
from tests.support.compare import assert_refused
from tests.support.runs import SPEC, config_of, document_of

SCHEDULE = TypeAdapter(Schedule)


def test_a_file_and_a_dictionary_are_the_same(tmp_path):
    document = document_of(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    config = load_config(path)
    assert config == load_config(document)
    assert load_config(config) == config
    resolved = config.model_dump(mode="json")
    assert load_config(yaml.safe_load(yaml.safe_dump(resolved, sort_keys=False))) == config
    assert config.spec == tcnzoo.load_spec(SPEC)


def test_what_is_not_said_is_resolved(tmp_path):
    config = config_of(tmp_path, optimizer="sgd")
    assert config.optimizer.model_dump() == {
        "kind": "sgd",
        "lr": 0.001,
        "weight_decay": 0.0,
        "no_decay": (),
        "momentum": 0.0,
        "nesterov": False,
    }
    assert config.training.schedule.kind == "constant"
    assert config.training.checkpoint.keep == ("best", "last")
    assert config.model["layers"]["head"]["bias"] is True
    assert load_config(document_of(tmp_path, backend="tensorflow")).backend == "keras"


def test_fields_are_set_by_their_path(tmp_path):
    config = load_config(
        document_of(tmp_path, model="deepepi-osd"),
        **{
            "backend": "mlx",
            "training.epochs": 9,
            "training.checkpoint.every": 4,
            "training.schedule.kind": "cosine",
            "losses.0.label_smoothing": 0.1,
            "optimizer.lr": "1e-4",
            "model.layers.logits.out_features": 3,
        },
    )
    assert config.backend == "mlx"
    assert (config.training.epochs, config.training.checkpoint.every) == (9, 4)
    assert config.training.schedule.kind == "cosine"
    assert config.losses[0].label_smoothing == 0.1
    assert config.optimizer.lr == 1e-4
    assert config.model["layers"]["logits"]["out_features"] == 3


@pytest.mark.parametrize(
    "field, value, sentence",
    [
        ("training.epochz", 3, "unknown field 'epochz' at 'training'; did you mean 'epochs'?"),
        ("outptu", "x", "unknown field 'outptu'; did you mean 'output'?"),
        ("optimizer.kind", "adamm", "unknown kind 'adamm' at 'optimizer'; did you mean 'adam'?"),
        ("optimizer.beta", 1, "unknown field 'beta' at 'optimizer'; did you mean 'betas'?"),
        ("losses.0.label_smooth", 0.1, "unknown field 'label_smooth' at 'losses.0'; did you mean"),
        ("data.batchsize", 3, "unknown field 'batchsize' at 'data'; did you mean 'batch_size'?"),
        (
            "training.schedule",
            {"kind": "cosine", "warmup": 1},
            "unknown field 'warmup' at 'training.schedule'; did you mean 'warmup_steps'?",
        ),
        ("training.schedule.warmup_steps", 1, "'training.schedule' lacks its 'kind'"),
        ("training.schedule", "cosin", "unknown kind 'cosin' at 'training.schedule'; did you mean"),
        ("training.checkpoint.keep", "best", "training.checkpoint: keep must name 'last', which"),
        ("training.early_stopping", {"patience": 0}, "field 'training.early_stopping.patience': i"),
        ("training.strategy", "fdsp", "field 'training.strategy': input should be 'ddp' or 'fsdp'"),
        ("training.steps", 3, "training: give one of epochs and steps"),
        ("training.freeze_epochs", 3, "training: freeze_epochs needs patterns in freeze"),
        ("optimizer", {"lr": 1.0}, "'optimizer' lacks its 'kind'"),
        ("losses", [], "field 'losses': tuple should have at least 1 item after validation"),
        ("seed", -1, "field 'seed': input should be greater than or equal to 0, but got -1"),
        ("training", None, "field 'training': input should be a valid dictionary or instance of"),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(tmp_path, field, value, sentence):
    with pytest.raises(InputError) as caught:
        load_config(document_of(tmp_path), **{field: value})
    text = str(caught.value)
    assert text.startswith(f"configuration: {sentence}")
    assert "\n" not in text


def test_other_mistakes_have_their_own_sentences(tmp_path):
    document = document_of(tmp_path)
    with pytest.raises(BackendMissing, match="unknown backend 'torhc'; did you mean 'torch'"):
        load_config(document, backend="torhc")
    with pytest.raises(SpecError, match="unknown model 'deepeppi'; did you mean 'deepepi'"):
        load_config(document, model="deepeppi")
    with pytest.raises(SpecError, match="two losses would be logged as 'mse'"):
        load_config(document, losses=["mse", "mse"])
    with pytest.raises(InputError, match="cannot set 'losses.4.weight': '4' is not one of 0..0"):
        load_config(document, **{"losses.4.weight": 1})
    with pytest.raises(InputError, match="cannot set 'seed.a': 'a' is below a plain value"):
        load_config(document, **{"seed.a": 1})
    missing = tmp_path / "none.yaml"
    with pytest.raises(InputError, match="no configuration .* at '.*none.yaml'; known are "):
        load_config(missing)
    del document["model"]
    sentence = "the configuration lacks 'model': a preset, a spec file or a spec"
    assert_refused(InputError, sentence, load_config, document)
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(InputError, match="is not valid YAML or JSON"):
        load_config(broken)


def test_differences_name_each_place():
    before = {"a": {"b": [1, 2], "c": 1}, "d": [1]}
    after = {"a": {"b": [1, 3]}, "d": [1, 2]}
    assert [text for _, text in differences(before, after)] == [
        "a.b.1: 2 -> 3",
        "a.c: 1 -> null",
        "d: [1] -> [1, 2]",
    ]
    assert not list(differences(before, before))


def factors(document, total):
    """The factor of each step of a run."""
    schedule = SCHEDULE.validate_python(document)
    schedule.check(total)
    return [schedule.at(step, total) for step in range(total)]


def test_three_phases_are_two_lines_and_a_cosine_between():
    told = {"kind": "three_phase", "warmup_steps": 4, "cooldown_steps": 5, "start": 0.2}
    found = factors({**told, "main_end": 0.3}, 20)
    expected = [0.2 + 0.8 * step / 4 for step in range(4)]
    expected += [0.3 + 0.7 * (1 + math.cos(math.pi * step / 11)) / 2 for step in range(11)]
    expected += [0.3 * (1 - step / 5) for step in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # The phases meet: where the first line would end the cosine begins, and so on.
    assert found[4] == 1.0
    assert found[15] == pytest.approx(0.3)


def test_a_schedule_longer_than_the_run_is_refused():
    with pytest.raises(InputError, match="the rate rises over 20 steps .* the run has 20 in all"):
        factors({"kind": "cosine", "warmup_steps": 20}, 20)
    with pytest.raises(InputError, match="rises over 4 steps and cools down over 16"):
        factors({"kind": "three_phase", "warmup_steps": 4, "cooldown_steps": 16}, 20)
    assert factors({"kind": "constant", "warmup_steps": 4}, 2) == [0.25, 0.5]


def torch_rates(make, total):
    """What one of torch's schedulers gives each step, at a rate of 1."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_torchs():
    def make(schedulers, optimizer):
        rise = schedulers.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
        fall = schedulers.CosineAnnealingLR(optimizer, T_max=15, eta_min=0.1)
        return schedulers.SequentialLR(optimizer, [rise, fall], milestones=[5])

    found = factors({"kind": "cosine", "warmup_steps": 5, "final": 0.1}, 20)
    np.testing.assert_allclose(found, torch_rates(make, 20), rtol=1e-9)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_plateau_is_torchs(mode, cooldown):
    torch = pytest.importorskip("torch")
    told = {"mode": mode, "patience": 2, "threshold": 0.01, "cooldown": cooldown}
    plateau = SCHEDULE.validate_python({"kind": "plateau", "factor": 0.5, "final": 0.05, **told})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, min_lr=0.05, **told
    )
    generator, state = np.random.default_rng(0), PlateauState()
    seen = []
    for step in range(60):
        value = float(1.0 / (1 + step // 9) + 0.02 * generator.random())
        value = value if mode == "min" else 1.0 - value
        state.seen(plateau, value)
        state = PlateauState.model_validate_json(state.model_dump_json())
        scheduler.step(value)
        assert state.factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        seen.append(state.factor)
    assert len(set(seen)) > 3


def test_a_value_that_is_none_is_never_the_best():
    watch = Watch()
    assert not watch.seen(math.nan, 1, "min")
    assert watch.seen(2.0, 2, "min")
    assert not watch.seen(math.nan, 3, "min")
    assert not watch.seen(1.95, 4, "min", min_delta=0.1)
    assert watch.seen(1.0, 5, "min", min_delta=0.1)
    assert (watch.best, watch.step, watch.bad) == (1.0, 5, 0)


def test_training_is_imported_when_it_is_asked_for():
    code = (
        "import sys, tcnzoo; before = 'tcnzoo.training' in sys.modules; call = tcnzoo.train; "
        "print(before, call.__name__, 'torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["False", "train", "False", "False"]
    with pytest.raises(AttributeError, match="module 'tcnzoo' has no attribute 'trian'"):
        _ = tcnzoo.trian
