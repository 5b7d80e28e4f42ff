"""Cases: one sample, one seed, and the one or two changes that follow from it."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.fuzzing import (
    by_bytes,
    by_directory,
    by_edf,
    by_h5,
    by_onnx,
    by_osd,
    by_pickle,
    by_safetensors,
    by_spec,
    by_table,
    by_zip,
)
from tests.fuzzing.sample import Sample
from tests.fuzzing.trap import Trap

STRUCTURAL = {
    "pt": (*by_pickle.STRUCTURAL, *by_pickle.STRUCTURAL, *by_zip.ANY),
    "safetensors": by_safetensors.STRUCTURAL,
    "npz": by_zip.NPZ,
    "keras": by_h5.KERAS,
    "h5": by_h5.STRUCTURAL,
    "onnx": by_onnx.STRUCTURAL,
    "directory": by_directory.STRUCTURAL,
    "yaml": by_spec.YAML,
    "json": by_spec.JSON,
    "table": by_table.STRUCTURAL,
    "edf": by_edf.STRUCTURAL,
    "osd": by_osd.STRUCTURAL,
}
# How often a change knows nothing of the format, is another thing in the file's place, is doubled.
BLIND, REPLACED, DOUBLED = 0.3, 0.02, 0.15


@dataclass(frozen=True)
class Case:
    """One mutant to be."""

    sample: Sample
    seed: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.sample.format}-{self.seed}-{self.number}"


def cases_of(samples: list[Sample], count: int, seed: int) -> list[Case]:
    """So many cases, the samples in turn."""
    return [Case(samples[number % len(samples)], seed, number) for number in range(count)]


def _change(path: Path, container: str, choice: random.Random, trap: Trap) -> str:
    """Do one change, and say which."""
    if container != "directory" and choice.random() < REPLACED:
        one = choice.choice(by_bytes.PLACES)
        one(path, choice, trap)
        return f"replaced by {one.__name__}"
    if container != "directory" and choice.random() < BLIND:
        return f"bytes {by_bytes.change_bytes(path, choice, trap)}"
    one = choice.choice(STRUCTURAL[container])
    detail = one(path, choice, trap)
    module = one.__module__.rpartition(".")[2]
    return f"{module}.{one.__name__} {detail or ''}".strip()


def mutant(case: Case, folder: Path, trap: Trap) -> tuple[Path, str]:
    """Copy the sample of a case into a folder and change it; return its path and what was done."""
    choice = random.Random(f"{case.sample.format} {case.seed} {case.number}")
    shutil.copytree(case.sample.path.parent, folder)
    path = folder / case.sample.path.name
    done = [_change(path, case.sample.container, choice, trap)]
    if choice.random() < DOUBLED and (path.is_file() or path.is_dir()):
        try:
            done.append(_change(path, case.sample.container, choice, trap))
        except Exception as error:  # of whatever library found the file already broken
            done.append(f"no second change: {type(error).__name__}")
    return path, ", then ".join(done)
