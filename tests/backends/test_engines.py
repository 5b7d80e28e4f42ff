"""The choice between engines: by a clock, kept on the disk, and by name."""

import json

import pytest

from tcnzoo import engines
from tcnzoo.errors import InputError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no choice made yet."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    monkeypatch.delenv(engines.ENGINE, raising=False)
    monkeypatch.setattr(engines, "_chosen", {})
    return tmp_path


class Machine:
    """A clock that only engines move, each by its own time."""

    def __init__(self, monkeypatch, **seconds):
        self.now, self.calls = 0.0, 0
        monkeypatch.setattr(engines, "clock", lambda: self.now)
        self.engines = {
            name.replace("_", " "): lambda taken=taken: self.run(taken)
            for name, taken in seconds.items()
        }

    def run(self, taken):
        self.now += taken
        self.calls += 1

    def choose(self, shape="64->64 k7, 1 x 4096, 1 thread"):
        return engines.fastest("conv1d forward", shape, self.engines, package="torch 0")


@pytest.mark.parametrize(
    "packed, expected", [(0.5, "packed"), (0.99, "plain"), (1.01, "plain"), (2.0, "plain")]
)
def test_the_fastest_is_taken_if_it_is_clearly_faster(cache, monkeypatch, packed, expected):
    assert Machine(monkeypatch, plain=1.0, packed=packed).choose() == expected


def test_a_machine_where_the_packed_form_is_slow_takes_another(cache, monkeypatch):
    machine = Machine(monkeypatch, plain=1.0, packed=1.3, toom_cook=0.6)
    assert machine.choose() == "toom cook"


def test_time_that_other_programs_take_does_not_count(cache, monkeypatch):
    machine = Machine(monkeypatch, plain=1.0, packed=0.5)
    plain, packed = (machine.engines[name] for name in ("plain", "packed"))
    rounds = iter(range(1000))

    def interrupted():
        packed()
        machine.now += 20.0 if next(rounds) % 3 else 0.0

    machine.engines = {"plain": plain, "packed": interrupted}
    assert machine.choose() == "packed"


def test_what_was_measured_is_read_by_the_next_process(cache, monkeypatch):
    assert Machine(monkeypatch, plain=1.0, packed=0.5).choose() == "packed"
    monkeypatch.setattr(engines, "_chosen", {})
    slow_now = Machine(monkeypatch, plain=1.0, packed=9.0)
    assert slow_now.choose() == "packed"
    assert slow_now.calls == 0
    assert slow_now.choose("another shape") == "plain"
    assert {choice.engine for choice in engines.known()} == {"packed", "plain"}


def test_another_processor_measures_again(cache, monkeypatch):
    assert Machine(monkeypatch, plain=1.0, packed=0.5).choose() == "packed"
    monkeypatch.setattr(engines, "_chosen", {})
    monkeypatch.setattr(engines, "processor", lambda: "another one")
    assert Machine(monkeypatch, plain=1.0, packed=2.0).choose() == "plain"


@pytest.mark.parametrize("content", ["", "{", '[{"engine": 1}]', "[3]", '{"a": 1}'])
def test_a_damaged_file_is_measured_again(cache, monkeypatch, content):
    engines.cache_file().write_text(content)
    assert Machine(monkeypatch, plain=1.0, packed=0.5).choose() == "packed"
    assert [row["engine"] for row in json.loads(engines.cache_file().read_text())] == ["packed"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, cache):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(engines.CACHE, str(tmp_path / "file" / "folder"))
    machine = Machine(monkeypatch, plain=1.0, packed=0.5)
    assert machine.choose() == machine.choose() == "packed"


@pytest.mark.parametrize("name, expected", [("packed", "packed"), ("k-tap", "plain")])
def test_an_engine_can_be_named(cache, monkeypatch, name, expected):
    monkeypatch.setenv(engines.ENGINE, name)
    machine = Machine(monkeypatch, plain=1.0, packed=5.0)
    assert machine.choose() == expected
    assert machine.calls == 0


def test_an_unknown_engine_is_refused(cache, monkeypatch):
    monkeypatch.setenv(engines.ENGINE, "paked")
    with pytest.raises(InputError, match=r"unknown engine 'paked'.*did you mean 'packed'"):
        Machine(monkeypatch, plain=1.0, packed=5.0).choose()
