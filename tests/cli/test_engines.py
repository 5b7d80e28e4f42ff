"""What doctor, bench and describe say of engines."""

import json

import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo import engines
from tcnzoo.cli import app
from tcnzoo.specs.analysis import stream_name
from tcnzoo.verification import bench, doctor
from tcnzoo.verification.measured_engines import engines_text, known_engines
from tests.support.engine_draw import measured_choice

TCN = {"kind": "tcn", "in_channels": 3, "channels": [5], "kernel_size": 7}


def run(*args):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine that nothing was measured on, with one backend."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    monkeypatch.delenv(engines.ENGINE, raising=False)
    monkeypatch.setattr(engines, "_chosen", {})
    monkeypatch.setattr(engines, "_remembered", measured_choice)
    monkeypatch.setattr(doctor, "backend_modules", lambda: ["numpy"])


def measure(operation, shape, names=("plain", "packed")):
    """Ask for an engine, as a backend does."""
    calls = {name: lambda: None for name in names}
    return engines.fastest(operation, shape, calls, package="torch 0")


def remember(*choices):
    """Put choices where `known` finds them."""
    for choice in choices:
        engines._chosen[choice.operation, choice.shape] = choice


CONV = engines.Choice(
    "torch 0; conv1d forward", "3->5, kernel 7, 1 x 64, threads 1", "packed",
    {"plain": 2e-3, "packed": 1e-3},
)  # fmt: skip


def test_the_doctor_shows_processor_and_table():
    assert "nothing was measured yet" in run("doctor").stdout
    remember(CONV)
    text = " ".join(run("doctor").stdout.split())
    assert engines.processor() in text
    assert str(engines.cache_file()) in text.replace(" ", "")
    assert "packed 1, plain 2" in text
    document = json.loads(run("doctor", "--json").stdout)
    assert document["processor"] == engines.processor()
    assert document["engine_asked"] is None
    assert document["engines"] == [
        {"operation": CONV.operation, "shape": CONV.shape, "engine": "packed",
         "seconds": {"plain": 2e-3, "packed": 1e-3}}
    ]  # fmt: skip


def test_the_doctor_says_that_the_choice_is_off(monkeypatch):
    monkeypatch.setenv(engines.ENGINE, "plain")
    text = " ".join(run("doctor").stdout.split())
    assert "TCNZOO_ENGINE=plain: this engine runs wherever it is offered" in text
    assert json.loads(run("doctor", "--json").stdout)["engine_asked"] == "plain"


def test_the_doctor_refuses_an_engine_that_there_is_not(monkeypatch):
    monkeypatch.setenv(engines.ENGINE, "pakced")
    result = run("doctor")
    assert result.exit_code == 2
    assert "did you mean 'packed'" in result.stderr


def test_a_description_has_what_is_known_of_the_model_and_measures_nothing(monkeypatch):
    monkeypatch.setattr(engines, "measured", None)
    spec = tcnzoo.load_spec("tcn-base")
    assert "not measured here yet" in run("describe", "tcn-base").stdout
    stream = engines.Choice(
        "torch 0; stream step", f"{stream_name(spec)}, batch 1, up to 1 steps", "compiled", {}
    )
    other = engines.Choice("torch 0; conv1d forward", "8->64, kernel 5, 1 x 64", "plain", {})
    own = engines.Choice("torch 0; conv1d forward", "64->64, kernel 4, 1 x 64", "k-tap", {})
    remember(CONV, stream, other, own)
    assert known_engines(spec) == [own, stream]
    text = " ".join(run("describe", "tcn-base").stdout.split())
    assert "measured here: conv1d forward: k-tap 1; stream step: compiled 1" in text
    document = json.loads(run("describe", "tcn-base", "--json").stdout)
    assert [row["engine"] for row in document["engines"]] == ["k-tap", "compiled"]


@pytest.mark.parametrize(
    "spec, operation, shape, engine",
    [
        ({"kind": "mamba2", "channels": 64, "d_state": 16}, "mamba2 forward",
         "2 x 64 x 1 x 16, 2 x 960 steps, torch.float32, 2 threads", "chunks of 32"),
        ({"kind": "hsmm", "states": 5, "max_duration": 50, "channels": 3}, "hsmm",
         "states 8, durations 64, steps 1024", "scaled"),
    ],
)  # fmt: skip
def test_recurrences_have_engines_too(spec, operation, shape, engine):
    choice = engines.Choice(f"any 0; {operation}", shape, engine, {})
    remember(choice, engines.Choice(f"any 0; {operation}", f"1{shape}", "plain", {}))
    assert known_engines(tcnzoo.load_spec(spec)) == [choice]


def test_models_that_differ_have_streams_of_other_names():
    one, other = (tcnzoo.load_spec({**TCN, "kernel_size": size}) for size in (5, 7))
    assert stream_name(one) != stream_name(other)
    assert stream_name(one) == stream_name(tcnzoo.load_spec({**TCN, "kernel_size": 5}))


def test_engines_are_counted_by_operation():
    names = ["packed", "plain", "packed"]
    choices = [engines.Choice("torch 0; a", str(i), name, {}) for i, name in enumerate(names)]
    assert engines_text([*choices, engines.Choice("mlx 0; b", "", "compiled", {})]) == (
        "a: packed 2, plain 1; b: compiled 1"
    )
    assert engines_text([]) == ""


@pytest.mark.parametrize("asked, taken", [(None, "packed"), ("plain", "plain")])
def test_bench_says_which_engines_a_task_took(asked, taken, monkeypatch):
    if asked:
        monkeypatch.setenv(engines.ENGINE, asked)
    remember(CONV)
    predict = bench.predict

    def choosing(model, x):
        measure("conv1d forward", CONV.shape)
        return predict(model, x)

    monkeypatch.setattr(bench, "predict", choosing)
    rows = {row.task: row for row in bench.bench(tcnzoo.load_spec(TCN), ["numpy"], rounds=1)}
    assert rows["forward"].engines == f"conv1d forward: {taken} 1"
    measure("conv1d forward", "another model's")
    assert rows["forward"].engines == f"conv1d forward: {taken} 1"


def test_a_record_ends_with_its_block():
    with engines.recorded() as outer:
        remember(CONV)
        with engines.recorded() as inner:
            measure("conv1d forward", CONV.shape)
        measure("conv1d forward", "3->5, kernel 9")
    assert len(inner) == 1
    assert len(outer) == 2
    measure("conv1d forward", "3->5, kernel 11")
    assert len(outer) == 2
