"""What becomes of a mutant: refused in one sentence, read as it is, or a failure."""

import itertools
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.formats.protocol import convert, get_format, inspect
from tcnzoo.formats.report import ConversionReport
from tests.fuzzing.cases import Case, mutant
from tests.fuzzing.inputs import READERS, read_or_refused
from tests.fuzzing.raw import bits, raw_tensors
from tests.fuzzing.rules import Wrong, refusal, watched
from tests.fuzzing.runs import difference
from tests.fuzzing.sample import Sample
from tests.fuzzing.trap import WORD, Trap

REFUSED, READ, FAILED = "refused", "read", "failed"
# Source tensor -> (neutral tensor, order of its axes there).
Plan = Mapping[str, tuple[str, tuple[int, ...]]]
# Outcome of a case, the sentence of a refusal, and how many checks a value passed.
Outcome = tuple[str, str, int]


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Attributes:
        name: of the case.
        change: what was done to the sample.
        outcome: `refused`, `read` or `failed`.
        detail: the sentence of a refusal, or what is wrong.
        compared: tensors whose bits were held against another reader's, or checks of another value.
        seconds: that it took.
    """

    name: str
    change: str
    outcome: str
    detail: str = ""
    compared: int = 0
    seconds: float = 0.0


def judge(case: Case, plan: Plan, folder: Path, tell: Callable[[str], None]) -> Verdict:
    """Make a mutant in a new folder, tell what was done, and see what becomes of it."""
    folder.mkdir()
    trap, start, change = Trap.set_in(folder), time.monotonic(), "none"
    try:
        path, change = mutant(case, folder / "source", trap)
        tell(change)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome, detail, compared = (
                _read(case, path, folder, trap)
                if case.sample.format in READERS
                else _converted(case, path, plan, folder, trap)
            )
    except Wrong as wrong:
        return Verdict(case.name, change, FAILED, str(wrong))
    except Exception as error:
        last = traceback.format_exc().strip().splitlines()
        places = [line.strip() for line in last if line.strip().startswith("File ")][-3:]
        return Verdict(case.name, change, FAILED, f"{type(error).__name__}: {error}; {places}")
    return Verdict(case.name, change, outcome, detail, compared, time.monotonic() - start)


def _read(case: Case, path: Path, folder: Path, trap: Trap) -> Outcome:
    """Read a file that holds no weights, with options that follow from the case."""
    kind = case.sample.format
    with watched(folder, trap):
        values, sentences = read_or_refused(kind, path, case.name)
    if all(value is None for value in values):
        return REFUSED, sentences[-1], 0
    return READ, "", READERS[kind].check(values, path, folder)


def _converted(case: Case, path: Path, plan: Plan, folder: Path, trap: Trap) -> Outcome:
    """Inspect and convert, with the format found and with it given."""
    sample = case.sample
    sentences: list[str] = []
    reports = []
    with watched(folder, trap) as made:
        for number, name in enumerate((None, sample.format)):
            target = folder / f"target{number}"
            seen = refusal(sentences, inspect, path, from_format=name, hints=sample.hints)
            report = refusal(sentences, convert, path, target, from_format=name, hints=sample.hints)
            if report is None and target.exists():
                raise Wrong(f"refused, but {sorted(map(str, target.rglob('*')))} is left")
            if report is not None and seen is None:
                raise Wrong(f"converted, but inspect refused it: {sentences[-1]}")
            if report is not None and seen.spec != report.spec:
                raise Wrong("inspect shows another spec than convert")
            if report is not None:
                reports.append((target, report))
                made.add(target.name)
    compared = [_check_read(sample, path, plan, target, report) for target, report in reports]
    if len(reports) == 2:
        _check_same(*(target for target, _ in reports))
    return (READ, "", max(compared)) if reports else (REFUSED, sentences[-1], 0)


def _check_read(
    sample: Sample, path: Path, plan: Plan, target: Path, report: ConversionReport
) -> int:
    """Hold what was written against the file; return how many tensors were compared bit by bit."""
    spec, weights = read_checkpoint(target)
    if spec != report.spec:
        raise Wrong("the spec that was written is not the one in the report")
    if any(one.size and (bits(one) == WORD).all() for one in weights.values()):
        raise Wrong("what lies in another file was read")
    model = tcnzoo.create(spec, "numpy", weights=weights)
    wrong = difference(path, model, spec.input_channels) if sample.runs else None
    if wrong:
        raise Wrong(f"what was read {wrong}")
    extra = {one.name for one in target.iterdir()} - {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    if extra:
        raise Wrong(f"{sorted(extra)} was written as well")
    held = get_format(sample.format).tensors(path)
    unknown = set(held) - set(report.used) - set(report.dropped)
    if unknown:
        raise Wrong(f"{sorted(unknown)[:3]} is neither used nor dropped")
    raw = raw_tensors(path, sample.container)
    compared = 0
    for source, neutral in report.used.items():
        array = _of(raw, source)
        if neutral not in weights or array is None:
            continue
        known, order = plan.get(source, ("", ()))
        compared += 1
        orders = [order] if known == neutral else _orders(array)
        if not any(_turned(array, weights[neutral], one) for one in orders):
            raise Wrong(f"{neutral!r} is not {source!r} of the file")
    return compared


def _of(raw: Mapping[str, Any], source: str) -> Any:
    """A tensor by the name that we give it, which may be the last parts of its path."""
    if source in raw:
        return raw[source]
    found = [name for name in raw if name.endswith(("/" + source, "." + source))]
    return raw[found[0]] if len(found) == 1 else None


def _orders(array: Any) -> list[tuple[int, ...]]:
    """Every order of the axes."""
    return list(itertools.permutations(range(array.ndim)))


def _turned(array: Any, neutral: Any, order: tuple[int, ...]) -> bool:
    """Whether a neutral tensor is an array with its axes in an order, but for axes of size 1."""
    if len(order) != array.ndim:
        return False
    turned = array.transpose(order)
    if [size for size in turned.shape if size != 1] == [one for one in neutral.shape if one != 1]:
        turned = turned.reshape(neutral.shape)
    return bool(np.array_equal(bits(neutral), turned))


def _check_same(one: Path, other: Path) -> None:
    """What is read with the format given is what is read without."""
    (spec, weights), (second, more) = read_checkpoint(one), read_checkpoint(other)
    same = list(weights) == list(more)
    same = same and all(
        bits(weights[name]).tobytes() == bits(more[name]).tobytes() for name in more
    )
    if spec != second or not same:
        raise Wrong("the format that was found reads it as something else than the one it is of")


def plan_of(sample: Sample, folder: Path) -> Plan:
    """Read a whole sample, and see in which order the axes of each tensor end up.

    Raises:
        Wrong: a tensor that is not that of the file in any order, or a refusal of a sample that
            holds no weights.
    """
    if sample.format in READERS:
        values, sentences = read_or_refused(sample.format, sample.path)
        if any(value is None for value in values):
            raise Wrong(f"the whole file {sample.path.name!r} is refused: {sentences}")
        return {}
    target = folder / "whole"
    report = convert(sample.path, target, from_format=sample.format, hints=sample.hints)
    _, weights = read_checkpoint(target)
    raw = raw_tensors(sample.path, sample.container)
    plan = {}
    for source, neutral in report.used.items():
        array = _of(raw, source)
        if neutral not in weights or array is None:
            continue
        fitting = [one for one in _orders(array) if _turned(array, weights[neutral], one)]
        if not fitting:
            raise Wrong(f"{neutral!r} is not {source!r} of the whole file of {sample.format}")
        plan[source] = (neutral, fitting[0])
    return plan
