"""Specs, event files, recordings and tables broken at random: the rules that each is held to.

`test_convert_fuzz.py` runs mutants of every kind; here each rule is broken once.
"""

import json
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tests.fuzzing import by_json, inputs, rules
from tests.fuzzing.cases import STRUCTURAL, Case, mutant
from tests.fuzzing.input_samples import INPUTS
from tests.fuzzing.inputs import LONGEST, READERS
from tests.fuzzing.judge import FAILED, READ, REFUSED, judge, plan_of
from tests.fuzzing.makers import make_samples
from tests.fuzzing.rules import Wrong
from tests.fuzzing.trap import Trap


@pytest.fixture
def verdict_on(tmp_path, monkeypatch):
    """Judge a whole table of signals that a function reads."""
    sample = make_samples("csv", tmp_path / "samples")[0]

    def verdict(reads, change=lambda path, choice, trap: "none"):
        monkeypatch.setattr(inputs, "read_signal", reads)
        monkeypatch.setitem(STRUCTURAL, "table", (change,))
        for name in ("REPLACED", "BLIND", "DOUBLED"):
            monkeypatch.setattr(f"tests.fuzzing.cases.{name}", 0)
        return judge(Case(sample, seed=0, number=0), {}, tmp_path / "case", lambda text: None)

    return verdict


read_signal = inputs.read_signal


def test_a_whole_file_is_read_and_checked(verdict_on):
    found = verdict_on(read_signal)
    assert (found.outcome, found.detail, found.compared) == (READ, "", 1)


def refuses(sentence):
    def reads(path):
        raise InputError(sentence)

    return reads


def test_a_refusal_is_one_short_line(verdict_on):
    found = verdict_on(refuses("no"))
    assert (found.outcome, found.detail) == (REFUSED, "InputError: no")


@pytest.mark.parametrize(
    "sentence, detail",
    [
        ("", "the refusal is no single line"),
        ("one\u2028more", "the refusal is no single line"),
        ("x" * LONGEST, "the refusal has 1012 characters"),
        ("cannot allocate 2 TiB", "memory was asked for"),
        ("a\ud800", "UnicodeEncodeError"),
    ],
)
def test_other_sentences_are_failures(sentence, detail, verdict_on):
    found = verdict_on(refuses(sentence))
    assert found.outcome == FAILED
    assert found.detail.startswith(detail)


@pytest.mark.parametrize(
    "sentence, category, detail",
    [
        ("x" * 1001, UserWarning, "the warning has 1001 characters"),
        ("a\nb", UserWarning, "the warning is no single line"),
        ("overflow", RuntimeWarning, "RuntimeWarning in "),
        ("fine", UserWarning, ""),
    ],
)
def test_warnings_are_ours_and_one_short_line(sentence, category, detail, verdict_on):
    def reads(path):
        warnings.warn(sentence, category, stacklevel=1)
        return read_signal(path)

    found = verdict_on(reads)
    assert found.outcome == (FAILED if detail else READ)
    assert found.detail.startswith(detail)


def test_another_error_is_a_failure(verdict_on):
    found = verdict_on(lambda path: {}["x"])
    assert found.outcome == FAILED
    assert found.detail.startswith("KeyError: 'x'; ['File ")


def test_time_that_is_taken_is_a_failure(verdict_on, monkeypatch):
    monkeypatch.setattr(rules, "MOST_SECONDS", 0.05)

    def reads(path):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        return read_signal(path)

    found = verdict_on(reads)
    assert found.outcome == FAILED
    assert found.detail.startswith("took 0.")


@pytest.mark.skipif(not rules.peak(), reason="only Linux tells")
def test_memory_that_is_taken_is_a_failure(verdict_on, monkeypatch):
    monkeypatch.setattr(rules, "MOST_MEMORY", 100)

    def reads(path):
        raise InputError(f"no {len(bytearray(b'x') * 2**28)}")

    found = verdict_on(reads)
    assert found.outcome == FAILED
    assert found.detail.startswith("took ")


@pytest.mark.parametrize("place", ["beside", "source/a.csv", "source/.a-temporary"])
def test_a_file_that_is_left_or_changed_is_a_failure(place, verdict_on):
    def reads(path):
        (path.parent.parent / place).write_bytes(b"x")
        raise InputError("no")

    found = verdict_on(reads)
    assert found.outcome == FAILED
    assert found.detail.startswith("files beside it were changed or left")


def test_a_value_that_cannot_be_is_a_failure(verdict_on):
    found = verdict_on(lambda path: np.full((2, 30), np.inf))
    assert found.outcome == FAILED
    assert found.detail == "a signal of shape (2, 30) is not finite"


def test_a_whole_file_that_is_refused_is_a_failure(tmp_path, monkeypatch):
    sample = make_samples("csv", tmp_path / "samples")[0]
    monkeypatch.setattr(inputs, "read_signal", refuses("no"))
    with pytest.raises(Wrong, match="the whole file 'a.csv' is refused"):
        plan_of(sample, tmp_path / "plan")


# What each reader is held to


def check(kind, values, path, folder):
    return READERS[kind].check(values, path, folder)


@pytest.fixture
def read(tmp_path):
    """The first sample of a kind as it is read, and its path."""

    def values_of(kind, place=0):
        path = make_samples(kind, tmp_path)[place].path
        return inputs.read_or_refused(kind, path)[0], path

    return values_of


def test_events_out_of_order_are_a_failure(read, tmp_path):
    (found,), path = read("events")
    assert check("events", [found], path, tmp_path) == 1
    wrong = replace(found, events=found.events[::-1])
    with pytest.raises(Wrong, match="events are out of order"):
        check("events", [wrong], path, tmp_path)


def test_parts_that_overlap_and_samples_that_are_none_are_a_failure(read, tmp_path):
    (parts, whole), path = read("edf", 1)
    assert check("edf", [parts, whole], path, tmp_path) == 1
    with pytest.raises(Wrong, match="a part begins at 0.0 s, before the end at 10.0 s"):
        check("edf", [(*parts, *parts), None], path, tmp_path)
    moved = replace(whole, signal=whole.signal[:, ::-1])
    with pytest.raises(Wrong, match="the recording is not the part that it has"):
        check("edf", [parts, moved], path, tmp_path)
    broken = replace(whole, signal=whole.signal * float("nan"))
    with pytest.raises(Wrong, match="is not finite"):
        check("edf", [parts, broken], path, tmp_path)
    with pytest.raises(Wrong, match="its parts are not"):
        check("edf", [None, whole], path, tmp_path)


def test_windows_over_a_gap_are_a_failure(read, tmp_path, monkeypatch):
    (found,), path = read("osd")
    assert check("osd", [found], path, tmp_path) == len(found) == 7
    monkeypatch.setattr(inputs, "starts", lambda found, length: [0, None])
    with pytest.raises(Wrong, match="a window joins what does not belong together"):
        check("osd", [found], path, tmp_path)
    events = json.loads(path.read_text())
    events[0]["datapoints"][0]["rawData"][0] = 5  # then nothing can be said
    path.write_text(json.dumps(events))
    assert check("osd", [found], path, tmp_path) == 7


def test_a_spec_that_changes_is_a_failure(read, tmp_path, monkeypatch):
    (spec,), path = read("spec")
    assert check("spec", [spec], path, tmp_path) == 1
    monkeypatch.setattr(inputs.tcnzoo, "load_spec", lambda path: None)
    with pytest.raises(Wrong, match="the spec changes when it is written"):
        check("spec", [spec], path, tmp_path)


# Mutants


@pytest.mark.parametrize("kind", READERS)
def test_mutants_follow_from_kind_seed_and_number(kind, tmp_path):
    samples = make_samples(kind, tmp_path / "samples")
    trap = Trap.set_in(tmp_path)

    def made(seed, number, folder):
        case = Case(samples[number % len(samples)], seed, number)
        path, how = mutant(case, tmp_path / folder, trap)
        return how, path.read_bytes() if path.is_file() else b""

    numbers = range(12)
    first = [made(3, number, f"a{number}") for number in numbers]
    assert first == [made(3, number, f"b{number}") for number in numbers]
    assert first != [made(4, number, f"c{number}") for number in numbers]


def test_odd_values_change_one_place():
    class Choice:
        """The second choice of all."""

        def random(self):
            return 0.5

        def choice(self, values):
            return values[1]

    assert by_json.odd({"a": 1, "b": [2]}, Choice()) == (
        {"a": 1, "b": by_json.ODD[1]},
        f"value b {str(by_json.ODD[1])[:20]!r}",
    )


def test_every_reader_has_samples():
    assert list(READERS) == list(INPUTS)
