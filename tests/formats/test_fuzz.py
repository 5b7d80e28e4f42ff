"""Files broken at random: fifty of every format, and what the search for failures itself finds."""

import contextlib
import os
import pickle
import time

import pytest

from tcnzoo.errors import WeightError
from tcnzoo.formats.protocol import convert
from tests.fuzzing import judge as judging, rules
from tests.fuzzing.__main__ import fuzz
from tests.fuzzing.cases import STRUCTURAL, Case, cases_of
from tests.fuzzing.inputs import READERS
from tests.fuzzing.judge import FAILED, READ, REFUSED, judge, plan_of
from tests.fuzzing.makers import MAKERS, known_formats, make_samples
from tests.fuzzing.opcodes import handwritten
from tests.fuzzing.workers import run_batch

COUNT, SEED = 50, 20


def test_every_format_has_samples():
    assert sorted([*MAKERS, *READERS]) == sorted(known_formats())


@pytest.mark.parametrize("name", known_formats())
def test_every_mutant_is_refused_or_read(name):
    result = fuzz(name, COUNT, seed=SEED)
    if result.skipped:
        pytest.skip(result.skipped)
    lines = [f"{one.name}: {one.change}: {one.detail}" for one in result.failures]
    assert not lines, "\n".join(lines)
    assert sum(result.outcomes.values()) == COUNT
    assert result.outcomes[REFUSED] > 0
    assert result.outcomes[READ] > 0
    assert sum(one.compared for one in result.verdicts) > 0


@pytest.fixture
def sample(tmp_path):
    """A whole file, and what becomes of its tensors."""
    samples = make_samples("mlx", tmp_path / "samples")
    return samples[0], plan_of(samples[0], tmp_path / "plan")


def verdict_on(sample, tmp_path, monkeypatch, reads=convert, change="none"):
    """The verdict on a file to which a change is done and which a function converts."""
    monkeypatch.setattr(judging, "convert", reads)
    monkeypatch.setitem(STRUCTURAL, "npz", (lambda path, choice, trap: change,))
    monkeypatch.setattr("tests.fuzzing.cases.REPLACED", 0)
    monkeypatch.setattr("tests.fuzzing.cases.BLIND", 0)
    case = Case(sample[0], seed=0, number=0)
    return judge(case, sample[1], tmp_path / "case", lambda text: None)


def test_a_whole_file_is_read_and_compared(sample, tmp_path, monkeypatch):
    found = verdict_on(sample, tmp_path, monkeypatch)
    assert (found.outcome, found.detail) == (READ, "")
    assert found.compared == len(sample[1]) > 5
    assert {len(order) for _, order in sample[1].values()} == {1, 2, 3}


def test_a_refusal_is_none_where_a_file_is_left(sample, tmp_path, monkeypatch):
    def leaves(path, target, **options):
        target.mkdir()
        raise WeightError("no")

    found = verdict_on(sample, tmp_path, monkeypatch, leaves)
    assert (found.outcome, found.detail) == (FAILED, "refused, but [] is left")


def refuses(sentence):
    def reads(path, target, **options):
        raise WeightError(sentence)

    return reads


@pytest.mark.parametrize("sentence", ["", " ", "one\nand more", "one\u2028and more"])
def test_a_refusal_is_one_sentence(sentence, sample, tmp_path, monkeypatch):
    found = verdict_on(sample, tmp_path, monkeypatch, refuses(sentence))
    assert found.outcome == FAILED
    assert "is no single line" in found.detail


def test_a_refusal_of_what_inspect_shows_is_one(sample, tmp_path, monkeypatch):
    found = verdict_on(sample, tmp_path, monkeypatch, refuses("no"))
    assert (found.outcome, found.detail) == (REFUSED, "WeightError: no")


def test_memory_that_is_asked_for_is_a_failure(sample, tmp_path, monkeypatch):
    found = verdict_on(sample, tmp_path, monkeypatch, refuses("cannot allocate 2 TiB"))
    assert found.outcome == FAILED


def takes_memory(path, target, **options):
    bytes(rules.MOST_MEMORY * 2**20 + 2**26)  # zeros that are not touched take none
    data = bytearray(b"x") * (rules.MOST_MEMORY * 2**20 + 2**26)
    raise WeightError(f"no {len(data)}")


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells")
def test_memory_that_is_taken_is_a_failure(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "MOST_MEMORY", 100)
    found = verdict_on(sample, tmp_path, monkeypatch, takes_memory)
    assert found.outcome == FAILED
    assert found.detail.startswith("took ")


def test_another_error_is_a_failure(sample, tmp_path, monkeypatch):
    def fails(path, target, **options):
        raise KeyError("weight")

    found = verdict_on(sample, tmp_path, monkeypatch, fails)
    assert found.outcome == FAILED
    assert found.detail.startswith("KeyError: 'weight'")


def test_code_that_runs_is_a_failure(sample, tmp_path, monkeypatch):
    def runs(path, target, **options):
        (path.parent.parent / "sentinel").touch()
        return convert(path, target, **options)

    found = verdict_on(sample, tmp_path, monkeypatch, runs)
    assert (found.outcome, found.detail) == (FAILED, "code in it was run")


@pytest.mark.parametrize("place", ["beside", "source/net.npz", "source/.net-temporary"])
def test_a_file_that_is_left_or_changed_is_a_failure(place, sample, tmp_path, monkeypatch):
    def leaves(path, target, **options):
        report = convert(path, target, **options)
        (path.parent.parent / place).write_bytes(b"x")
        path.parent.joinpath("net.npz")
        return report

    found = verdict_on(sample, tmp_path, monkeypatch, leaves)
    assert found.outcome == FAILED


def test_a_wrong_tensor_is_a_failure(sample, tmp_path, monkeypatch):
    from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint

    def reads(path, target, **options):
        report = convert(path, target, **options)
        spec, weights = read_checkpoint(target)
        weights["up.weight"] = weights["up.weight"][:, ::-1]
        write_checkpoint(target, spec, weights, overwrite=True)
        return report

    found = verdict_on(sample, tmp_path, monkeypatch, reads)
    assert found.outcome == FAILED
    assert found.detail == "'up.weight' is not 'up.weight' of the file"


def test_the_hostile_pickles_would_run_where_nobody_looks(tmp_path):
    mark = tmp_path / "mark"
    run = 0
    for made in handwritten(f"touch '{mark}'"):
        if str(mark).encode() in made:
            with contextlib.suppress(Exception):
                pickle.loads(made)
            run += mark.exists()
            mark.unlink(missing_ok=True)
    assert run >= 8


# A process that does not come back


def crashes(pipe, cases, plans, folder):
    for case in cases:
        pipe.send(f"change {case.number}")
        if case.number == 1:
            os.abort()
        pipe.send(judging.Verdict(case.name, "", REFUSED))
    pipe.send(None)


def hangs(pipe, cases, plans, folder):
    pipe.send("change 0")
    time.sleep(600)


def test_a_crash_is_a_failure_and_the_rest_goes_on(sample, tmp_path):
    cases = cases_of([sample[0]], 3, 0)
    found = list(run_batch(cases, {}, tmp_path, seconds=60, work=crashes))
    assert [one.outcome for one in found] == [REFUSED, FAILED, REFUSED]
    assert (found[1].name, found[1].change) == ("mlx-0-1", "change 1")
    assert found[1].detail == "crash, exit code -6"


def test_a_hang_is_a_failure(sample, tmp_path):
    found = list(run_batch(cases_of([sample[0]], 1, 0), {}, tmp_path, seconds=5, work=hangs))
    assert [(one.outcome, one.detail) for one in found] == [(FAILED, "no end within 5 s")]
